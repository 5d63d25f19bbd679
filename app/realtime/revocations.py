"""Revocation watch: closes open connections whose tokens were revoked, and reviews the tokens REST caches."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from app.auth.tokens import Claims
from app.domain.errors import Unavailable
from app.realtime.manager import WebSocketManager
from app.realtime.protocol import CloseCode

log = logging.getLogger("hub.revocations")

CHECK_SECONDS = 1.0  # seconds between checks; a revocation closes its connections within two of them
MAX_CONNECTIONS_PER_QUERY = 500  # connections


class Revocations(Protocol):
    """The revocations of tokens: see `app.auth.revocations.RevocationStore`."""

    async def revoked(self, tokens: list[Claims]) -> list[bool]: ...

    async def review(self, in_use: Callable[[Claims], bool]) -> None: ...


class RevocationWatch:
    """Checks the tokens of all connections of the node, and those that REST caches, a round a call. While
    Redis doesn't answer the connections stay open.
    """

    def __init__(self, manager: WebSocketManager, revocations: Revocations) -> None:
        self._manager = manager
        self._revocations = revocations

    async def check(self) -> None:
        """Close the connections whose tokens were revoked; to be called every `CHECK_SECONDS`."""
        try:
            await self._check_connections()
            await self._revocations.review(self._has)
        except Unavailable as error:
            log.warning("revocations_unknown", extra={"why": str(error)})

    async def _check_connections(self) -> None:
        connections = list(self._manager)
        for start in range(0, len(connections), MAX_CONNECTIONS_PER_QUERY):
            some = connections[start : start + MAX_CONNECTIONS_PER_QUERY]
            flags = await self._revocations.revoked([connection.claims for connection in some])
            for connection, revoked in zip(some, flags, strict=True):
                if revoked:
                    connection.close(CloseCode.TOKEN_REVOKED, "token revoked")

    def _has(self, claims: Claims) -> bool:
        """Whether a connection came with this token."""
        return any(connection.claims == claims for connection in self._manager.of(claims.user_id))
