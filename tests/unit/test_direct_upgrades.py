"""Upgrades that Sanic has no part in: what they are, and what becomes of those that fail."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import structlog
from sanic import Request

from app.api.errors import forbidden, overloaded
from app.api.handshake import hand_over
from app.api.prefixes import WEBSOCKET
from app.domain.errors import Unauthorized, Unavailable
from app.runtime.rate_limit import AdmissionQueue
from app.server import pending_connection
from app.server.protocol import AdmissionQueues, FairHttp
from tests.support.little_server import little_server

ANSWER = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
PATH = f"{WEBSOCKET}/notifications/users/alice%20b"
ECHO = b"POST /echo HTTP/1.1\r\nHost: hub\r\nContent-Length: 2\r\n\r\nhi"


class Peer(asyncio.Protocol):
    """A connection that sends back what it receives, in capitals."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data.upper())


class Endpoint:
    """Records how it is called, then does `then`."""

    def __init__(self, then: Any = None) -> None:
        self.users: list[str] = []
        self.request_ids: list[str | None] = []
        self.direct: list[bool] = []
        self.then = then
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()

    async def connect(self, request: Request, user_id: str) -> None:
        self.users.append(user_id)
        self.request_ids.append(structlog.contextvars.get_contextvars().get("request_id"))
        self.begun.set()
        self.direct.append(not isinstance(request.stream, FairHttp))
        assert request.client_ip == "127.0.0.1"
        try:
            await asyncio.sleep(0)
            if callable(self.then):
                raise self.then()
            if self.then is not None:
                await self.then
            peer: Any = Peer()
            hand_over(request, ANSWER, peer)
        finally:
            self.ended.set()


def upgrade(path: str = PATH, *lines: str, method: str = "GET") -> bytes:
    usual = (f"{method} {path} HTTP/1.1", "Host: hub", "Connection: Upgrade", "Upgrade: websocket")
    return ("\r\n".join((*usual, *lines)) + "\r\n\r\n").encode()


async def exchange(port: int, sent: bytes, until: bytes) -> bytes:
    """What is answered, up to `until`, or all."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    got = b""
    try:
        async with asyncio.timeout(5):
            while until not in got and (more := await reader.read(1000)):
                got += more
    finally:
        writer.close()
    return got


async def test_lines_of_the_log_tell_which_request_they_are_of() -> None:
    endpoint = Endpoint()
    async with little_server(connect=endpoint.connect) as port:
        for number in range(2):
            await exchange(port, upgrade(PATH, f"X-Request-ID: r-{number}" + 100 * "x") + b"a", b"A")
    assert endpoint.request_ids == [f"r-{number}" + 61 * "x" for number in range(2)]


@pytest.mark.parametrize("path", [PATH, f"{PATH}/", f"{PATH}?after=1"])
async def test_an_upgrade_is_handed_over_with_what_follows_it(path: str) -> None:
    endpoint = Endpoint()
    async with little_server(connect=endpoint.connect) as port:
        got = await exchange(port, upgrade(path) + b"frames", b"FRAMES")
    assert got == ANSWER + b"FRAMES"
    assert (endpoint.users, endpoint.direct) == (["alice%20b"], [True])


@pytest.mark.parametrize(
    ("refusal", "status", "code"),
    [
        (forbidden, 403, "other_user"),
        (partial(Unauthorized, "expired_token"), 401, "expired_token"),
        (partial(Unavailable, "redis", "away"), 503, "dependency_down"),
        (overloaded, 503, "overloaded"),
        (partial(RuntimeError, "a bug"), 500, "internal"),
    ],
)
async def test_a_refusal_is_answered_as_sanic_answers_it_without_asking_again(
    refusal: Callable[[], Exception], status: int, code: str
) -> None:
    endpoint = Endpoint(refusal)
    async with little_server(connect=endpoint.connect) as port:
        direct = await exchange(port, upgrade(PATH, "Accept-Language: ru") + ECHO, b"hi")
        assert endpoint.users == ["alice%20b"]
        behind = await exchange(port, ECHO + upgrade(PATH, "Accept-Language: ru"), b"}")
    assert endpoint.direct == [True, False]
    head, _, rest = direct.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    body, found = json.JSONDecoder().raw_decode(rest.decode())
    assert (body["code"], b"content-language: ru" in head.lower()) == (code, True)
    assert rest.decode()[found:].endswith("\r\n\r\nhi"), "the connection is as usable as before"
    assert head + b"\r\n\r\n" + rest.decode()[:found].encode() in behind


async def test_refusals_are_answered_at_a_rate_of_their_own_and_not_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pending_connection, "MAX_QUEUED_UPGRADES", 2)
    queues, endpoint = AdmissionQueues(), Endpoint(forbidden)
    queues.sanic_upgrades = AdmissionQueue(0.2, 1)
    async with little_server(connect=endpoint.connect, queues=queues) as port:
        answers = await asyncio.gather(*(exchange(port, upgrade(), b"}") for _ in range(6)))
        assert len(endpoint.users) == 6
        assert not queues.sanic_upgrades
    said = sorted(answer.split()[1] for answer in answers)
    assert said == [b"403"] * 3 + [b"503"] * 3
    assert all(b'"overloaded"' in answer for answer in answers if b" 503 " in answer)


async def test_a_client_that_leaves_ends_its_upgrade() -> None:
    endpoint = Endpoint(asyncio.get_running_loop().create_future())
    async with little_server(connect=endpoint.connect) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(upgrade())
        async with asyncio.timeout(5):
            await endpoint.begun.wait()
        writer.transport.abort()
        async with asyncio.timeout(5):
            await endpoint.ended.wait()
    assert endpoint.then.cancelled()


async def test_an_upgrade_that_takes_too_long_is_503() -> None:
    endpoint = Endpoint(asyncio.get_running_loop().create_future())
    async with little_server(connect=endpoint.connect, patience=0.05) as port:
        got = await exchange(port, upgrade(), b"}")
    assert got.startswith(b"HTTP/1.1 503 ")
    assert endpoint.then.cancelled()
    assert endpoint.direct == [True]


@pytest.mark.parametrize(
    ("sent", "status", "direct"),
    [
        (upgrade(f"{WEBSOCKET}/notifications/users/"), 404, []),
        (upgrade(f"{PATH}/more"), 404, []),
        (upgrade(f"/x{PATH}"), 404, []),
        (upgrade(method="POST"), 405, []),
        (upgrade(PATH, "Content-Length: 0"), 101, [False]),
        (ECHO + upgrade(), 101, [False]),
    ],
    ids=["no user", "more", "elsewhere", "POST", "a body", "second request"],
)
async def test_all_else_is_sanics(sent: bytes, status: int, direct: list[bool]) -> None:
    endpoint = Endpoint()
    async with little_server(connect=endpoint.connect) as port:
        wanted = f"HTTP/1.1 {status} ".encode()
        assert wanted in await exchange(port, sent, wanted)
    assert endpoint.direct == direct


def requests() -> int:
    return sum(isinstance(each, Request) for each in gc.get_objects())


@contextmanager
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.parametrize("then", [None, forbidden], ids=["accepted", "refused"])
async def test_an_upgrade_leaves_no_reference_cycle(then: Callable[[], Exception] | None) -> None:
    """Ten thousand at once would have the collector stop the node."""
    endpoint = Endpoint(then)
    async with little_server(connect=endpoint.connect) as port:
        await exchange(port, upgrade(), b"\r\n\r\n")
        await asyncio.sleep(0.05)
        with without_collector():
            before = requests()
            for _ in range(3):
                await exchange(port, upgrade(), b"\r\n\r\n")
            await asyncio.sleep(0.05)
            assert requests() == before
