"""The HTTP client for what is asked for by the thousand, against servers that answer as they were written."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.runtime.http_client import HttpClient, HttpClientError
from tests.support.certificates import DAYS, Authority

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Answers the requests of each connection, one after the other, with `answers`; then closes it."""

    def __init__(self, answers: Sequence[bytes]) -> None:
        self.answers = answers
        self.connections = 0
        self.requests: list[bytes] = []
        self.url = ""

    def named(self, host: str) -> str:
        """Its URL by another name."""
        return self.url.replace("127.0.0.1", host)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        for answer in self.answers:
            try:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            except asyncio.IncompleteReadError:
                break
            writer.write(answer)
        writer.close()


@asynccontextmanager
async def serving(*answers: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    made = Server(answers)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=tls)
    scheme = "http" if tls is None else "https"
    made.url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield made
    server.close()


@asynccontextmanager
async def asking(url: str) -> AsyncIterator[HttpClient]:
    client = HttpClient(url, {"Accept": "application/json"}, max_body_bytes=1000)
    yield client
    client.close()


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\n\r\nok",
    ],
    ids=["length", "chunks", "early hints", "until it closes", "HTTP/1.0"],
)
async def test_an_answer_is_read_however_it_is_framed(answer: bytes) -> None:
    async with serving(answer) as server, asking(server.url) as client:
        found = await client.get("/a")
        assert found.status == 200
        assert found.body == b"ok"


async def test_a_connection_serves_one_request_after_the_other() -> None:
    async with serving(OK, OK, OK) as server, asking(f"{server.url}/base/") as client:
        for path in ("/a", "/b", "/c"):
            assert (await client.get(path)).body == b"ok"
        assert server.connections == 1
        assert [each.split(b" ")[1] for each in server.requests] == [b"/base/a", b"/base/b", b"/base/c"]


async def test_calls_at_the_same_time_have_a_connection_each() -> None:
    async with serving(OK, OK) as server, asking(server.url) as client:
        answers = await asyncio.gather(*(client.get(f"/{number}") for number in range(4)))
        assert [each.body for each in answers] == [b"ok"] * 4
        assert server.connections == 4


async def test_a_connection_that_the_server_closed_meanwhile_is_replaced() -> None:
    async with serving(OK) as server, asking(server.url) as client:
        for _ in range(3):
            assert (await client.get("/")).body == b"ok"
        assert server.connections == 3


@pytest.mark.parametrize(
    "more",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother", b"\r\n"],
    ids=["an answer", "an empty line"],
)
async def test_what_nobody_asked_for_answers_no_later_request(more: bytes) -> None:
    async with serving(OK + more, OK) as server, asking(server.url) as client:
        for _ in range(2):
            assert (await client.get("/")).body == b"ok"
        assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000,
    ],
    ids=["nothing", "half a head", "half a body", "half of its chunks", "no HTTP", "an endless head"],
)
async def test_half_an_answer_is_none(answer: bytes) -> None:
    async with serving(answer) as server, asking(server.url) as client:
        with pytest.raises(HttpClientError):
            await client.get("/")
        assert server.connections == 1


async def test_no_more_of_a_body_is_read_than_is_wanted_and_its_connection_is_closed() -> None:
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b" " * 200_000
    async with serving(endless) as server, asking(server.url) as client:
        assert 1000 < len((await client.get("/")).body) <= 200_000
        await client.get("/")
        assert server.connections == 2


@pytest.mark.parametrize(
    ("url", "header"),
    [
        (lambda url: url.replace("//", "//hub:p%40ss@"), b"Authorization: Basic aHViOnBAc3M="),
        (lambda url: url, b"Accept: application/json"),
        (lambda url: url.replace("//", "//hub@"), b"Host: 127.0.0.1:"),
        (lambda url: url.replace("127.0.0.1", "LOCALHOST"), b"Host: localhost:"),
    ],
    ids=["user and password", "own header", "host without user", "host in capitals"],
)
async def test_what_a_request_says(url: Callable[[str], str], header: bytes) -> None:
    async with serving(OK) as server, asking(url(server.url)) as client:
        await client.get("/")
        assert b"\r\n" + header in server.requests[0]


async def test_who_stops_waiting_leaves_no_connection_behind() -> None:
    async with serving(b"", OK) as server, asking(server.url) as client:
        server.answers = [b"HTTP/1.1 200 OK\r\n", OK]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.get("/")
        server.answers = [OK]
        assert (await client.get("/")).body == b"ok"
        assert server.connections == 2


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """A private CA that the environment names, as for the other clients of the hub."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    return authority


async def test_over_tls_a_connection_serves_many_requests_and_is_replaced_when_it_was_closed(
    trusted: Authority,
) -> None:
    async with serving(OK, OK, tls=trusted.server("127.0.0.1")) as server, asking(server.url) as client:
        for path in ("/a", "/b", "/c"):
            assert (await client.get(path)).body == b"ok"
        assert [each.split(b" ")[1] for each in server.requests] == [b"/a", b"/b", b"/c"]
        assert server.connections == 2


async def test_over_tls_a_name_is_verified_as_well_as_an_address(trusted: Authority) -> None:
    tls = trusted.server("localhost")
    async with serving(OK, tls=tls) as server, asking(server.named("localhost")) as client:
        assert (await client.get("/")).body == b"ok"


@pytest.mark.parametrize("what", ["another CA", "another name", "another address", "expired"])
async def test_a_server_that_is_not_who_it_says_gets_no_request(
    trusted: Authority, tmp_path: Path, what: str
) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    tls = {
        "another CA": lambda: other.server("127.0.0.1"),
        "another name": lambda: trusted.server("user-service"),
        "another address": lambda: trusted.server("127.0.0.2"),
        "expired": lambda: trusted.server("127.0.0.1", made=datetime.now(UTC) - timedelta(days=DAYS + 1)),
    }[what]()
    async with serving(OK, tls=tls) as server, asking(server.url) as client:
        with pytest.raises(HttpClientError, match="SSLCertVerificationError"):
            await client.get("/secret")
        assert server.requests == []


async def test_a_server_that_speaks_no_tls_is_an_error_of_the_client(trusted: Authority) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")  # at once: a TLS greeting has no end of a head
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with asking(f"https://127.0.0.1:{port}") as client:
            with pytest.raises(HttpClientError):
                await client.get("/")
