"""Limits on who may open a connection: per user, per address, per node, and for repeat offenders."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from sanic import Request
from sanic.exceptions import RequestCancelled

from app.api.errors import overloaded, too_many, unavailable
from app.auth.repeat_offenders import MAX_DELAYED_CONNECTIONS, REFUSAL_DELAY_SECONDS, RepeatOffenders
from app.domain.errors import Unauthorized
from app.realtime.connection import Connection
from app.realtime.manager import WebSocketManager
from app.realtime.protocol import CloseCode
from app.settings.edge import WebSocketSettings

log = logging.getLogger("hub.admission")

MAX_WAIT_SECONDS = 8.0  # for a place among the upgrades: clients wait for an answer for 10 s, as a rule


class Admission:
    """Counts connections and upgrades of this node, and refuses those over a limit."""

    def __init__(self, settings: WebSocketSettings, manager: WebSocketManager) -> None:
        self._settings = settings
        self._manager = manager
        self.repeat_offenders = RepeatOffenders(self._user_at_limit)
        self.open = True
        self._upgrades = asyncio.Semaphore(settings.max_upgrades)
        self._delayed = 0

    def close(self) -> None:
        """Admit nobody from now on: the node begins to stop."""
        self.open = False

    async def check_token(self, token: bytes) -> None:
        """Refuse a token that was refused before and would be again: after a delay, as its client would
        otherwise be back at once. Raises `Problem` (429).
        """
        seconds = self.repeat_offenders.retry_after_token(
            token
        )  # as a rule it was recognised before HTTP was parsed
        if seconds:
            await self._delay()
            raise too_many(max(1, seconds - int(REFUSAL_DELAY_SECONDS)))

    async def _delay(self) -> None:
        if self._delayed >= MAX_DELAYED_CONNECTIONS:
            return
        self._delayed += 1
        try:
            await asyncio.sleep(REFUSAL_DELAY_SECONDS)
        finally:
            self._delayed -= 1

    @asynccontextmanager
    async def upgrade(self) -> AsyncIterator[None]:
        """Hold a place among the upgrades that are under way. Further ones wait, first come, first served, as
        after a restart all clients come at once. Raises `Problem` (503) after `MAX_WAIT_SECONDS`.
        """
        if not self._upgrades.locked():  # it needs no timer
            await self._upgrades.acquire()
        else:
            await self._wait_for_place()
        try:
            yield
        finally:
            self._upgrades.release()

    async def _wait_for_place(self) -> None:
        try:
            async with asyncio.timeout(MAX_WAIT_SECONDS):
                await self._upgrades.acquire()
        except TimeoutError:
            raise overloaded() from None

    def check_capacity(self) -> None:
        """Raises `Problem` (503) when the node is full, or stops."""
        if not self.open:
            raise unavailable("hub")
        if len(self._manager) >= self._settings.max_connections:
            raise overloaded()

    def check_wanted(self, request: Request, connection: Connection) -> None:
        """Raises when a connection that was registered isn't to be opened any more: its client has gone, its
        user logged out while the inbox was read, or the node stops.
        """
        if request.transport.is_closing():
            raise RequestCancelled
        if connection.close_code is not None:
            raise Unauthorized("revoked_token") if self.open else unavailable("hub")

    def excess(self, connection: Connection) -> str | None:
        """Why the connection is one too many of its user or its address; None if it isn't."""
        if self._user_at_limit(connection.user_id):
            return "too many connections of this user"
        address = connection.client.address
        if self._manager.from_address(address) >= self._settings.max_per_address:
            log.warning(
                "too_many_of_one_address",
                extra={"address": address, "hint": "if it is a proxy's, set PROXIES_COUNT"},
            )
            return "too many connections from this address"
        return None

    def refuse(self, connection: Connection, reason: str) -> None:
        """Close a connection that is one too many, and remember its token."""
        connection.close(CloseCode.TOO_MANY, reason)
        self.repeat_offenders.remember(connection.client.token_key, connection.user_id, flooded=False)

    def lost(self, connection: Connection) -> None:
        """A connection ended. If its client had sent too many frames, its token is remembered."""
        flooded = connection.close_code == CloseCode.TOO_MANY and self._manager.has(connection)
        self._manager.remove(connection)
        if flooded:
            self.repeat_offenders.remember(connection.client.token_key, connection.user_id, flooded=True)

    def _user_at_limit(self, user_id: UUID) -> bool:
        return len(self._manager.of(user_id)) >= self._settings.max_per_user
