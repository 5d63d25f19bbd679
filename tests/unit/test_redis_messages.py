"""What Redis holds, as messages: the forms of a stream entry, and what makes two messages the same."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidEvent
from app.domain.events import decode
from app.sources.dead_letters import ReplayHeaders
from app.sources.redis.messages import Received, dead_letter, entry, read, value_of

LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10
)
OBJECTS = st.dictionaries(st.text(), VALUES)


def shuffled(value: Any) -> Any:
    """The same with the keys of all objects in another order."""
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(value)}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


@given(st.binary(), st.binary())
def test_the_value_of_a_single_field_is_the_message_as_it_is(name: bytes, value: bytes) -> None:
    assert value_of({name: value}) == value


def test_several_fields_are_the_members_of_the_object() -> None:
    fields = {
        b"event_type": b"low_stock",
        b"event_id": b"12345",
        b"receivers": b'["a"]',
        b"data": b'{"left": 2}',
        b"left": b"2.5",
        b"urgent": b"true",
        b"code": b"007",
        b"quoted": b'"x"',
        b"none": b"null",
        b"name": "Sữa".encode(),
    }
    assert json.loads(value_of(fields)) == {
        "event_type": "low_stock",
        "event_id": "12345",
        "receivers": ["a"],
        "data": {"left": 2},
        "left": 2.5,
        "urgent": True,
        "code": "007",
        "quoted": '"x"',
        "none": "null",
        "name": "Sữa",
    }


def test_bytes_that_are_no_utf8_are_refused_as_such() -> None:
    value = value_of({b"event_type": b"low_stock", b"name": b"a\xffb"})
    with pytest.raises(InvalidEvent) as refused:
        decode(value, "x")
    assert refused.value.reason == "bad_encoding"
    assert b"a\xffb" in value


@given(st.dictionaries(st.binary(), st.binary(), min_size=1))
def test_any_entry_is_a_message_or_is_refused(fields: dict[bytes, bytes]) -> None:
    value = value_of(fields)
    assert len(read(value).digest) == 64
    with suppress(InvalidEvent):
        decode(value, "x")


@given(OBJECTS)
def test_neither_white_space_nor_the_order_of_keys_makes_another_event(body: dict[str, Any]) -> None:
    written = (json.dumps(body), json.dumps(shuffled(body), ensure_ascii=False, indent=2))
    assert len({read(text.encode("utf-8", "surrogatepass")).digest for text in written}) == 1


@given(OBJECTS, OBJECTS)
def test_what_says_something_else_is_another_event(one: dict[str, Any], other: dict[str, Any]) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (read(json.dumps(one).encode()).digest == read(json.dumps(other).encode()).digest) == same


@pytest.mark.parametrize(
    ("message", "has_id"),
    [(b'{"event_id": "a"}', True), (b'{"event_id": null}', False), (b"{}", False), (b"[", False)],
)
def test_whether_the_publisher_named_the_event(message: bytes, has_id: bool) -> None:
    assert read(message).has_id == has_id


def test_an_entry_happened_when_its_id_says() -> None:
    assert Received("s", b"", b"1795271827357-3").happened_at == datetime(
        2026, 11, 21, 14, 37, 7, 357_000, UTC
    )


@pytest.mark.parametrize("entry_id", [None, b"18446744073709551615-0", b"0-1", b"1795271827-0"])
def test_what_has_no_plausible_time_happened_now(entry_id: bytes | None) -> None:
    assert Received("s", b"", entry_id).happened_at is None


@pytest.mark.parametrize("key", ["otp_code", "otp\\u005fcode"])
def test_a_dead_letter_holds_no_code(key: str) -> None:
    message = f'{{"email": "a@b.example", "{key}": "482913", "action": "register"}}'.encode()
    fields = dead_letter(
        Received("s", message, b"1-0"), "redis:digest", InvalidEvent("no_event_type", "none")
    )
    assert b"482913" not in bytes(fields["value"])  # type: ignore[arg-type]
    assert b"a@b.example" in bytes(fields["value"])  # type: ignore[arg-type]
    assert (fields["dlq.reason"], fields["dlq.stream"], fields["dlq.id"]) == ("no_event_type", "s", b"1-0")
    assert "digest" not in str(fields)


def test_a_replayed_entry_is_the_same_message_with_the_same_deduplication_key() -> None:
    fields = {b"value": b"[1]", b"hub.position": b"redis:abc:1", b"hub.attempts": b"2"}
    received = entry("s", b"9-0", fields)
    assert (received.value, received.replay) == (b"[1]", ReplayHeaders("redis:abc:1", 2))
    again = dead_letter(received, "redis:abc:1", InvalidEvent("not_an_object", "none"))
    assert (again["value"], again["dlq.position"], again["dlq.attempts"]) == (b"[1]", "redis:abc:1", "3")
