"""A TCP proxy between a client and a server of the tests that can fail as real networks do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ssl import SSLContext

from tests.support.hub import free_port

CHUNK = 64 * 1024
NO_UPGRADE = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass
class FaultyProxy:
    """Forwards TCP connections to a port of this machine, which may change."""

    port: int
    port_behind: int
    _forwarding: asyncio.Event = field(default_factory=asyncio.Event)
    _lost: list[asyncio.Event] = field(default_factory=list)
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _refuses: bool = False
    _delay: float = 0.0
    passes_upgrades: bool = True
    """Whether a connection may begin with an upgrade; else that is answered with 400."""

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def silence(self) -> None:
        """Forward nothing from now on, without closing a connection."""
        self._forwarding.clear()

    def detour(self) -> None:
        """Keep today's connections open and silent until `repair`; forward new ones."""
        self._forwarding.clear()
        self._lost.append(self._forwarding)
        self._forwarding = asyncio.Event()
        self._forwarding.set()

    def cut(self) -> None:
        """Reset all connections; forward new ones."""
        for writer in self._open:
            writer.transport.abort()

    def refuse(self) -> None:
        """Reset all connections, and new ones at once."""
        self._refuses = True
        self.cut()

    def slow(self, seconds: float) -> None:
        """Delay each piece by so many seconds, in both directions."""
        self._delay = seconds

    def repair(self) -> None:
        """Forward everything again, without delay. Reset the connections from before a silence."""
        if self._lost or not self._forwarding.is_set():
            self.cut()
        while self._lost:
            self._lost.pop().set()
        self._refuses, self._delay, self.passes_upgrades = False, 0.0, True
        self._forwarding.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection until one end closes it."""
        forwarding = self._forwarding
        await forwarding.wait()
        if self._refuses:
            writer.transport.abort()
            return
        with suppress(OSError):
            first = b"" if self.passes_upgrades else await reader.read(CHUNK)
            if b"\r\nupgrade: websocket" in first.lower():
                writer.write(NO_UPGRADE)
                writer.close()
                return
            reader_behind, writer_behind = await asyncio.open_connection("127.0.0.1", self.port_behind)
            self._open |= {writer, writer_behind}
            writer_behind.write(first)
            await asyncio.gather(
                self._forward(reader, writer_behind, forwarding),
                self._forward(reader_behind, writer, forwarding),
            )
        writer.close()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, forwarding: asyncio.Event
    ) -> None:
        try:
            while data := await reader.read(CHUNK):
                await forwarding.wait()
                if self._delay:
                    await asyncio.sleep(self._delay)
                writer.write(data)
                await writer.drain()
        except (
            OSError,
            RuntimeError,
        ):  # uvloop raises RuntimeError for a transport that was closed meanwhile
            pass
        finally:
            writer.close()
            self._open.discard(writer)


@asynccontextmanager
async def open_proxy(port_behind: int, ssl: SSLContext | None = None) -> AsyncIterator[FaultyProxy]:
    """Run a proxy to a port of this machine, which may not be listened on yet; with `ssl` it ends TLS."""
    proxy = FaultyProxy(free_port(), port_behind)
    proxy.repair()
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", proxy.port, ssl=ssl)
    try:
        yield proxy
    finally:
        proxy.repair()
        proxy.cut()
        server.close()
