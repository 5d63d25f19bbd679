"""Requests that are to hide others behind nginx or HAProxy, which keep connections to the hub for all.

The hub reads what a proxy passes on as the proxy does: nobody gets another's answer, and what is handled is
answered to whom it came from.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.attacks.test_smuggling import ATTACKS, CHUNKED, GOOD, POST, SMUGGLED, answers
from tests.support.little_server import little_server
from tests.support.reverse_proxies import CONFIGURATIONS, reverse_proxy

SIZE = len(SMUGGLED)
CODINGS = (
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding:\tchunked",
    b"Transfer-Encoding:\x0bchunked",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: identity, chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: ,chunked",
    b"Transfer-Encoding: chunked;q=1",
    b'Transfer-Encoding: "chunked"',
    b"Transfer-Encoding:\r\n chunked",
    b"X: y\rTransfer-Encoding: chunked",
    b"X: y\nTransfer-Encoding: chunked",
    b"Transfer_Encoding: chunked",
    b"transfer-encoding: CHUNKED",
    b"Transfer-Encoding: chunk\xc3\xa9d",
)
LENGTHS = (
    b"Content-Length: 0\r\nContent-Length: %d",
    b"Content-Length: %d\r\nContent-Length: 0",
    b"Content-Length: 0, %d",
    b"Content-Length: +%d",
    b"Content-Length: 0%d",
    b"Content-Length: %d ",
    b"Content-Length: 0x%x",
    b"Content-Length : %d",
    b"Content_Length: %d",
    b"Content-Length:\r\n %d",
    b"X: y\nContent-Length: %d",
)
LASTS = (
    b"0\r\n\r\n",
    b"0;a=b\r\n\r\n",
    b"0 \r\n\r\n",
    b"00\r\n\r\n",
    b"0\n\r\n",
    b"0\r\n\n",
    b"0;\n\r\n\r\n",
    b"0\r\nContent-Length: 5\r\n\r\n",
    b"0\r\nX: y\r\n\r\n",
    b"2;\nxx\r\nok\r\n0\r\n\r\n",
    b"0x0\r\n\r\n",
    b"-0\r\n\r\n",
    b"FFFFFFFFFFFFFFFF0\r\n\r\n",
    b"2\r\nokXX0\r\n\r\n",
    b"2\r\nok\n0\r\n\r\n",
)
BEHIND = {
    **ATTACKS,
    **{
        f"a coding and a length, {coding!r}": POST + coding + b"\r\nContent-Length: %d\r\n\r\n" % (SIZE + 5)
        + b"0\r\n\r\n" + SMUGGLED
        for coding in CODINGS
    },
    **{
        f"a length of less, {coding!r}": POST + coding + b"\r\nContent-Length: 4\r\n\r\n"
        + b"%x\r\n%b\r\n0\r\n\r\n" % (SIZE, SMUGGLED)
        for coding in CODINGS
    },
    **{f"a coding alone, {coding!r}": POST + coding + b"\r\n\r\n0\r\n\r\n" + SMUGGLED for coding in CODINGS},
    **{f"a length, {line!r}": POST + line % SIZE + b"\r\n\r\n" + SMUGGLED for line in LENGTHS},
    **{f"chunks, {last!r}": CHUNKED + last + SMUGGLED for last in LASTS},
    "HTTP/1.0 with chunks": CHUNKED.replace(b"1.1", b"1.0") + b"0\r\n\r\n" + SMUGGLED,
    "an upgrade that is none": POST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + SMUGGLED,
    "an upgrade to h2c": POST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n" + SMUGGLED,
    "an expectation": POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % SIZE + SMUGGLED,
    "an absolute target": b"POST http://x/echo HTTP/1.1\r\nHost: hub\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "two requests": GOOD + SMUGGLED,
    "a request as a body": POST + b"Content-Length: %d\r\n\r\n" % SIZE + SMUGGLED,
    "a request in a chunk": CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (SIZE, SMUGGLED),
}  # fmt: skip
IN_EACH_RUN = [
    *("chunks and a length", "a length that is hidden by a blank", "a folded line", "two requests"),
    *("a request as a body", "a request in a chunk"),
    *(f"a coding and a length, {coding!r}" for coding in CODINGS[::8]),
    *(f"a length of less, {coding!r}" for coding in CODINGS[::8]),
    *(f"chunks, {last!r}" for last in LASTS[::5]),
]


class Behind:
    """A server behind a proxy, which counts the requests that it handles."""

    def __init__(self) -> None:
        self.port = 0
        self.handled = 0

    def count(self) -> None:
        self.handled += 1


@pytest_asyncio.fixture(scope="module", params=sorted(CONFIGURATIONS))
async def behind(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Behind]:
    server, folder = Behind(), tmp_path_factory.mktemp("smuggling")
    async with little_server(server.count) as port:
        with reverse_proxy(request.param, port, Path(folder)) as server.port:
            yield server


async def check(behind: Behind, attack: bytes) -> None:
    """Others go on as before, and what was handled was answered to whom it came from."""
    before = behind.handled
    got = await answers(behind.port, attack + GOOD.replace(b"Host", b"Connection: close\r\nHost"))
    to_attacker = got.count(b"HTTP/1.1 200 ")
    for number in range(4):
        mark = b"%04d" % number
        others = await answers(
            behind.port, GOOD.replace(b"good", mark).replace(b"Host", b"Connection: close\r\nHost")
        )
        assert others.startswith(b"HTTP/1.1 200 "), others
        assert others.endswith(mark), others
    assert behind.handled == before + to_attacker + 4, got


@pytest.mark.parametrize("name", IN_EACH_RUN, ids=ascii)
async def test_nobody_gets_anothers_answer(behind: Behind, name: str) -> None:
    await check(behind, BEHIND[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(BEHIND.keys() - set(IN_EACH_RUN)), ids=ascii)
async def test_nobody_gets_anothers_answer_whatever_is_tried(behind: Behind, name: str) -> None:
    await check(behind, BEHIND[name])
