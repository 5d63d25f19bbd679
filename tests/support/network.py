"""A network of the tests' own, between a client and a server: it can fail in each way that real ones do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from tests.support.hub import free_port

CHUNK = 64 * 1024


@dataclass
class Way:
    """Passes TCP connections on to a port of this machine, which may change."""

    port: int
    port_behind: int
    _passes: asyncio.Event = field(default_factory=asyncio.Event)
    _lost: list[asyncio.Event] = field(default_factory=list)
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _refuses: bool = False
    _delay: float = 0.0

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def silence(self) -> None:
        """From now on nothing comes through, and nobody is told."""
        self._passes.clear()

    def detour(self) -> None:
        """Connections of before stay silent until it is mended, and nobody is told; new ones come through."""
        self._passes.clear()
        self._lost.append(self._passes)
        self._passes = asyncio.Event()
        self._passes.set()

    def cut(self) -> None:
        """All connections are reset; new ones pass."""
        for writer in self._open:
            writer.transport.abort()

    def refuse(self) -> None:
        """All connections are reset, and new ones at once."""
        self._refuses = True
        self.cut()

    def slow(self, seconds: float) -> None:
        """From now on each piece takes so much longer, each way."""
        self._delay = seconds

    def mend(self) -> None:
        """It is there again, as fast as ever. Connections of before a silence are gone."""
        if self._lost or not self._passes.is_set():
            self.cut()
        while self._lost:
            self._lost.pop().set()
        self._refuses, self._delay = False, 0.0
        self._passes.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection on, until an end closes it."""
        retryable = self._passes
        await retryable.wait()
        if self._refuses:
            writer.transport.abort()
            return
        with suppress(OSError):
            reader_behind, writer_behind = await asyncio.open_connection("127.0.0.1", self.port_behind)
            self._open |= {writer, writer_behind}
            await asyncio.gather(
                self._pass(reader, writer_behind, retryable), self._pass(reader_behind, writer, retryable)
            )
        writer.close()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, retryable: asyncio.Event
    ) -> None:
        try:
            while data := await reader.read(CHUNK):
                await retryable.wait()
                if self._delay:
                    await asyncio.sleep(self._delay)
                writer.write(data)
                await writer.drain()
        except (OSError, RuntimeError):  # uvloop's word for a transport that was closed meanwhile
            pass
        finally:
            writer.close()
            self._open.discard(writer)


@asynccontextmanager
async def open_way(port_behind: int) -> AsyncIterator[Way]:
    """A way to a port of this machine, which may not be listened on yet."""
    way = Way(free_port(), port_behind)
    way.mend()
    server = await asyncio.start_server(way.serve, "127.0.0.1", way.port)
    try:
        yield way
    finally:
        way.mend()
        way.cut()
        server.close()
