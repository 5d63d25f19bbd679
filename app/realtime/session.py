"""The session protocol `hub.v1` (docs/protocol.md): what a client may say, and what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from app.errors import Unauthorized, Unavailable
from app.realtime.bus import Bus
from app.realtime.catch_up import CatchUp, send_missed
from app.realtime.connection import Connection
from app.realtime.inboxes import SHARED_BY, InboxReader
from app.realtime.membership import Membership
from app.realtime.protocol import CloseCode, text_frame
from app.security.tokens import Claims
from app.store.inboxes import InboxState
from app.store.notifications import NotificationStore

Seq = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Resume(Struct, tag="resume"):
    after: Seq


class Read(Struct, tag="read"):
    id: UUID


class Token(Struct, tag="token"):
    jwt: str


class Connected(Struct, tag="connected"):
    """The first frame: this node, how far the inbox goes, how many are unread up to there.

    It comes again when the node had lost touch with the others and may have missed what other devices did.
    """

    node: str
    last_seq: int
    unread: int


class Resumed(Struct, tag="resumed", omit_defaults=True):
    """The missed ones from `from` (not with it) to `to` were sent, if `complete`; else read on over REST."""

    after: int = msgspec.field(name="from")
    until: int = msgspec.field(name="to")
    complete: bool
    read_on: str | None = None


class NotificationRead(Struct, tag="notification_read"):
    id: UUID
    unread: int


class NotificationDeleted(Struct, tag="notification_deleted"):
    id: UUID
    unread: int


class AllRead(Struct, tag="all_read"):
    up_to: int
    unread: int


class TokenRenewed(Struct, tag="token_renewed"):
    expires_at: int


class Failed(Struct, tag="error"):
    """What the client said can't be done; the connection stays."""

    code: str
    detail: str


Said = Resume | Read | Token
Told = Connected | Resumed | NotificationRead | NotificationDeleted | AllRead | TokenRenewed | Failed

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Said)


def session_frame(told: Told) -> bytes:
    """A frame of the session protocol."""
    return text_frame(_encoder.encode(told))


class Sessions:
    """Answers what clients of the session protocol say. Stateless but for the answers under way."""

    def __init__(
        self,
        connections: Iterable[Connection],
        membership: Membership,
        reader: InboxReader,
        catch_up: CatchUp,
        store: NotificationStore,
        bus: Bus,
        verify: Callable[[str | None], Awaitable[Claims]],
        loop_time: Callable[[float], float],
        history: Callable[[UUID, int], str],
    ) -> None:
        """`connections` are all of this node, at any time; `verify` checks a token in full; `history` gives
        the REST path of what stands before a `seq`.
        """
        self._connections = connections
        self._membership = membership
        self._reader = reader
        self._catch_up = catch_up
        self._store = store
        self._bus = bus
        self._verify = verify
        self._loop_time = loop_time
        self._history = history
        self._answering: set[asyncio.Task[None]] = set()

    def begin(self, connection: Connection, after: int | None, state: InboxState) -> None:
        """Greet a new connection, which is marked as behind; with `after`, go on where the client was; let it
        go live.
        """
        self._greet(connection, state)
        if after is not None:
            self._in_background(self._resume(connection, after, state))
        else:
            connection.last_seq = max(connection.last_seq, state.last_seq)
            self._let_go(connection)

    def greet_again(self) -> None:
        """Other devices' changes may have been missed: everybody is told how the inbox stands."""
        self._in_background(self._greet_all())

    def received(self, connection: Connection, text: bytes) -> None:
        """A client said something."""
        try:
            said = _decoder.decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            connection.send(session_frame(Failed("bad_message", str(error))))
            return
        self._in_background(self._answer(connection, said))

    def _in_background(self, answer: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(answer, name="session answer")
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    def _greet(self, connection: Connection, state: InboxState) -> None:
        greeting = Connected(self._membership.node.hex(), state.last_seq, state.unread)
        connection.send(session_frame(greeting))

    async def _greet_all(self) -> None:
        sessions = [connection for connection in self._connections if connection.session]
        for start in range(0, len(sessions), SHARED_BY):
            some = sessions[start : start + SHARED_BY]
            try:
                states = await asyncio.gather(*(self._reader.read(each.user_id) for each in some))
            except Unavailable:
                return  # Postgres is away too; whoever reconnects is greeted
            for connection, state in zip(some, states, strict=True):
                self._greet(connection, state)

    async def _answer(self, connection: Connection, said: Said) -> None:
        try:
            match said:
                case Resume():
                    await self._resume_again(connection, said.after)
                case Read():
                    await self._mark_read(connection, said.id)
                case Token():
                    await self._renew(connection, said.jwt)
        except Unavailable as error:
            failed = Failed("dependency_down", f"{error.dependency} doesn't answer; try again")
            connection.send(session_frame(failed))

    async def _resume_again(self, connection: Connection, after: int) -> None:
        if connection.behind:
            failed = Failed("busy", "what you missed is just being sent; wait for it")
            connection.send(session_frame(failed))
            return
        connection.behind = True
        connection.wanted_seq = connection.last_seq
        try:
            state = await self._reader.read(connection.user_id, after)
        except Unavailable:
            self._let_go(connection)
            raise
        await self._resume(connection, after, state)

    def _let_go(self, connection: Connection) -> None:
        """Back to live; what came meanwhile is fetched first."""
        connection.behind = connection.wanted_seq > connection.last_seq
        if connection.behind:
            self._catch_up.start(connection)

    async def _resume(self, connection: Connection, after: int, state: InboxState) -> None:
        try:
            if state.until >= state.last_seq:
                await send_missed(connection, state)
                resumed = Resumed(after, state.last_seq, True)
            else:
                connection.last_seq = max(connection.last_seq, state.last_seq)
                read_on = self._history(connection.user_id, state.last_seq + 1)
                resumed = Resumed(after, state.last_seq, False, read_on)
            connection.send(session_frame(resumed))
        finally:
            self._let_go(connection)

    async def _mark_read(self, connection: Connection, notification_id: UUID) -> None:
        changed = await self._store.mark_read(notification_id, connection.user_id)
        if changed is None:
            failed = Failed("no_such_notification", "there is no notification with this id in the inbox")
            connection.send(session_frame(failed))
            return
        _, unread = changed
        self._bus.tell(connection.user_id, session_frame(NotificationRead(notification_id, unread)))

    async def _renew(self, connection: Connection, token: str) -> None:
        try:
            claims = await self._verify(token)
        except Unauthorized as error:
            failed = Failed(error.reason, "the token doesn't hold; the connection ends with the one before")
            connection.send(session_frame(failed))
            return
        if claims.user_id != connection.user_id:
            connection.close(CloseCode.FORBIDDEN, "the token belongs to another user")
            return
        connection.renew(claims, self._loop_time(claims.expires_at))
        connection.send(session_frame(TokenRenewed(claims.expires_at)))
