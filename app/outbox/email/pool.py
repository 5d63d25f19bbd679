"""Connections to the mail server, kept open and used for many mails."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from time import monotonic
from typing import NamedTuple, cast

from aiosmtplib import (
    SMTP,
    SMTPDataError,
    SMTPException,
    SMTPNotSupported,
    SMTPReadTimeoutError,
    SMTPRecipientRefused,
    SMTPResponse,
    SMTPResponseException,
    SMTPSenderRefused,
    SMTPServerDisconnected,
)

from app.domain.errors import Unavailable
from app.outbox.channel import Confirm, DeliveryCancelled, Outdated, wanted
from app.outbox.email.smtp import Server, Timeouts
from app.outbox.failures import FailFastBreaker

QUIT_TIMEOUT_SECONDS = 1.0  # at the end; then the connections are aborted
MAX_IDLE_SECONDS = (
    30.0  # seconds a connection is kept without a mail; servers end it after some minutes themselves
)
MAX_MAILS_PER_CONNECTION = 100  # over one connection; some servers refuse more
MIN_BYTES_PER_SECOND = 64 * 1024  # a slower transfer counts as a hang
MAX_ANSWER_BYTES = 64 * 1024  # no server sends more
_OK_CODE, _FORWARDED_CODE, _GO_AHEAD_CODE, _CLOSING_CODE = 250, 251, 354, 421


class SmtpEnvelope(NamedTuple):
    """A mail as `message.to_bytes` writes it, and the addresses for the server, as `message.Mailbox` does.

    With `utf8` only a server with SMTPUTF8 can take it.
    """

    sender: str
    recipient: str
    content: bytes
    utf8: bool


class Pool:
    """Up to `size` connections. Whoever sends needs a slot: `async with pool.slots`, and `send` within."""

    def __init__(self, server: Server, size: int, breaker: FailFastBreaker) -> None:
        self.server = server
        self.slots = asyncio.Semaphore(size)
        self._breaker = breaker
        self._idle: list[SmtpConnection] = []  # the longest idle first
        self._busy: set[SmtpConnection] = set()
        self._leaving: dict[asyncio.Task[None], SmtpConnection] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def send(self, envelope: SmtpEnvelope, confirm: Confirm = wanted) -> SMTPResponse:
        """Send a mail; return the server's 250. If a connection died while idle, another is used.

        `confirm` is awaited when there is a connection. Raises what it raises, `DeliveryFailed` when there is
        no connection, otherwise what aiosmtplib raises.
        """
        while self._idle:
            connection = self._idle.pop()
            if not connection.usable:
                connection.abort()
                continue
            try:
                return await self._use(connection, envelope, confirm)
            except _Stale:
                break  # the others are likely to be dead too, which may take a time-out each to detect
        self._breaker.check()
        return await self._use(self._connection(await self.server.open()), envelope, confirm)

    def _connection(self, client: SMTP) -> SmtpConnection:
        return SmtpConnection(client, self.server.timeouts)

    async def close(self) -> None:
        """Quit idle connections and abort those in use: their mails fail, and may be retried."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for connection in self._busy:
            connection.abort()
        while self._idle:
            self._leave(self._idle.pop())
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=QUIT_TIMEOUT_SECONDS)
        for connection in self._leaving.values():
            connection.abort()
        await asyncio.gather(*self._leaving)

    async def _use(
        self, connection: SmtpConnection, envelope: SmtpEnvelope, confirm: Confirm
    ) -> SMTPResponse:
        self._busy.add(connection)
        try:
            await confirm()
            return await connection.send(envelope)
        except (SMTPResponseException, SMTPNotSupported, DeliveryCancelled, Outdated, Unavailable):
            raise  # refused properly, by the server or by the hub
        except BaseException:
            connection.abort()
            raise
        finally:
            self._busy.discard(connection)
            self._release(connection)

    def _release(self, connection: SmtpConnection) -> None:
        if not connection.usable:
            connection.abort()
        elif self._closed or connection.mails >= MAX_MAILS_PER_CONNECTION:
            self._leave(connection)
        else:
            connection.idle_since = monotonic()
            self._idle.append(connection)
            self._watch()

    def _watch(self) -> None:
        if self._timer is None and self._idle:
            pause = max(0.0, self._idle[0].idle_since + MAX_IDLE_SECONDS - monotonic())
            self._timer = asyncio.get_running_loop().call_later(pause, self._end_idle)

    def _end_idle(self) -> None:
        self._timer = None
        while self._idle and self._idle[0].idle_since + MAX_IDLE_SECONDS <= monotonic():
            self._leave(self._idle.pop(0))
        self._watch()

    def _leave(self, connection: SmtpConnection) -> None:
        task = asyncio.create_task(connection.quit())
        self._leaving[task] = connection
        task.add_done_callback(self._leaving.pop)


class _Stale(Exception):  # noqa: N818 - no error: a fresh connection helps
    """A used connection accepts no more mail; the server hasn't processed any of this one."""


class _Step(NamedTuple):
    command: bytes
    seconds: float
    accepted: tuple[int, ...]
    refused: Callable[[int, str], SMTPResponseException]

    def refusal(self, answer: SMTPResponse) -> SMTPResponseException | None:
        return None if answer.code in self.accepted else self.refused(*answer)


class SmtpConnection(asyncio.Protocol):
    """An open connection, for one mail at a time.

    It takes the transport over from aiosmtplib, which waits for the answer to each command: where the server
    knows PIPELINING (RFC 2920), a mail costs two round trips here instead of four.
    """

    def __init__(self, client: SMTP, timeouts: Timeouts) -> None:
        self.mails = 0
        self.idle_since = 0.0
        self._extensions = frozenset(client.esmtp_extensions)
        self._timeouts = timeouts
        self._unread = b""
        self._reply_lines: list[bytes] = []  # lines of an answer that goes on
        self._answers: deque[SMTPResponse] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._transport = cast("asyncio.Transport", client.transport)
        self._transport.set_protocol(self)

    @property
    def usable(self) -> bool:
        """Whether it is open, and the server has said nothing unasked (such as that it will close)."""
        return not (self._transport.is_closing() or self._answers or self._unread or self._reply_lines)

    async def send(self, envelope: SmtpEnvelope) -> SMTPResponse:
        """Hand a mail over; returns the server's 250.

        Raises `_Stale` when a fresh connection should be tried, otherwise what aiosmtplib raises. Only if it
        is `usable` then, it can take another mail.
        """
        steps = self._steps(envelope)
        together = [step.command for step in steps] if "pipelining" in self._extensions else []
        used, self.mails = self.mails > 0, self.mails + 1
        self._write(*([b"RSET"] if used else []), *together)
        if used:
            await self._reset()
        refused: SMTPResponseException | None = None
        for step in steps:
            if not together:
                self._write(step.command)
            try:
                answer = await self._answer(step.seconds)
            except SMTPException:
                if refused is None:
                    raise
                break
            refused = refused or step.refusal(answer)
            if refused and answer.code < 400:
                self.abort()  # out of step, or it waits for a mail that nobody may get
            if refused and not together:
                break
        if used and isinstance(refused, SMTPSenderRefused) and refused.code == _CLOSING_CODE:
            raise _Stale  # some servers limit the mails of one connection
        if refused:
            raise refused
        return await self._hand_over(envelope.content)

    async def quit(self) -> None:
        """Send QUIT, and close whatever the server answers."""
        with suppress(SMTPException):
            self._write(b"QUIT")
            await self._answer(self._timeouts.command)
        self._transport.close()
        self.abort()

    def abort(self) -> None:
        """Close immediately, without QUIT. A pending wait for an answer fails with a lost connection."""
        self._transport.abort()

    def _steps(self, envelope: SmtpEnvelope) -> tuple[_Step, ...]:
        mail = b" ".join((b"MAIL FROM:" + _path(envelope.sender), *self._options(envelope)))
        limit = self._timeouts.envelope
        return (
            _Step(
                mail, limit, (_OK_CODE,), lambda code, said: SMTPSenderRefused(code, said, envelope.sender)
            ),
            _Step(
                b"RCPT TO:" + _path(envelope.recipient),
                limit,
                (_OK_CODE, _FORWARDED_CODE),
                lambda code, said: SMTPRecipientRefused(code, said, envelope.recipient),
            ),
            _Step(b"DATA", self._timeouts.data, (_GO_AHEAD_CODE,), SMTPDataError),
        )

    def _options(self, envelope: SmtpEnvelope) -> Iterator[bytes]:
        if "size" in self._extensions:
            yield b"SIZE=%d" % len(envelope.content)
        if envelope.utf8:
            if "smtputf8" not in self._extensions:
                raise SMTPNotSupported(
                    "the address has non-ASCII characters before the @, and the mail server does not "
                    "support them (no SMTPUTF8)"
                )
            yield b"BODY=8BITMIME SMTPUTF8"

    async def _reset(self) -> None:
        """Read the answer to RSET, by which a connection shows that it is still there."""
        try:
            answer = await self._answer(self._timeouts.command)
        except SMTPException:
            raise _Stale from None
        if answer.code != _OK_CODE:
            raise _Stale

    async def _hand_over(self, content: bytes) -> SMTPResponse:
        self._write(content.replace(b"\r\n.", b"\r\n..") + b".")
        answer = await self._answer(self._timeouts.content + len(content) / MIN_BYTES_PER_SECOND)
        if answer.code != _OK_CODE:
            raise SMTPDataError(*answer)
        return answer

    def _write(self, *lines: bytes) -> None:
        if self._transport.is_closing():
            raise SMTPServerDisconnected("Connection lost")
        self._transport.write(b"".join(line + b"\r\n" for line in lines))

    async def _answer(self, within: float) -> SMTPResponse:
        """The next answer. After one that ends the conversation, or when none comes in time, it is closed."""
        try:
            async with asyncio.timeout(within):
                while not self._answers:
                    if self._transport.is_closing():
                        raise SMTPServerDisconnected("Connection lost")
                    self._waiter = asyncio.get_running_loop().create_future()
                    await self._waiter
        except TimeoutError:
            self.abort()
            raise SMTPReadTimeoutError("Timed out waiting for server response") from None
        answer = self._answers.popleft()
        if answer.code == _CLOSING_CODE or not 200 <= answer.code < 600:
            self.abort()
        return answer

    def data_received(self, data: bytes) -> None:
        """Collect the lines of an answer."""
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self._reply_lines.append(line)
            if line[3:4] != b"-":
                self._answers.append(_read(self._reply_lines))
                self._reply_lines = []
        if len(self._unread) + sum(map(len, self._reply_lines)) > MAX_ANSWER_BYTES:
            self.abort()
        if self._answers:
            self._wake()

    def connection_lost(self, _: Exception | None) -> None:
        """Wake the caller that waits for an answer."""
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _read(lines: list[bytes]) -> SMTPResponse:
    """The lines of one answer; its code is -1 when they don't make sense."""
    codes = {line[:3] for line in lines}
    code = int(lines[0][:3]) if len(codes) == 1 and lines[0][:3].isdigit() else -1
    return SMTPResponse(code, "\n".join(line[4:].decode(errors="replace").strip() for line in lines))


def _path(address: str) -> bytes:
    return f"<{address}>".encode()
