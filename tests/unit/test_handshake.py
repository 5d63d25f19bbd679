"""The opening handshake, as browsers, proxies and other clients write it."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest
from sanic import Request, Sanic
from sanic.compat import Header

from app.api import errors
from app.api.auth import bearer_token
from app.api.errors import HubRequest, Problem, problem_response
from app.api.handshake import AcceptedHandshake, Handshake, token_of
from app.domain.errors import Unauthorized
from app.settings.edge import WebSocketSettings
from app.texts.i18n import N_

USUAL = {
    "Host": "hub.example.com",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # of this key: RFC 6455, 1.3
OPAQUE = ("Nguyễn".encode(), b"Andr\xe9", b"\x80\xff\xfe", "\u00a0😀".encode(), b"", b"a\tb")


@pytest.fixture(scope="module")
def app() -> Iterator[Sanic[Any, Any]]:
    app: Sanic[Any, Any] = Sanic("handshakes", configure_logging=False)
    errors.install(app)
    yield app
    Sanic.unregister_app(app)


def request(app: Sanic[Any, Any], *lines: tuple[str, str | bytes], without: tuple[str, ...] = ()) -> Request:
    """A request with the usual headers, except those that `lines` give, as Sanic decodes them."""
    given = {name.lower() for name, _ in lines} | {name.lower() for name in without}
    usual = [(name, value) for name, value in USUAL.items() if name.lower() not in given]
    headers = [
        (name.lower(), value if isinstance(value, str) else value.decode(errors="surrogateescape"))
        for name, value in (*usual, *lines)
    ]
    transport: Any = None
    return HubRequest(b"/ws", Header(headers), "1.1", "GET", transport, app)


def accept(request: Request) -> AcceptedHandshake:
    return Handshake(WebSocketSettings()).accept(request)


def answered(*more: str) -> bytes:
    """The answer to `USUAL`, with no header but these: no extension is negotiated."""
    lines = (
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {ACCEPT}",
        *more,
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def refusal(request: Request) -> Problem:
    with pytest.raises(Problem) as refused:
        accept(request)
    return refused.value


@pytest.mark.parametrize("value", OPAQUE)
@pytest.mark.parametrize(
    "name",
    ["Cookie", "CF-IPCity", "User-Agent", "Referer", "X-Forwarded-Host", "Accept-Language", "X-Bl\udce9"],
)
def test_headers_that_are_not_the_handshakes_may_hold_any_bytes(
    app: Sanic[Any, Any], name: str, value: bytes
) -> None:
    accepted = accept(request(app, (name, value)))
    assert accepted.answer == answered()


@pytest.mark.parametrize("name", ["Connection", "Upgrade", "Sec-WebSocket-Key", "Sec-WebSocket-Protocol"])
@pytest.mark.parametrize("value", ["Nguyễn".encode(), b"Andr\xe9", b"websocket\xff"])
def test_headers_of_the_handshake_are_ascii(app: Sanic[Any, Any], name: str, value: bytes) -> None:
    problem = refusal(request(app, (name, value)))
    assert problem.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.UPGRADE_REQUIRED)
    assert problem_response(request(app, (name, value)), problem).status == problem.status


@pytest.mark.parametrize(
    "lines",
    [
        [("Connection", "keep-alive"), ("Connection", "Upgrade")],
        [("Connection", "keep-alive, upgrade,")],
        [("Connection", ""), ("Connection", "Upgrade")],
        [("Upgrade", "h2c"), ("Upgrade", "websocket")],
        [("Upgrade", "h2c, WebSocket")],
        [("Upgrade", "websocket"), ("Upgrade", "websocket")],
        [("Sec-WebSocket-Extensions", "permessage-deflate"), ("Sec-WebSocket-Extensions", "x-other; a=1")],
        [("Sec-WebSocket-Protocol", "")],
        [("Sec-WebSocket-Key", " dGhlIHNhbXBsZSBub25jZQ==\t")],
    ],
    ids=str,
)
def test_a_list_may_stand_on_several_lines(app: Sanic[Any, Any], lines: list[tuple[str, str]]) -> None:
    accepted = accept(request(app, *lines))
    assert accepted.answer == answered()
    assert not accepted.session


@pytest.mark.parametrize(
    "lines",
    [
        ["hub.v1, bearer.a.b.c"],
        ["hub.v1", "bearer.a.b.c"],
        ["bearer.a.b.c", "hub.v1"],
        ["other", "hub.v1,bearer.a.b.c", ""],
        ["", " ,hub.v1 ,", "\tbearer.a.b.c"],
    ],
)
def test_subprotocols_are_one_list(app: Sanic[Any, Any], lines: list[str]) -> None:
    asked = request(app, *(("Sec-WebSocket-Protocol", line) for line in lines))
    assert token_of(asked) == "a.b.c"
    accepted = accept(asked)
    assert accepted.session
    assert accepted.answer == answered("Sec-WebSocket-Protocol: hub.v1")


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([("Connection", "keep-alive")], 426),
        ([("Upgrade", "h2c")], 426),
        ([("Upgrade", "websockets")], 426),
        ([("Upgrade", "websoc\u212aet")], 426),
        ([("Connection", "keep alive, Upgrade")], 400),
        ([("Sec-WebSocket-Key", "short")], 400),
        ([("Sec-WebSocket-Key", "")], 400),
        ([("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ")], 400),
        ([("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=")], 400),
        ([("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ===")], 400),
        ([("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==")], 400),
        ([("Sec-WebSocket-Key", "dGhl IHNhbXBsZSBub25jZQ==")], 400),
        ([("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZSE=")], 400),
        ([("Sec-WebSocket-Key", "_-hlIHNhbXBsZSBub25jZQ==")], 400),
        ([("Sec-WebSocket-Key", USUAL["Sec-WebSocket-Key"])] * 2, 400),
        ([("Sec-WebSocket-Protocol", "a b")], 400),
        ([("Content-Length", "5")], 400),
        ([("Transfer-Encoding", "chunked")], 400),
        ([("Expect", "100-continue")], 400),
    ],
)
def test_other_handshakes_are_refused(
    app: Sanic[Any, Any], lines: list[tuple[str, str]], status: int
) -> None:
    assert refusal(request(app, *lines)).status == status


@pytest.mark.parametrize("name", ["Sec-WebSocket-Key", "Upgrade", "Connection"])
def test_a_handshake_without_one_of_its_headers_is_refused(app: Sanic[Any, Any], name: str) -> None:
    assert refusal(request(app, without=(name,))).status == (400 if "Key" in name else 426)


@pytest.mark.parametrize("version", ["8", "7", "14", "0", "", "013", "13, 8", "thirteen", "\udce9", "13 13"])
def test_another_version_is_told_the_one_that_is_spoken(app: Sanic[Any, Any], version: str) -> None:
    """RFC 6455, 4.2.2 and 4.4."""
    problem = refusal(request(app, ("Sec-WebSocket-Version", version)))
    assert (problem.status, problem.headers["Sec-WebSocket-Version"]) == (426, "13")
    assert (problem.headers["Upgrade"], problem.headers["Connection"]) == ("websocket", "Upgrade")


def test_no_version_and_two_are_refused_alike(app: Sanic[Any, Any]) -> None:
    for asked in (
        request(app, without=("Sec-WebSocket-Version",)),
        request(app, *[("Sec-WebSocket-Version", "13")] * 2),
        request(app, ("Sec-WebSocket-Version", "8"), without=("Sec-WebSocket-Key",)),
    ):
        assert refusal(asked).headers["Sec-WebSocket-Version"] == "13"


def test_the_version_is_checked_without_a_token(app: Sanic[Any, Any]) -> None:
    handshake = Handshake(WebSocketSettings())
    handshake.check_version(request(app))
    handshake.check_version(request(app, ("Sec-WebSocket-Version", "8"), without=("Upgrade",)))
    with pytest.raises(Problem):
        handshake.check_version(request(app, ("Sec-WebSocket-Version", "8")))


@pytest.mark.parametrize(
    "lines",
    [
        ["Basic eDp5"],
        [""],
        ["Bearer"],
        ["Bearer \t"],
        ["Digest a=b", "Negotiate x"],
        ["Basic eDp5, Bearer x.y.z"],
        ["\udce9 x"],
    ],
    ids=ascii,
)
def test_only_bearer_counts(app: Sanic[Any, Any], lines: list[str]) -> None:
    given = [("Authorization", line) for line in lines]
    assert bearer_token(request(app, *given)) is None
    assert token_of(request(app, *given, ("Sec-WebSocket-Protocol", "bearer.a.b.c"))) == "a.b.c"
    assert bearer_token(request(app, *given, ("Authorization", "bEaReR  d.e.f "))) == "d.e.f"
    twice = [("Authorization", "Bearer d.e.f")] * 2
    assert bearer_token(request(app, *given, *twice)) == "d.e.f"
    with pytest.raises(Unauthorized):
        bearer_token(request(app, *given, *twice, ("Authorization", "Bearer a.b.c")))


@pytest.mark.parametrize(
    ("lines", "locale"),
    [
        (["ru"], "ru"),
        (["fr", "ru;q=0.5, vi;q=0.9"], "vi"),
        (["", "vi"], "vi"),
        (["\udce9", "ru"], "ru"),
        ([], "en"),
        (["Nguyễn"], "en"),
    ],
)
def test_languages_are_one_list_too(app: Sanic[Any, Any], lines: list[str], locale: str) -> None:
    asked = request(app, *(("Accept-Language", line) for line in lines))
    answer = problem_response(asked, Problem(HTTPStatus.NOT_FOUND, "x", N_("Not found")))
    assert answer.headers["content-language"] == locale
