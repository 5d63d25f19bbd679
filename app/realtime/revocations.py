"""Ending the connections of tokens that are revoked while they are open, and trust in those known to REST."""

from __future__ import annotations

import logging
from typing import Protocol

from app.auth.tokens import Claims
from app.domain.errors import Unavailable
from app.realtime.manager import WebSocketManager
from app.realtime.protocol import CloseCode

log = logging.getLogger("hub.revocations")

CHECK_SECONDS = 1.0  # seconds between checks; a revocation closes its connections within two of them
MAX_CONNECTIONS_PER_QUERY = 500  # connections


class Revocations(Protocol):
    """Where revocations are asked for: see `app.auth.revocations.RevocationStore`."""

    async def revoked(self, tokens: list[Claims]) -> list[bool]: ...

    async def review(self) -> None: ...


class RevocationWatch:
    """Asks about the tokens of all connections of the node, and about those that REST remembers, a round a
    call. While Redis doesn't answer they stay.
    """

    def __init__(self, manager: WebSocketManager, revocations: Revocations) -> None:
        self._manager = manager
        self._revocations = revocations

    async def check(self) -> None:
        """Close the connections whose tokens were revoked; to be called every `CHECK_SECONDS`."""
        try:
            await self._check_connections()
            await self._revocations.review()
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
