"""Invalid requests: each is answered with a problem that says what is wrong, however broken it is."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.support.hub import NO_TLS, REST, WEBSOCKET, Hub, new_user, token

HEADERS = b"Host: hub\r\nConnection: close\r\n"
BROKEN: dict[str, tuple[bytes, int, str]] = {
    "no HTTP at all": (b"HELLO\r\n\r\n", 400, "bad_request"),
    "a header without a colon": (b"GET /x HTTP/1.1\r\nHost hub\r\n\r\n", 400, "bad_request"),
    "NUL in the path": (b"GET /\x00 HTTP/1.1\r\n" + HEADERS + b"\r\n", 400, "bad_request"),
    "no path": (b"GET nowhere HTTP/1.1\r\n" + HEADERS + b"\r\n", 400, "bad_request"),
    "bytes beyond ASCII in the path": (b"GET /\xff HTTP/1.1\r\n" + HEADERS + b"\r\n", 400, "bad_request"),
    "a length that is none": (
        b"POST /x HTTP/1.1\r\nHost: hub\r\nContent-Length: x\r\n\r\n",
        400,
        "bad_request",
    ),
    "a method nobody knows": (
        f"BREW {REST}/health HTTP/1.1\r\nHost: hub\r\n\r\n".encode(),
        405,
        "method_not_allowed",
    ),
    "bytes beyond ASCII in the method": (b"G\xffT /x HTTP/1.1\r\n" + HEADERS + b"\r\n", 400, "bad_request"),
    "a letter beyond ASCII in it": (
        f"GÉT {REST}/health HTTP/1.1\r\nHost: hub\r\n\r\n".encode(),
        400,
        "bad_request",
    ),
    "NUL in the method": (b"GET\0 /x HTTP/1.1\r\n" + HEADERS + b"\r\n", 400, "bad_request"),
    "no method": (b" /x HTTP/1.1\r\n" + HEADERS + b"\r\n", 400, "bad_request"),
    "a separator in the method": (b"GET, /x HTTP/1.1\r\n" + HEADERS + b"\r\n", 400, "bad_request"),
    "long headers": (
        b"GET /x HTTP/1.1\r\nHost: hub\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        431,
        "headers_too_large",
    ),
    "a long address": (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n", 414, "target_too_long"),
    "a long query": (b"GET /x?" + b"x" * 17_000 + b" HTTP/1.1\r\nHost: hub\r\n\r\n", 414, "target_too_long"),
    "a long address after empty lines": (b"\r\n\r\nGET /" + b"x" * 20_000, 414, "target_too_long"),
    "an unknown expectation": (
        f"POST {REST}/health HTTP/1.1\r\nHost: hub\r\nExpect: 200-ok\r\nContent-Length: 2\r\n\r\n".encode(),
        417,
        "expectation_failed",
    ),
    "a long body": (
        f"POST {REST}/notifications HTTP/1.1\r\nHost: hub\r\nContent-Length: 9999999\r\n\r\n".encode(),
        413,
        "too_large",
    ),
    "no Host": (f"GET {REST}/health HTTP/1.1\r\n\r\n".encode(), 400, "bad_request"),
    "two lengths": (
        f"POST {REST}/notifications HTTP/1.1\r\nHost: hub\r\nContent-Length: 5, 5\r\n\r\nhello".encode(),
        400,
        "bad_request",
    ),
    "a blank before the colon": (
        f"POST {REST}/notifications HTTP/1.1\r\nHost: hub\r\nContent-Length : 5\r\n\r\nhello".encode(),
        400,
        "bad_request",
    ),
    "lines that end in LF": (f"GET {REST}/health HTTP/1.1\nHost: hub\n\n".encode(), 400, "bad_request"),
    "a file of no name": (
        f"GET {REST}/docs/assets/ HTTP/1.1\r\nHost: hub\r\n\r\n".encode(),
        404,
        "no_such_path",
    ),
    "NUL in a file's name": (
        f"GET {REST}/docs/assets/%00 HTTP/1.1\r\nHost: hub\r\n\r\n".encode(),
        404,
        "no_such_path",
    ),
}


async def ask(hub: Hub, request: bytes) -> tuple[bytes, bytes]:
    """The head and the body of the answer to these very bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    try:
        writer.write(request)
        async with asyncio.timeout(10):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().splitlines() if line.startswith(b"content-length:"))
            return head, await reader.readexactly(int(length.split()[1]))
    finally:
        writer.close()


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_request_is_answered_with_a_problem(hub: Hub, name: str) -> None:
    request, status, code = BROKEN[name]
    head, body = await ask(hub, request)
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), head
    assert b"content-type: application/problem+json" in head.lower().splitlines()
    assert json.loads(body)["code"] == code


FOREIGN_BYTES = ["Nguyễn".encode(), b"Andr\xe9", b"\xff\x80\xa0"]


@pytest.mark.parametrize("value", FOREIGN_BYTES)
@pytest.mark.parametrize("name", [b"Cookie", b"User-Agent", b"X-Forwarded-For", b"X-Request-ID", b"Accept"])
async def test_headers_may_hold_any_bytes(hub: Hub, name: bytes, value: bytes) -> None:
    """RFC 9110, 5.5."""
    user = new_user()
    foreign = b"%b: ten=%b\r\n" % (name, value)
    bearer = f"Host: hub\r\nAuthorization: Bearer {token(user)}\r\n".encode()
    upgrade = (
        b"Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    )
    path = f"/notifications/users/{user}"
    head, _ = await ask(hub, f"GET {REST}{path} HTTP/1.1\r\n".encode() + foreign + bearer + b"\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    head, _ = await ask(hub, f"GET {REST}/nowhere HTTP/1.1\r\nHost: hub\r\n".encode() + foreign + b"\r\n")
    assert head.startswith(b"HTTP/1.1 404 "), head
    head = await head_of(hub, f"GET {WEBSOCKET}{path} HTTP/1.1\r\n".encode() + bearer + upgrade + foreign)
    assert head.startswith(b"HTTP/1.1 101 "), head


@pytest.mark.parametrize("value", FOREIGN_BYTES)
@pytest.mark.parametrize(
    ("name", "status"), [(b"Authorization", 401), (b"Origin", 403), (b"Sec-WebSocket-Protocol", 400)]
)
async def test_headers_of_ours_with_foreign_bytes_are_refused(
    hub: Hub, name: bytes, status: int, value: bytes
) -> None:
    user = new_user()
    written = b"Bearer " + value if name == b"Authorization" else value
    given = b"%b: %b\r\n" % (name, written)
    jwt = f"?jwt={token(user)}" if name != b"Authorization" else ""
    begin = f"GET {WEBSOCKET}/notifications/users/{user}{jwt} HTTP/1.1\r\nHost: hub\r\n"
    upgrade = (
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    )
    head = await head_of(hub, begin.encode() + upgrade + given)
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), head


async def head_of(hub: Hub, head: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    try:
        writer.write(head + b"\r\n")
        async with asyncio.timeout(10):
            return await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()


async def test_the_token_of_an_address_that_can_not_be_read_is_not_logged(hub: Hub) -> None:
    secret = token(new_user())
    request = f"GET {WEBSOCKET}/\0?jwt={secret} HTTP/1.1\r\nHost: hub\r\n\r\n".encode()
    head, body = await ask(hub, request)
    assert head.startswith(b"HTTP/1.1 400 ")
    assert secret.encode() not in body
    assert secret not in hub.log.read_text()


@pytest.mark.parametrize(
    "query",
    [
        {"since": "0001-01-01T00:00:00+14:00"},
        {"until": "9999-12-31T23:59:59-14:00"},
        {"since": "2026-11-21T07:00:00"},
        {"since": ""},
        {"status": ""},
        {"channel": ""},
        {"event_id": ""},
        {"event_id": "x" * 201},
        {"user_id": ""},
        {"limit": ""},
        {"limit": ["1", "2"]},
        {"before": ""},
        {"before": new_user()},
    ],
)
async def test_a_wrong_parameter_is_named(hub: Hub, query: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {token('support', scope='deliveries:read')}"}
    async with httpx.AsyncClient(base_url=hub.http + REST, headers=headers, verify=NO_TLS) as service:
        answer = await service.get("/deliveries", params=query)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_parameter"), answer.text
    assert next(iter(query)) in answer.json()["detail"]


@pytest.mark.parametrize("query", [{"limit": ""}, {"before": ""}, {"unread": ""}])
async def test_an_empty_parameter_of_the_inbox_is_named(hub: Hub, query: dict[str, str]) -> None:
    user = new_user()
    async with hub.client(user) as owner:
        answer = await owner.get(f"/notifications/users/{user}", params=query)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_parameter"), answer.text


@pytest.mark.parametrize(
    "moment", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-11-21T07:00:00+07:00"]
)
async def test_every_moment_that_there_is_in_utc_is_taken(hub: Hub, moment: str) -> None:
    headers = {"Authorization": f"Bearer {token('support', scope='deliveries:read')}"}
    async with httpx.AsyncClient(base_url=hub.http + REST, headers=headers, verify=NO_TLS) as service:
        for name in ("since", "until"):
            answer = await service.get("/deliveries", params={name: moment})
            assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_no_event_has_an_id_with_nul(hub: Hub, method: str) -> None:
    headers = {"Authorization": f"Bearer {token('kitchen-service', scope='notifications:send')}"}
    async with httpx.AsyncClient(base_url=hub.http + REST, headers=headers, verify=NO_TLS) as service:
        answer = await service.request(method, "/notifications/%00")
    assert (answer.status_code, answer.json()["code"]) == (404, "no_such_event")


@pytest.mark.parametrize(
    ("path", "authorization", "status"),
    [
        ("/notifications", "", 401),
        ("/notify/email", "Authorization: Bearer x\r\n", 401),
        ("/notifications/bulk", "Authorization: Bearer {user}\r\n", 403),
        ("/preferences/users/{other}", "Authorization: Bearer {user}\r\n", 403),
    ],
)
async def test_the_token_is_checked_before_the_body_is_received(
    hub: Hub, path: str, authorization: str, status: int
) -> None:
    user, other = new_user(), new_user()
    head = authorization.format(user=token(user)) + "Host: hub\r\nContent-Length: 1000000\r\n\r\n"
    request = f"POST {REST}{path.format(other=other)} HTTP/1.1\r\n{head}half of it".encode()
    answer, _ = await ask(hub, request)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer


async def test_users_bodies_are_smaller(hub: Hub) -> None:
    user = new_user()
    head = f"Host: hub\r\nAuthorization: Bearer {token(user)}\r\nContent-Length: 262145\r\n\r\n"
    answer, body = await ask(hub, f"POST {REST}/preferences/users/{user} HTTP/1.1\r\n{head}".encode())
    assert answer.startswith(b"HTTP/1.1 413 "), answer
    assert json.loads(body)["code"] == "too_large"


async def test_an_answer_says_what_is_left_of_the_rate(hub: Hub) -> None:
    user = new_user()
    path, headers = (
        f"{REST}/notifications/users/{user}/unread-count",
        {"Authorization": f"Bearer {token(user)}"},
    )
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{hub.port}", headers=headers) as client:
        answer = await client.get(path)
        assert answer.headers["RateLimit-Policy"] == '"user";q=500;w=10'
        assert answer.headers["RateLimit"] == '"user";r=499;t=1'
        answers = await asyncio.gather(*(client.get(path) for _ in range(30)))
    assert {each.status_code for each in answers} == {200}, "those that wait are answered, too"
