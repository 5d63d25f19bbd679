"""Ending the connections of tokens that are revoked while they are open, and trust in those known to REST."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from app.auth.tokens import Claims
from app.domain.errors import Unavailable
from app.realtime.manager import WebSocketManager
from app.realtime.protocol import CloseCode
from app.runtime.tasks import end

log = logging.getLogger("hub.revocations")

CHECK_SECONDS = 1.0  # seconds between looks; a revocation ends its connections within two of them
MAX_CONNECTIONS_PER_QUERY = 500  # connections of one look-up


class Revocations(Protocol):
    """Where revocations are asked for: see `app.auth.revocations.RevocationStore`."""

    async def revoked(self, tokens: list[Claims]) -> list[bool]: ...

    async def review(self) -> None: ...


class RevocationWatch:
    """Looks at all connections of the node once a second, and at tokens that REST knows. While Redis is away
    they stay.
    """

    def __init__(self, manager: WebSocketManager, revocations: Revocations) -> None:
        self._manager = manager
        self._revocations = revocations
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="revocation watch")

    async def stop(self) -> None:
        await end(self._task)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                await self._look()
                await self._revocations.review()
            except Unavailable as error:
                log.warning("revocations_unknown", extra={"why": str(error)})
            except Exception:  # the watch goes on, whatever one look met
                log.exception("revocation_watch_failed")

    async def _look(self) -> None:
        connections = list(self._manager)
        for start in range(0, len(connections), MAX_CONNECTIONS_PER_QUERY):
            some = connections[start : start + MAX_CONNECTIONS_PER_QUERY]
            flags = await self._revocations.revoked([connection.claims for connection in some])
            for connection, revoked in zip(some, flags, strict=True):
                if revoked:
                    connection.close(CloseCode.TOKEN_REVOKED, "token revoked")
