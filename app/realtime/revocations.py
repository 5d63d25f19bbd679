"""Revocation watch: closes open connections whose tokens were revoked, and reviews the tokens REST caches."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol
from uuid import UUID

from app.auth.revocation_feed import Changed
from app.auth.tokens import Claims
from app.domain.errors import Unavailable
from app.realtime.connection import Connection
from app.realtime.manager import WebSocketManager
from app.realtime.protocol import CloseCode

log = logging.getLogger("hub.revocations")

CHECK_SECONDS = 1.0  # seconds between checks; a revocation closes its connections within two of them
# Checks in which all connections have their turn though nothing says that they were revoked.
SWEEP_COUNT = 60
MAX_CONNECTIONS_PER_QUERY = 500  # connections


class Revocations(Protocol):
    """The revocations of tokens: see `app.auth.revocations.RevocationStore`."""

    async def revoked(self, tokens: list[Claims]) -> list[bool]:
        """Whether each token is revoked, in their order."""

    async def review(
        self, in_use: Callable[[Claims], bool], concerned: Callable[[Claims], bool] | None
    ) -> None:
        """Check the cached tokens again.

        Args:
            in_use: Whether a token is needed any longer; others are forgotten.
            concerned: Which of them changed; None checks all.
        """


class Feed(Protocol):
    """Which revocations changed lately: see `app.auth.revocation_feed.RevocationFeed`."""

    async def changed(self) -> Changed | None:
        """What changed since the last call; None if that is unknown, so that all must be checked."""


class RevocationWatch:
    """Checks the tokens of the node's connections, and those that REST caches, a round a call. While Redis
    doesn't answer the connections stay open.

    Where the feed works, a round costs what was revoked lately; the number of connections matters only
    for a slow sweep that nothing should ever need. Else each round checks all.
    """

    def __init__(self, manager: WebSocketManager, revocations: Revocations, feed: Feed | None) -> None:
        """`feed`: None where there can be none (decision 035)."""
        self._manager = manager
        self._revocations = revocations
        self._feed = feed
        self._all_next = False
        self._unswept: list[UUID] = []
        self._sweep_count = 0

    async def check(self) -> None:
        """Close the connections whose tokens were revoked; to be called every `CHECK_SECONDS`."""
        changed = await self._feed.changed() if self._feed else None
        if self._all_next:  # what changed before may not have been looked at
            changed, self._all_next = None, False
        try:
            if changed is None:
                await self._check_connections(list(self._manager))
                await self._revocations.review(self._has, None)
            else:
                await self._check_connections(self._concerned(changed))
                await self._revocations.review(self._has, changed.concerns if changed else _none)
        except Unavailable as error:
            self._all_next = True
            log.warning("revocations_unknown", extra={"why": str(error)})

    def _concerned(self, changed: Changed) -> list[Connection]:
        swept = [connection for user in self._next_in_sweep() for connection in self._manager.of(user)]
        if not changed:
            return swept
        return swept + [connection for connection in self._manager if changed.concerns(connection.claims)]

    def _next_in_sweep(self) -> list[UUID]:
        if not self._unswept:
            self._unswept = list(self._manager.users)
            self._sweep_count = -(-len(self._unswept) // SWEEP_COUNT)
        some = self._unswept[: self._sweep_count]
        del self._unswept[: self._sweep_count]
        return some

    async def _check_connections(self, connections: list[Connection]) -> None:
        for start in range(0, len(connections), MAX_CONNECTIONS_PER_QUERY):
            some = connections[start : start + MAX_CONNECTIONS_PER_QUERY]
            flags = await self._revocations.revoked([connection.claims for connection in some])
            for connection, revoked in zip(some, flags, strict=True):
                if revoked:
                    connection.close(CloseCode.TOKEN_REVOKED, "token revoked")

    def _has(self, claims: Claims) -> bool:
        """Whether a connection came with this token."""
        return any(connection.claims == claims for connection in self._manager.of(claims.user_id))


def _none(_: Claims) -> bool:
    return False
