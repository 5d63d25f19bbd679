"""A mail server for tests: real conversations, whose steps can be refused, cut off or left unanswered."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Literal, NamedTuple, cast

# the steps: `handshake` is TLS after STARTTLS, `middle` is within the message, `end` after its last dot
Step = Literal[
    "connect",
    "ehlo",
    "starttls",
    "handshake",
    "auth",
    "mail",
    "rcpt",
    "data",
    "middle",
    "end",
    "rset",
    "quit",
]
DROP, HANG = "drop", "hang"
Action = str | asyncio.Event
_WAIT = 10.0  # seconds a test waits for a step


class Received(NamedTuple):
    """A message that got its 250, or whose 250 was lost."""

    sender: str
    recipient: str
    content: bytes
    secure: bool

    @property
    def parsed(self) -> EmailMessage:
        return BytesParser(EmailMessage, policy=policy.default).parsebytes(self.content)


class _Rule:
    def __init__(self, action: Action, times: int | None, about: str) -> None:
        self.action = action
        self.left = times
        self.about = about.encode()


class SmtpServer:
    """What it saw, and what it is set to do.

    `plain` is every byte that came outside TLS; `commands` the commands in order, without their arguments.
    """

    def __init__(
        self,
        tls: ssl.SSLContext | None = None,
        *,
        implicit_tls: bool = False,
        login: tuple[str, str] | None = None,
        extensions: tuple[str, ...] = ("PIPELINING", "8BITMIME", "SMTPUTF8"),
        max_size: int = 10_000_000,
        latency: float = 0.0,
    ) -> None:
        self.tls = tls
        self.implicit_tls = implicit_tls
        self.offers_starttls = tls is not None and not implicit_tls
        self.login = login
        self.extensions = extensions
        self.max_size = max_size
        self.latency = latency  # seconds before each answer
        self.by_token = False  # `login` holds an access token, for XOAUTH2
        self.port = 0
        self.connections = 0
        self.open: set[_Link] = set()
        self.most_open = 0
        self.plain = bytearray()
        self.commands: list[str] = []
        self.messages: list[Received] = []
        self._rules: dict[str, list[_Rule]] = {}
        self._reached: dict[str, int] = {}
        self._news = asyncio.Condition()
        self._server: asyncio.Server | None = None

    def answer(self, step: Step, action: Action, *, times: int | None = None, about: str = "") -> None:
        """At `step` answer `action`, such as "550 5.1.1 no such user", or `DROP` or `HANG`; or the usual, but
        only once an event is set.

        Only `times` times, if given; only where the client's line holds `about`.
        """
        self._rules.setdefault(step, []).append(_Rule(action, times, about))

    def calm(self) -> None:
        """Do as a good server does again. Who hangs stays so."""
        self._rules.clear()

    def times(self, step: Step) -> int:
        """How often clients have got to `step`."""
        return self._reached.get(step, 0)

    async def reached(self, step: Step, times: int = 1) -> None:
        """Returns when clients have got to `step` so many times."""
        async with asyncio.timeout(_WAIT), self._news:
            await self._news.wait_for(lambda: self.times(step) >= times)

    async def received(self, count: int) -> None:
        """Returns when there are so many messages."""
        async with asyncio.timeout(_WAIT), self._news:
            await self._news.wait_for(lambda: len(self.messages) >= count)

    async def emptied(self) -> None:
        """Returns when no connection is open."""
        async with asyncio.timeout(_WAIT), self._news:
            await self._news.wait_for(lambda: not self.open)

    def cut_all(self) -> None:
        """End all connections, as a restart does."""
        for link in self.open:
            link.transport.abort()

    async def start(self) -> None:
        """Listen; on the same port as before, if it did."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Link(self), "127.0.0.1", self.port, ssl=self.tls if self.implicit_tls else None
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut_all()
        await self.emptied()
        await self._server.wait_closed()

    async def converse(self, link: _Link) -> None:
        self.connections += 1
        self.open.add(link)
        self.most_open = max(self.most_open, len(self.open))
        with suppress(ConnectionError, TimeoutError, ssl.SSLError, _Over):
            await _Conversation(self, link).run()
        link.transport.abort()
        self.open.discard(link)
        await self.notify()

    def rule(self, step: Step, line: bytes) -> Action | None:
        """What to do instead of the usual."""
        for rule in self._rules.get(step, ()):
            if rule.left != 0 and rule.about in line:
                rule.left = None if rule.left is None else rule.left - 1
                return rule.action
        return None

    async def note(self, step: Step) -> None:
        self._reached[step] = self._reached.get(step, 0) + 1
        await self.notify()

    async def notify(self) -> None:
        async with self._news:
            self._news.notify_all()


class _Over(Exception):  # noqa: N818
    """The conversation ends here."""


class _Link(asyncio.Protocol):
    """The bytes of one connection. asyncio's streams don't survive a client that ends a handshake."""

    transport: asyncio.Transport

    def __init__(self, server: SmtpServer) -> None:
        self._server = server
        self.reader = asyncio.StreamReader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is one, and doesn't say so
        self._conversation = asyncio.create_task(self._server.converse(self))

    def data_received(self, data: bytes) -> None:
        self.reader.feed_data(data)

    def connection_lost(self, _: Exception | None) -> None:
        self.reader.feed_eof()

    async def start_tls(self, context: ssl.SSLContext) -> None:
        loop = asyncio.get_running_loop()
        transport = await loop.start_tls(self.transport, self, context, server_side=True)
        if transport is None:
            raise _Over
        self.transport = transport


class _Conversation:
    def __init__(self, server: SmtpServer, link: _Link) -> None:
        self._server = server
        self._link = link
        self._secure = server.implicit_tls
        self._logged_in = server.login is None
        self._sender: str | None = None
        self._recipient: str | None = None

    async def run(self) -> None:
        await self._answer("connect", b"", "220 mail.example.com ESMTP")
        while True:
            line = await self._line()
            command = line.split(b" ", 1)[0].strip().upper().decode("ascii", "replace")
            self._server.commands.append(command)
            known = {
                "EHLO": self._ehlo,
                "HELO": self._helo,
                "STARTTLS": self._starttls,
                "AUTH": self._auth,
                "MAIL": self._mail,
                "RCPT": self._rcpt,
                "DATA": self._data,
                "RSET": self._rset,
                "QUIT": self._quit,
            }.get(command)
            if known is None:
                await self._say("500 5.5.1 unknown command")
            else:
                await known(line)

    async def _line(self) -> bytes:
        line = await self._link.reader.readline()
        if not self._secure:
            self._server.plain += line
        if not line.endswith(b"\n"):
            raise _Over
        return line

    async def _say(self, answer: str) -> None:
        if self._server.latency:
            await asyncio.sleep(self._server.latency)
        self._link.transport.write(answer.replace("\n", "\r\n").encode() + b"\r\n")

    async def _unusual(self, step: Step, line: bytes) -> bool:
        """Whether the step was answered by a rule."""
        action = self._server.rule(step, line)
        await self._server.note(step)
        return await self._act(action)

    async def _act(self, action: Action | None) -> bool:
        if isinstance(action, asyncio.Event):
            await action.wait()
            return False
        if action == HANG:
            await self._until_cut()
        if action in (DROP, HANG):
            raise _Over
        if action is not None:
            await self._say(action)
            if action.startswith("421"):
                raise _Over
        return action is not None

    async def _until_cut(self) -> None:
        """Returns when the client has gone; what it still says is lost."""
        with suppress(ConnectionError):
            while await self._link.reader.read(65536):
                pass

    async def _answer(self, step: Step, line: bytes, usual: str) -> bool:
        """Whether the usual was answered."""
        if await self._unusual(step, line):
            return False
        await self._say(usual)
        return True

    async def _helo(self, _: bytes) -> None:
        await self._say("250 mail.example.com")

    async def _ehlo(self, line: bytes) -> None:
        offers = [*self._server.extensions, f"SIZE {self._server.max_size}"]
        if self._server.offers_starttls and not self._secure:
            offers.append("STARTTLS")
        if self._server.login is not None and (self._secure or self._server.tls is None):
            offers.append("AUTH XOAUTH2" if self._server.by_token else "AUTH PLAIN LOGIN")
        lines = ["mail.example.com", *offers]
        usual = "\n".join(f"250{' ' if each is lines[-1] else '-'}{each}" for each in lines)
        await self._answer("ehlo", line, usual)

    async def _starttls(self, line: bytes) -> None:
        if self._server.tls is None:
            await self._say("502 5.5.1 no TLS here")
        elif await self._answer("starttls", line, "220 2.0.0 go ahead"):
            if await self._unusual("handshake", b""):
                raise _Over
            await self._link.start_tls(self._server.tls)
            self._secure = True

    async def _auth(self, line: bytes) -> None:
        if await self._unusual("auth", line):
            return
        _, method, *rest = line.split()
        if method.upper() == b"XOAUTH2":
            given = dict(each.split(b"=", 1) for each in base64.b64decode(rest[0]).split(b"\1") if each)
            user, password = given[b"user"], given[b"auth"].removeprefix(b"Bearer ")
            if self._server.login != (user.decode(), password.decode()):
                await self._say("334 eyJzdGF0dXMiOiI0MDEifQ==")
                await self._line()
        elif method.upper() == b"PLAIN":
            _, user, password = base64.b64decode(rest[0]).split(b"\0")
        else:
            user = base64.b64decode(rest[0])
            await self._say("334 UGFzc3dvcmQ6")
            password = base64.b64decode(await self._line())
        self._logged_in = self._server.login == (user.decode(), password.decode())
        await self._say("235 2.7.0 welcome" if self._logged_in else "535 5.7.8 bad username or password")

    async def _mail(self, line: bytes) -> None:
        size = line.upper().partition(b"SIZE=")[2].split()
        if self._sender is not None:
            await self._say("503 5.5.1 a mail is in progress")
        elif not self._logged_in:
            await self._say("530 5.7.0 log in first")
        elif size and int(size[0]) > self._server.max_size:
            await self._say("552 5.3.4 too large")
        elif await self._answer("mail", line, "250 2.1.0 ok"):
            self._sender = _path(line)

    async def _rcpt(self, line: bytes) -> None:
        if self._sender is None:
            await self._say("503 5.5.1 who from?")
        elif await self._answer("rcpt", line, "250 2.1.5 ok"):
            self._recipient = _path(line)

    async def _data(self, line: bytes) -> None:
        if await self._unusual("data", line):
            return
        if self._sender is None or self._recipient is None:
            await self._say("503 5.5.1 who to?")
            return
        await self._say("354 go ahead")
        content = bytearray()
        while (line := await self._line()) != b".\r\n":
            content += line.removeprefix(b".")
            if len(content) == len(line):
                await self._unusual("middle", line)
        message = Received(self._sender, self._recipient, bytes(content), self._secure)
        self._sender = self._recipient = None
        action = self._server.rule("end", bytes(content))
        if not isinstance(action, str) or action in (DROP, HANG):
            self._server.messages.append(message)
        await self._server.note("end")
        if not await self._act(action):
            await self._say(f"250 2.0.0 Ok: queued as Q{len(self._server.messages)}")

    async def _rset(self, line: bytes) -> None:
        self._sender = self._recipient = None
        await self._answer("rset", line, "250 2.0.0 ok")

    async def _quit(self, line: bytes) -> None:
        await self._answer("quit", line, "221 2.0.0 bye")
        raise _Over


def _path(line: bytes) -> str:
    return line.partition(b"<")[2].partition(b">")[0].decode()


@asynccontextmanager
async def running(server: SmtpServer) -> AsyncIterator[SmtpServer]:
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
