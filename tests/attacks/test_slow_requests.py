"""Requests that come byte by byte: none holds its connection for longer than its deadline."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio
from sanic import Sanic

from app.server.app import create_app
from app.server.protocol import MAX_CHUNKS_PER_TURN
from tests.support.little_server import PATIENCE, little_server
from tests.support.settings import settings_on

EACH = 0.05  # seconds between two bytes
GIVEN_UP = 10.0  # seconds until a connection that is still open counts as held
HEAD = b"POST /echo HTTP/1.1\r\nHost: hub\r\n"
PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "security.md"


@pytest_asyncio.fixture(scope="module")
async def port() -> AsyncIterator[int]:
    async with little_server() as port:
        yield port


async def drip(port: int, begin: bytes, drops: bytes | list[bytes]) -> bytes:
    """Send the beginning at once and then a drop at a time, over and over, until the server ends it; what it
    said.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def go_on() -> None:
        with suppress(OSError):
            while drops:
                for drop in drops:
                    writer.write(drop if isinstance(drop, bytes) else bytes((drop,)))
                    await writer.drain()
                    await asyncio.sleep(EACH)

    writer.write(begin)
    dripping = asyncio.create_task(go_on())
    try:
        async with asyncio.timeout(GIVEN_UP):
            with suppress(ConnectionError):
                return await reader.read()
            return b""
    finally:
        dripping.cancel()
        writer.close()


UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
SLOW: dict[str, tuple[bytes, bytes | list[bytes]]] = {
    "the head": (b"GET /echo HTTP/1.1\r\nHost: hub\r\n", b"X-A: b\r\n"),
    "one header": (b"GET /echo HTTP/1.1\r\nHost: hub\r\nX: ", b"x"),
    "the head of an upgrade": (b"GET /echo HTTP/1.1\r\nHost: hub\r\n" + UPGRADE, b"X-A: b\r\n"),
    "a body": (HEAD + b"Content-Length: 100000\r\n\r\n", b"x"),
    "a body in chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "a body in many chunks": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
        [b"1\r\nx\r\n" * MAX_CHUNKS_PER_TURN],
    ),
    "a body behind an upgrade": (HEAD + UPGRADE + b"Content-Length: 100000\r\n\r\n", b"x"),
    "a body that nobody reads": (HEAD.replace(b"echo", b"?") + b"Content-Length: 100000\r\n\r\n", b"x"),
    "nothing behind an upgrade with a body": (HEAD + UPGRADE + b"Content-Length: 100000\r\n\r\n", b""),
}


@pytest.mark.parametrize("name", SLOW)
async def test_a_slow_request_ends_with_its_deadline(port: int, name: str) -> None:
    answer = await drip(port, *SLOW[name])
    assert not answer.startswith(b"HTTP/1.1 2"), answer


@pytest.mark.parametrize("name", SLOW)
async def test_a_slow_request_is_answered_with_408(port: int, name: str) -> None:
    head, _, body = (await drip(port, SLOW[name][0], b"")).partition(b"\r\n\r\n")
    if b"echo" not in SLOW[name][0]:
        assert head.startswith(b"HTTP/1.1 404 ")
        return
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"content-type: application/problem+json" in head.lower().splitlines()
    assert b"connection: close" in head.lower().splitlines()
    problem = json.loads(body)
    assert (problem["code"], problem["status"]) == ("too_slow", 408)
    assert f"content-length: {len(body)}".encode() in head.lower().splitlines()


def test_the_hub_gives_the_time_that_is_documented() -> None:
    """The tests above have less patience than the hub."""
    promised = re.search(
        r"head must arrive within (\d+) s of the connection, body and answer within (\d+) s more",
        PAGE.read_text(),
    )
    assert promised is not None
    app = create_app(settings_on("redis://127.0.0.1:1/0"))
    Sanic.unregister_app(app)
    assert tuple(map(int, promised.groups())) == (app.config.REQUEST_TIMEOUT, app.config.RESPONSE_TIMEOUT)


async def test_a_connection_without_a_byte_gets_no_answer_and_ends_too(port: int) -> None:
    assert await drip(port, b"", b"") == b""


async def test_each_request_on_a_connection_has_a_deadline_of_its_own(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(4):
        await asyncio.sleep(PATIENCE * 0.6)
        writer.write(HEAD + b"Content-Length: 2\r\n\r\n")
        await asyncio.sleep(PATIENCE * 0.2)
        writer.write(b"ok")
        async with asyncio.timeout(GIVEN_UP):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            assert await reader.readexactly(2) == b"ok"
    writer.close()
