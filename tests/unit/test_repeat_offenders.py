"""A token that was closed with 4429 is refused early, as long as the reason lasts, and no other is."""

from __future__ import annotations

import base64
import json
from uuid import UUID, uuid4

import pytest

from app.auth import repeat_offenders as under_test
from app.auth.repeat_offenders import (
    FIRST_COOL_DOWN_SECONDS,
    LAST_COOL_DOWN_SECONDS,
    MAX_REFUSALS,
    REMEMBERED_SECONDS,
    RepeatOffenders,
    key_of,
)
from app.runtime.http1 import Head, parse_head

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4IiwianRpIjoieSJ9.c2ln_-bmF0dXJlc2lnbmF0dXJl"
TOKEN_PLACES = {
    "bearer token": f"Authorization: Bearer {TOKEN}",
    "subprotocol": f"Sec-WebSocket-Protocol: hub.v1, bearer.{TOKEN}",
    "lower case": f"authorization: bearer {TOKEN}",
    "without a blank": f"Authorization:Bearer {TOKEN}",
    "subprotocol only": f"sec-websocket-protocol:bearer.{TOKEN},hub.v1",
    "behind another scheme": f"Sec-WebSocket-Protocol: hub.v1\r\nAuthorization: Bearer  {TOKEN} ",
    "in a second line": f"Sec-WebSocket-Protocol: hub.v1\r\nX: y\r\nSec-WebSocket-Protocol: bearer.{TOKEN}",
    "beside another scheme": f"Authorization: Basic eDp5\r\nSec-WebSocket-Protocol: bearer.{TOKEN}",
    "after another scheme": f"Authorization: Basic eDp5\r\nAuthorization: Bearer {TOKEN}",
}
OTHER = f"{TOKEN}x"


def head(line: str = TOKEN_PLACES["bearer token"], address: str = "/ws") -> Head:
    return parse_head(
        f"GET {address} HTTP/1.1\r\nHost: hub.example.com\r\nUpgrade: websocket\r\n{line}\r\n\r\n".encode()
    )


class Offenders:
    """With a clock and a connection limit that are set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.at_limit: set[UUID] = set()
        self.repeat_offenders = RepeatOffenders(lambda user: user in self.at_limit)
        self.user = uuid4()

    def remember(self, *, flooded: bool, token: str = TOKEN) -> None:
        self.repeat_offenders.remember(key_of(token.encode()), self.user, flooded=flooded)


@pytest.fixture
def offenders(monkeypatch: pytest.MonkeyPatch) -> Offenders:
    offenders = Offenders()
    monkeypatch.setattr("app.auth.repeat_offenders.time.monotonic", lambda: offenders.now)
    return offenders


@pytest.mark.parametrize("place", TOKEN_PLACES)
def test_the_token_is_known_however_it_is_brought(offenders: Offenders, place: str) -> None:
    assert not offenders.repeat_offenders.retry_after(head(TOKEN_PLACES[place]))
    offenders.remember(flooded=True)
    assert offenders.repeat_offenders.retry_after(head(TOKEN_PLACES[place]))


def test_the_token_is_known_in_an_address(offenders: Offenders) -> None:
    offenders.remember(flooded=True)
    assert offenders.repeat_offenders.retry_after(head("Accept: */*", f"/ws?after=3&jwt={TOKEN}&x=1"))
    assert offenders.repeat_offenders.retry_after(head("Accept: */*", f"/ws?jwt={TOKEN.replace('.', '%2E')}"))


@pytest.mark.parametrize("other", [TOKEN[:-1], TOKEN + "x", "x" + TOKEN, TOKEN.swapcase(), "a.b.c", ""])
def test_no_other_token_is(offenders: Offenders, other: str) -> None:
    offenders.remember(flooded=True)
    assert not offenders.repeat_offenders.retry_after(head(f"Authorization: Bearer {other}"))


@pytest.mark.parametrize(
    ("line", "address"),
    [
        (f"Cookie: access_token={TOKEN}", "/ws"),
        (f"Referer: https://app.example.com/?jwt={TOKEN}", "/ws"),
        (f"Cookie: {TOKEN}\r\nSec-WebSocket-Protocol: hub.v1, bearer.{OTHER}", "/ws"),
        (f"Authorization: Bearer {OTHER}\r\nSec-WebSocket-Protocol: bearer.{TOKEN}", "/ws"),
        (f"Sec-WebSocket-Protocol: bearer.{OTHER}", f"/ws?jwt={TOKEN}"),
        (f"X-Authorization: Bearer {TOKEN}", f"/ws?x=jwt={TOKEN}"),
        ("Accept: */*", f"/{TOKEN}"),
    ],
)
def test_a_token_that_stands_elsewhere_is_not_the_one_that_counts(
    offenders: Offenders, line: str, address: str
) -> None:
    offenders.remember(flooded=True)
    assert not offenders.repeat_offenders.retry_after(head(line, address))


def test_a_user_over_the_connection_limit_is_refused_only_while_over_it(offenders: Offenders) -> None:
    offenders.remember(flooded=False)
    assert not offenders.repeat_offenders.retry_after(head()), "somebody left meanwhile"
    offenders.at_limit = {offenders.user}
    assert offenders.repeat_offenders.retry_after(head())
    offenders.at_limit = {uuid4()}
    assert not offenders.repeat_offenders.retry_after(head())


def claiming(user: object) -> str:
    payload = base64.urlsafe_b64encode(json.dumps({"sub": str(user), "jti": uuid4().hex}).encode())
    return f"eyJhbGciOiJIUzI1NiJ9.{payload.decode().rstrip('=')}.c2lnbmF0dXJl"


def test_of_a_user_who_is_refused_again_and_again_every_token_is_known(offenders: Offenders) -> None:
    def wait(user: object) -> int:
        return offenders.repeat_offenders.retry_after(head(f"Authorization: Bearer {claiming(user)}"))

    offenders.at_limit = {offenders.user}
    for _ in range(MAX_REFUSALS):
        assert not wait(offenders.user)
        offenders.remember(flooded=False, token=claiming(offenders.user))
    assert wait(offenders.user)
    assert not wait(uuid4())
    assert not wait("of no user")
    offenders.at_limit = set()
    assert not wait(offenders.user), "somebody left meanwhile"
    offenders.at_limit = {offenders.user}
    offenders.now += 3 * REMEMBERED_SECONDS
    assert not wait(offenders.user)
    offenders.remember(flooded=False, token=claiming(offenders.user))
    assert not wait(offenders.user), "it counts again"


def test_a_user_who_is_refused_now_and_then_is_closed_by_the_connection(offenders: Offenders) -> None:
    offenders.at_limit = {offenders.user}
    for _ in range(3 * MAX_REFUSALS):
        offenders.remember(flooded=False, token=claiming(offenders.user))
        offenders.now += 10
        assert not offenders.repeat_offenders.retry_after(
            head(f"Authorization: Bearer {claiming(offenders.user)}")
        )


@pytest.mark.parametrize("payload", ["", "!", "bnVsbA", "W10", "eyJzdWIiOjF9", "e", "A" * 10_000, "\x80"])
def test_claims_that_are_none_are_nobodys(offenders: Offenders, payload: str) -> None:
    offenders.at_limit = {offenders.user}
    for _ in range(MAX_REFUSALS):
        offenders.remember(flooded=False)
    assert not offenders.repeat_offenders.retry_after(head(f"Authorization: Bearer a.{payload}.b"))


def test_who_flooded_may_come_again_after_a_while_and_each_time_a_longer_one(offenders: Offenders) -> None:
    for cool_down in (FIRST_COOL_DOWN_SECONDS, 2 * FIRST_COOL_DOWN_SECONDS, 4 * FIRST_COOL_DOWN_SECONDS):
        for _ in range(20):  # at the same time, which counts once
            offenders.remember(flooded=True)
        assert offenders.repeat_offenders.retry_after(head()) == cool_down
        offenders.now += cool_down - 0.5
        assert offenders.repeat_offenders.retry_after(head()) == 1
        offenders.now += 0.6
        assert not offenders.repeat_offenders.retry_after(head())


def test_no_while_is_longer_than_the_longest(offenders: Offenders) -> None:
    for _ in range(10):
        offenders.remember(flooded=True)
        offenders.now += LAST_COOL_DOWN_SECONDS
    offenders.remember(flooded=True)
    assert offenders.repeat_offenders.retry_after(head()) == LAST_COOL_DOWN_SECONDS


def test_a_refusal_for_the_connection_limit_shortens_no_cool_down(offenders: Offenders) -> None:
    offenders.remember(flooded=True)
    offenders.now += 1
    offenders.remember(flooded=False)
    assert offenders.repeat_offenders.retry_after(head()) == FIRST_COOL_DOWN_SECONDS - 1


def test_a_token_is_forgotten(offenders: Offenders) -> None:
    offenders.remember(flooded=False)
    offenders.at_limit = {offenders.user}
    offenders.now += REMEMBERED_SECONDS
    assert not offenders.repeat_offenders.retry_after(head()), (
        "only sign-in can tell: it may be revoked by now"
    )
    assert not vars(offenders.repeat_offenders)["_tokens"]


def test_only_so_many_are_remembered_and_none_is_kept_itself(
    offenders: Offenders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "MAX_ENTRIES", 2)
    tokens = [f"{TOKEN}{number}" for number in range(3)]
    for token in tokens:
        offenders.remember(flooded=True, token=token)
    known = [
        offenders.repeat_offenders.retry_after(head(f"Authorization: Bearer {token}")) for token in tokens
    ]
    assert known == [0, FIRST_COOL_DOWN_SECONDS, FIRST_COOL_DOWN_SECONDS]
    assert TOKEN not in repr(vars(offenders.repeat_offenders))


@pytest.mark.parametrize(
    "piece",
    ["a", "- ", "?jwt=", "&jwt=", ",bearer.", "\r\nauthorization:", "\r\nsec-websocket-protocol: ,"],
)
def test_a_hostile_head_is_searched_in_one_pass(offenders: Offenders, piece: str) -> None:
    """A search restarted at each byte would take minutes; `make test`'s own limit ends it."""
    offenders.remember(flooded=True)
    pieces = piece * (1_000_000 // len(piece))
    if piece.endswith("jwt="):
        assert not offenders.repeat_offenders.retry_after(head(address=f"/ws?{pieces}", line="X: y"))
    else:
        assert not offenders.repeat_offenders.retry_after(head(f"Sec-WebSocket-Protocol: {pieces}"))
