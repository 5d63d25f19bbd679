"""What a message is known by, and its dead letter: nothing the broker would refuse, no code."""

from __future__ import annotations

from datetime import UTC, datetime
from struct import pack
from typing import Any

import pytest
from aiormq import spec
from pamqp.header import ContentHeader

from app.domain.errors import InvalidEvent
from app.sources.rabbitmq import lenient_headers  # noqa: F401 - it reads them
from app.sources.rabbitmq.message import dead_letter, dedup_key_of, happened_at, message_identity

ERROR = InvalidEvent("bad_field", "it is bad")
ROOM = 131_064
SECONDS = 1_795_271_827
AT = datetime(2026, 11, 21, tzinfo=UTC)


def properties(**given: Any) -> spec.Basic.Properties:
    return spec.Basic.Properties(**given)


def headers(of: spec.Basic.Properties) -> dict[str, Any]:
    return dict(of.headers or {})


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        (SECONDS, datetime.fromtimestamp(SECONDS, UTC)),
        (SECONDS * 1000, datetime.fromtimestamp(SECONDS, UTC)),
        (SECONDS * 10**6, None),
        (2**64 - 1, None),
        (0, None),
        (86_400, None),
    ],
)
def test_a_timestamp_that_is_none_means_now_and_costs_no_other_property(
    timestamp: int, expected: datetime | None
) -> None:
    sent = ContentHeader(properties=properties(message_id="one", timestamp=AT)).marshal()
    at = pack(">Q", int(AT.timestamp()))
    assert at in sent
    header = ContentHeader()
    header.unmarshal(sent.replace(at, pack(">Q", timestamp)))
    assert header.properties.message_id == "one"
    assert happened_at(header.properties) == expected


def test_a_message_id_is_the_identity_whatever_the_body() -> None:
    assert (
        message_identity(b"a", properties(message_id="one"))
        == message_identity(b"b", properties(message_id="one"))
        == "one"
    )


def test_without_it_body_and_timestamp_are() -> None:
    known = [
        message_identity(body, properties(timestamp=at))
        for body, at in [(b"a", None), (b"b", None), (b"a", AT), (b"a", AT.replace(day=22))]
    ]
    assert len(set(known)) == 4
    assert message_identity(b"a", properties(timestamp=AT)) == known[2]


@pytest.mark.parametrize("given", [{}, {"message_id": "one"}, {"timestamp": AT}], ids=str)
def test_a_replayed_dead_letter_has_the_same_deduplication_key(given: dict[str, Any]) -> None:
    original = properties(**given)
    body, kept = dead_letter("q", b"x", original, ERROR, ROOM)
    assert message_identity(body, kept) == message_identity(b"x", original)


def test_what_the_broker_would_refuse_or_act_upon_moves_into_headers() -> None:
    original = properties(user_id="someone", expiration="1000", priority=3, headers={"trace": "abc"})
    _, kept = dead_letter("q", b"x", original, ERROR, ROOM)
    assert (kept.user_id, kept.expiration, kept.priority, kept.delivery_mode) == (None, None, 3, 2)
    assert {name: value for name, value in headers(kept).items() if name != "dlq.time"} == {
        "trace": "abc",
        "dlq.reason": "bad_field",
        "dlq.error": "it is bad",
        "dlq.source": "rabbitmq",
        "dlq.attempts": "1",
        "dlq.position": f"rabbitmq:q:{message_identity(b'x', original)}",
        "dlq.queue": "q",
        "dlq.user_id": "someone",
        "dlq.expiration": "1000",
    }
    assert headers(original) == {"trace": "abc"}


@pytest.mark.parametrize("value", ["x" * 131_000, object()], ids=["too large", "can't be written"])
def test_headers_that_can_not_be_sent_on_are_left_out(value: object) -> None:
    _, kept = dead_letter("q", b"x", properties(headers={"big": value}), ERROR, ROOM)
    assert "big" not in headers(kept)
    assert headers(kept)["dlq.headers"].startswith("omitted")
    assert headers(kept)["dlq.reason"] == "bad_field"
    assert len(ContentHeader(properties=kept).marshal()) <= ROOM


def test_a_dead_letter_holds_neither_a_code_nor_its_hash() -> None:
    message = b'{"email": "a@example.com", "otp_code": "482913", "action": "register"}'
    body, kept = dead_letter("q", message, properties(), ERROR, ROOM)
    assert b"482913" not in body
    assert b"a@example.com" in body
    assert kept.message_id is None
    assert message_identity(message, properties()) not in str(kept.headers)
    assert headers(kept)["dlq.redacted"] == "true"


def test_a_replayed_message_keeps_its_dedup_key_and_its_dead_letter_counts_attempts_on() -> None:
    original = properties(headers={"trace": "abc"})
    known = dedup_key_of("q", b"x", original)
    again = properties(
        headers={"trace": "abc", "hub.position": known, "hub.attempts": "1"}, message_id="else"
    )
    assert dedup_key_of("q", b"x", again) == known
    _, kept = dead_letter("q", b"x", again, ERROR, ROOM)
    assert (headers(kept)["dlq.position"], headers(kept)["dlq.attempts"]) == (known, "2")
    assert "hub.position" not in headers(kept)
