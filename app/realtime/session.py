"""The session protocol `hub.v1` (docs/reference/protocol.md): answers to messages of clients."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any
from uuid import UUID

import msgspec

from app.auth.tokens import Claims
from app.domain.errors import StoreFailed, Unauthorized, Unavailable
from app.realtime.catch_up import CatchUp, send_missed
from app.realtime.changes import InboxCommands
from app.realtime.connection import Connection
from app.realtime.inboxes import InboxReader
from app.realtime.protocol import CloseCode
from app.realtime.resync import Resync
from app.realtime.session_frames import (
    Failed,
    Language,
    Ping,
    Pong,
    Read,
    Resume,
    Resumed,
    Seen,
    Token,
    TokenRenewed,
    decode_message,
    session_frame,
)
from app.store.inboxes import InboxState
from app.texts.i18n import negotiate

log = logging.getLogger("hub.session")

_PONG = session_frame(Pong())


class Sessions:
    """Answers messages of session clients. Stateless except for the answers under way."""

    def __init__(
        self,
        resync: Resync,
        reader: InboxReader,
        catch_up: CatchUp,
        commands: InboxCommands,
        verify: Callable[[str | None], Awaitable[Claims]],
        history: Callable[[UUID, int], str],
    ) -> None:
        """Args:
        verify: Checks a token in full.
        history: Gives the REST path to a user's notifications before a `seq`.
        """
        self._resync = resync
        self._reader = reader
        self._catch_up = catch_up
        self._commands = commands
        self._verify = verify
        self._history = history
        self._answering: set[asyncio.Task[None]] = set()

    def begin(self, connection: Connection, after: int | None, state: InboxState) -> None:
        """Send a new connection its first frame, resume from `after` if the client asked to, and go live.
        The connection has held its frames since before `state` was read.
        """
        connection.release(self._resync.frame(state))
        if after is not None:
            self._in_background(self._resume(connection, after, state))
        else:
            self._catch_up.begin(connection, state.last_seq)

    def received(self, connection: Connection, text: bytes) -> None:
        """A client sent a message."""
        try:
            message = decode_message(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            connection.send(session_frame(Failed("bad_message", str(error))))
            return
        if isinstance(message, Ping):
            connection.send(_PONG)
        elif isinstance(message, Language):
            locale = negotiate(message.lang, "") or None
            connection.client = connection.client._replace(locale=locale)
        else:
            self._in_background(self._answer(connection, message))

    def _in_background(self, answer: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(answer, name="session answer")
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, connection: Connection, message: Resume | Read | Seen | Token) -> None:
        try:
            match message:
                case Resume():
                    await self._resume_on_request(connection, message.after)
                case Read():
                    await self._mark_read(connection, message.id)
                case Seen():
                    await self._commands.seen_all(connection.user_id, message.up_to)
                case Token():
                    await self._renew(connection, message.jwt)
        except Unavailable as error:
            if isinstance(error, StoreFailed):
                log.exception("session_message_failed")
            failed = Failed("dependency_down", f"{error.dependency} does not answer; retry later")
            connection.send(session_frame(failed))

    async def _resume_on_request(self, connection: Connection, after: int) -> None:
        if not connection.cursor.request_resume():
            failed = Failed("busy", "another resume is in progress; retry after it")
            connection.send(session_frame(failed))
            return
        try:
            state = await self._reader.read(connection.user_id, after)
        except Unavailable:
            self._go_live(connection)
            raise
        await self._resume(connection, after, state)

    def _go_live(self, connection: Connection) -> None:
        """Go live again; what was pushed meanwhile is fetched first."""
        if connection.cursor.go_live():
            self._catch_up.start(connection)

    async def _resume(self, connection: Connection, after: int, state: InboxState) -> None:
        try:
            if connection.cursor.resumed(after, state.last_seq, state.until):
                await send_missed(connection, state)
                resumed = Resumed(after, state.last_seq, True)
            else:
                read_on = self._history(connection.user_id, state.last_seq + 1)
                resumed = Resumed(after, state.last_seq, False, read_on)
            connection.send(session_frame(resumed))
        finally:
            self._go_live(connection)

    async def _mark_read(self, connection: Connection, notification_id: int) -> None:
        if await self._commands.read(notification_id, connection.user_id) is None:
            failed = Failed("no_such_notification", "the inbox has no notification with this id")
            connection.send(session_frame(failed))

    async def _renew(self, connection: Connection, token: str) -> None:
        try:
            claims = await self._verify(token)
        except Unauthorized as error:
            failed = Failed(error.reason, "the token is invalid; the previous one stays in force")
            connection.send(session_frame(failed))
            return
        if claims.user_id != connection.user_id:
            connection.close(CloseCode.FORBIDDEN, "the token belongs to another user")
            return
        connection.renew(claims)
        connection.send(session_frame(TokenRenewed(claims.expires_at)))
