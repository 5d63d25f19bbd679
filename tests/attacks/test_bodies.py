"""Large bodies and unread answers: what one node holds of them is bounded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import pytest_asyncio

from app.server.protocol import AdmissionQueues
from tests.support.hub import eventually
from tests.support.little_server import PATIENCE, little_server

POST = b"POST /echo HTTP/1.1\r\nHost: hub\r\n"
CLOSE = POST + b"Connection: close\r\n"
QUEUES = AdmissionQueues(max_bodies=1000)


@pytest_asyncio.fixture(scope="module")
async def port() -> AsyncIterator[int]:
    async with little_server(queues=QUEUES) as port:
        yield port


async def ask(port: int, *pieces: bytes) -> tuple[bytes, bytes]:
    """The head of the last answer, and its body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.01)
        async with asyncio.timeout(10):
            head, _, body = (await reader.read()).rpartition(b"HTTP/1.1 ")[2].partition(b"\r\n\r\n")
            return head, body
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("request_line", "status"), [(b"POST /echo HTTP/1.1\n", b"400 "), (b"GET /" + b"a" * 20_000, b"414 ")]
)
async def test_who_sends_on_after_a_refusal_still_sees_it(
    port: int, request_line: bytes, status: bytes
) -> None:
    head, _ = await ask(port, request_line, *[b"x" * 20_000] * 5)
    assert head.startswith(status), head


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 700\r\n\r\n" + b"x" * 700,
        b"Transfer-Encoding: chunked\r\n\r\n2bc\r\n" + b"x" * 700 + b"\r\n0\r\n\r\n",
    ],
)
async def test_bodies_of_more_bytes_than_the_node_holds_get_503(port: int, body: bytes) -> None:
    half = asyncio.create_task(ask(port, CLOSE + b"Content-Length: 700\r\n\r\n" + b"x" * 500))

    async def held() -> bool:
        return QUEUES.bodies.left == 500

    await eventually(held, "the body is held")
    head, answer = await ask(port, CLOSE + body)
    assert head.startswith(b"503 "), head
    assert b"retry-after: 2" in head.lower().splitlines()
    assert json.loads(answer)["code"] == "overloaded"
    assert (await ask(port, CLOSE + b"Content-Length: 300\r\n\r\n" + b"y" * 300))[1] == b"y" * 300
    assert (await half)[0].startswith(b"408 "), "its time is over, and its bytes are given back"
    assert QUEUES.bodies.left == 1000
    assert (await ask(port, CLOSE + b"Content-Length: 1000\r\n\r\n" + b"z" * 1000))[1] == b"z" * 1000


async def test_bytes_are_given_back_on_kept_connections_too(port: int) -> None:
    request = b"Content-Length: 900\r\n\r\n" + b"x" * 900
    assert (await ask(port, (POST + request) * 3 + CLOSE + request))[1] == b"x" * 900


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 99999999\r\n\r\n",
        b"Content-Length: 2000000\r\n\r\nx",
        b"Content-Length: 1048577\r\n\r\n",
    ],
)
async def test_a_body_that_is_too_large_is_refused_unread(port: int, body: bytes) -> None:
    head, answer = await ask(port, CLOSE + body)
    assert head.startswith(b"413 "), head
    assert json.loads(answer)["code"] == "too_large"


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 2000000\r\n\r\n" + b"x" * 2_000_000,
        b"Transfer-Encoding: chunked\r\n\r\n" + (b"10000\r\n" + b"x" * 0x10000 + b"\r\n") * 40,
    ],
)
async def test_who_sends_all_of_a_body_that_is_too_large_still_sees_the_refusal(body: bytes) -> None:
    async with little_server() as port:
        head, answer = await ask(port, POST + body)
    assert head.startswith(b"413 "), head
    assert json.loads(answer)["code"] == "too_large"


@pytest.mark.parametrize(
    "body", [b"Content-Length: 5000\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"]
)
async def test_who_is_refused_and_sends_no_more_of_a_body_is_disconnected(body: bytes) -> None:
    """800 such connections were kept for over 30 s each."""
    async with little_server() as port:
        began = asyncio.get_running_loop().time()
        head, _ = await ask(port, POST.replace(b"/echo", b"/nowhere") + body)
    assert head.startswith(b"404 "), head
    assert asyncio.get_running_loop().time() - began < 9, "ask() waits for 10 s"


@pytest.mark.parametrize(
    "body",
    [
        (b"Content-Length: 10\r\n\r\nhello", b"hello"),
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", b"0\r\n\r\n"),
    ],
)
async def test_a_connection_is_kept_if_the_rest_of_a_refused_body_comes(
    port: int, body: tuple[bytes, bytes]
) -> None:
    refused = POST.replace(b"/echo", b"/nowhere")
    _, answer = await ask(port, refused + body[0], body[1], CLOSE + b"Content-Length: 2\r\n\r\nok")
    assert answer == b"ok"


async def test_a_client_that_waits_for_leave_to_send_is_not_asked_for_what_nobody_reads(port: int) -> None:
    request = CLOSE.replace(b"/echo", b"/nowhere") + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 404 "), answer
    assert b"100 Continue" not in answer


async def test_a_client_of_http_1_0_is_not_sent_100_which_it_does_not_know(port: int) -> None:
    """RFC 9110, 10.1.1."""
    request = POST.replace(b"1.1", b"1.0") + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200 "), answer


async def test_an_answer_that_is_not_read_ends_with_its_time() -> None:
    """The request counts as one in flight until then."""
    async with little_server() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        size = 1024 * 1024
        request = POST + b"Content-Length: %d\r\n\r\n" % size + b"x" * size
        began = asyncio.get_running_loop().time()
        writer.transport.set_write_buffer_limits(4 * size)
        writer.write(request * 8)
        await asyncio.sleep(PATIENCE * 3 + 1.5)
        received = 0
        with suppress(ConnectionError):
            async with asyncio.timeout(10):
                while some := await reader.read(65536):
                    received += len(some)
        writer.close()
    assert received < 8 * size
    assert asyncio.get_running_loop().time() - began < 10
