"""The tests' network fails when it should: faults that didn't happen would prove nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from tests.support.network import FaultyProxy, open_proxy

SHORT = 0.2  # seconds that nothing is to come
LONG = 10.0


class Talk:
    """A connection that is answered by its own words."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def says(self, within: float = LONG) -> bytes:
        """What comes back for a word; nothing once it is closed or reset. TimeoutError: a silence."""
        self._writer.write(b"word")
        try:
            return await asyncio.wait_for(self._reader.read(100), within)
        except ConnectionError:
            return b""

    def end(self) -> None:
        self._writer.transport.abort()
        self._writer.close()


@asynccontextmanager
async def echo() -> AsyncIterator[tuple[FaultyProxy, Callable[[], Awaitable[Talk]]]]:
    """A proxy to a server that echoes everything, and how to talk to it."""
    talks: list[Talk] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(100):
                writer.write(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, open_proxy(server.sockets[0].getsockname()[1]) as proxy:

        async def talk() -> Talk:
            talks.append(Talk(*await asyncio.open_connection("127.0.0.1", proxy.port)))
            return talks[-1]

        try:
            yield proxy, talk
        finally:
            for each in talks:
                each.end()


async def test_what_is_cut_is_over_and_the_next_one_passes() -> None:
    async with echo() as (proxy, talk):
        before = await talk()
        assert await before.says() == b"word"
        proxy.cut()
        assert await before.says() == b""
        assert await (await talk()).says() == b"word"


async def test_connections_are_reset_until_the_proxy_is_repaired() -> None:
    async with echo() as (proxy, talk):
        before = await talk()
        assert await before.says() == b"word"
        proxy.refuse()
        assert await before.says() == b""
        assert await (await talk()).says() == b""
        proxy.repair()
        assert await (await talk()).says() == b"word"


async def test_in_a_silence_nothing_is_forwarded_and_nothing_is_closed() -> None:
    async with echo() as (proxy, talk):
        before = await talk()
        assert await before.says() == b"word"
        proxy.silence()
        during = await talk()
        for each in (before, during):
            with pytest.raises(TimeoutError):
                await each.says(SHORT)
        proxy.repair()
        assert await (await talk()).says() == b"word"


async def test_a_slow_proxy_delays_both_directions() -> None:
    async with echo() as (proxy, talk):
        proxy.slow(SHORT)
        begun = time.monotonic()
        assert await (await talk()).says() == b"word"
        assert time.monotonic() - begun >= 2 * SHORT


async def test_repairing_a_working_proxy_disturbs_nobody() -> None:
    async with echo() as (proxy, talk):
        before = await talk()
        assert await before.says() == b"word"
        proxy.repair()
        assert await before.says() == b"word"
