"""A node: how it starts, drains and stops."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from sanic import Blueprint, Request

from app.api.admission import Admission
from app.outbox.worker import Outbox
from app.realtime.manager import WebSocketManager
from app.runtime.services import Service, started
from app.sources import Source

DRAIN_SHARE = 0.6  # of the grace, for sources and outboxes; the rest is for clients to leave
MIN_CLIENT_DRAIN_SECONDS = 0.5


@dataclass(frozen=True)
class Hub:
    """A node: what it serves, and what runs in it."""

    blueprints: Sequence[Blueprint]
    connect: Callable[[Request, str], Awaitable[None]]
    """Makes a request a WebSocket of the user whom its path names."""
    admission: Admission
    manager: WebSocketManager
    services: Sequence[Service]
    """In the order to start them."""
    sources: Sequence[Source]
    outboxes: Sequence[Outbox]
    grace: float
    """Seconds to drain."""
    _running: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def start(self) -> None:
        """Start all but the sources. Raises `ConfigurationError` when the database isn't as it has to be."""
        await started(self.services, self._running)

    async def consume(self) -> None:
        """Start the sources: once this node serves, so that clients are connected before events come."""
        for source in self.sources:
            await source.start()

    async def drain(self) -> None:
        """Admit no client, finish what sources and outboxes have in progress, then send the clients to
        another node: all within the grace.
        """
        end = time.monotonic() + self.grace
        self.admission.close()
        within = self.grace * DRAIN_SHARE
        await asyncio.gather(
            *(source.stop(within) for source in self.sources),
            *(outbox.stop(within) for outbox in self.outboxes),
        )
        await self.manager.drain(within=max(MIN_CLIENT_DRAIN_SECONDS, end - time.monotonic()))

    async def stop(self) -> None:
        """Stop the services, the last started first."""
        await self._running.aclose()
