"""Signing a client in: its token, whether that was revoked, and its registration on this node."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID

from app.api.auth import Authenticator
from app.api.errors import forbidden
from app.auth.tokens import Claims
from app.domain.errors import Unauthorized
from app.realtime.connection import Connection
from app.realtime.inboxes import InboxReader
from app.realtime.manager import WebSocketManager
from app.realtime.membership import Membership
from app.store.inboxes import InboxState


class SignIn:
    """Verifies a client's token, then makes its connection known: here, to the other nodes, to its inbox."""

    def __init__(
        self,
        authenticator: Authenticator,
        manager: WebSocketManager,
        membership: Membership,
        reader: InboxReader,
        logged_out: Callable[[UUID, float, Claims], bool],
    ) -> None:
        """`logged_out` says whether a user did since a moment (loop time), which ended this token."""
        self._authenticator = authenticator
        self._manager = manager
        self._membership = membership
        self._reader = reader
        self._logged_out = logged_out

    async def verify(self, token: str | None, user_id: str) -> Claims:
        """The claims of a token that holds for the user whom the path names. Raises `Unauthorized`, `Problem`
        (400, 403), or `Unavailable` when Redis doesn't answer.
        """
        claims = await self._authenticator.claims(token)
        if claims.user_id != self._authenticator.user_in_path(user_id):
            raise forbidden()
        return claims

    @asynccontextmanager
    async def registered(self, connection: Connection, after: int | None) -> AsyncIterator[InboxState]:
        """Register the connection, then read its inbox: what is pushed meanwhile is held and fetched later,
        what other devices do is held and sent after the first frame.

        The body gives the connection its transport; without one it is removed at the end. `after` is the
        `seq` that a session resumes from. Raises `Unauthorized` or `Unavailable`.
        """
        self._manager.add(connection)
        try:
            if self._logged_out(connection.user_id, connection.client.asked_at, connection.claims):
                raise Unauthorized("revoked_token")
            await self._membership.user_connected(connection.user_id)
            if connection.session:
                connection.hold()
            yield await self._reader.read(connection.user_id, after if connection.session else None)
        finally:
            if not connection.connected:
                self._manager.remove(connection)
