"""Requests that a proxy in front may frame in another way (smuggling): 400, and nothing after them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import pytest_asyncio

from tests.support.little_server import little_server

POST = b"POST /echo HTTP/1.1\r\nHost: hub\r\n"
SMUGGLED = b"POST /echo HTTP/1.1\r\nHost: hub\r\nContent-Length: 8\r\n\r\nsmuggled"
GOOD = b"POST /echo HTTP/1.1\r\nHost: hub\r\nContent-Length: 4\r\n\r\ngood"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(SMUGGLED)
ATTACKS = {
    "a length that is hidden by a blank": POST + LENGTH.replace(b":", b" :") + b"\r\n" + SMUGGLED,
    "chunks that are hidden by a blank": POST
    + b"Transfer-Encoding : chunked\r\n"
    + LENGTH
    + b"\r\n"
    + SMUGGLED,
    "chunks that are hidden by a control character": POST
    + b"Transfer-Encoding:\x0bchunked\r\n\r\n"
    + SMUGGLED,
    "chunks and a length": POST
    + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    "two lengths": POST + b"Content-Length: 0\r\n" + LENGTH + b"\r\n" + SMUGGLED,
    "a folded line": POST + b"X: y\r\n " + LENGTH + b"\r\n" + SMUGGLED,
    "a bare LF": POST + b"X: y\n" + LENGTH + b"\r\n" + SMUGGLED,
    "a bare CR": POST + b"X: y\r" + LENGTH + b"\r\n" + SMUGGLED,
    "no Host": b"POST /echo HTTP/1.1\r\n\r\n" + SMUGGLED,
    "two Hosts": POST + b"Host: hub\r\n\r\n" + SMUGGLED,
    "LF in an extension": CHUNKED + b"2;\nxx\r\nok\r\n0\r\n\r\n" + SMUGGLED,
    "a size with a prefix": CHUNKED + b"0x2\r\nok\r\n0\r\n\r\n" + SMUGGLED,
    "a chunk without its end": CHUNKED + b"2\r\nokXX0\r\n\r\n" + SMUGGLED,
    "a last chunk whose end is something else": CHUNKED + b"0\r\nXX" + SMUGGLED,
    "a request in the trailers": CHUNKED + b"0\r\n" + SMUGGLED,
}


@pytest_asyncio.fixture(scope="module")
async def port() -> AsyncIterator[int]:
    async with little_server() as port:
        yield port


async def answers(port: int, request: bytes) -> bytes:
    """All that is answered until the server closes the connection, which it must."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        async with asyncio.timeout(5):
            read = b""
            with suppress(ConnectionError):
                while some := await reader.read(65536):
                    read += some
            return read
    finally:
        writer.close()


@pytest.mark.parametrize("position", ["first", "later"])
@pytest.mark.parametrize("name", ATTACKS)
async def test_nothing_is_smuggled(port: int, name: str, position: str) -> None:
    before = b"" if position == "first" else GOOD
    read = await answers(port, before + ATTACKS[name])
    if before:
        assert read.startswith(b"HTTP/1.1 200 ")
        read = read.partition(b"good")[2]
    head, _, body = read.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 "), read
    assert b"connection: close" in head.lower().splitlines()
    problem, end = json.JSONDecoder().raw_decode(body.decode())
    assert (problem["code"], body[end:]) == ("bad_request", b"")


async def test_what_is_well_formed_is_answered_in_order(port: int) -> None:
    requests = (
        b"\r\n" + GOOD,
        CHUNKED + b"2;a=b\r\nok\r\n0\r\nX: y\r\n\r\n",
        POST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\nok",
        b"POST http://hub/echo HTTP/1.1\r\nHost: hub\r\nContent-Length: 0\r\n\r\n",
        GOOD.replace(b"HTTP/1.1", b"HTTP/1.0"),
    )
    for read in (await answers(port, b"".join(requests)), await dripped(port, b"".join(requests))):
        assert read.count(b"HTTP/1.1 200 ") == len(requests), read
        assert read.count(b"HTTP/1.1 100 Continue\r\n\r\n") == 1
        assert read.endswith(b"\r\n\r\ngood")


async def dripped(port: int, request: bytes) -> bytes:
    """As `answers`, with the request in pieces of seven bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for begin in range(0, len(request), 7):
            writer.write(request[begin : begin + 7])
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            return await reader.read()
    finally:
        writer.close()
