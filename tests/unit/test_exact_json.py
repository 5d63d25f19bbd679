"""Numbers that a double can't hold: they go through handlers, frames and rows with all their digits."""

from __future__ import annotations

import msgspec
import pytest

from app.domain import exact_json
from app.domain.errors import InvalidEvent
from app.domain.events import decode
from app.sources.redis.messages import read, value_of
from app.testing import MemoryHub
from tests.support.hub import new_user

NUMBERS = [
    b"0.12345678901234567890123456789",
    b"1234567890.1234567890123456789",
    b"123456789012345678901234567890",
    b"-9007199254740993",
    b"18446744073709551616",
    b"0.10",
    b"-0.0",
    b"1E+400",
    b"1.5",
    b"1e5",
]


def plain(text: bytes) -> bytes:
    """1E+5 and 1e5 are the same."""
    return text.lower().replace(b"e+", b"e")


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_is_written_as_it_was_read(number: bytes) -> None:
    text = b'{"n":[%b]}' % number
    assert exact_json.encode(exact_json.decode(text)).lower().replace(b"+", b"") == text.lower().replace(
        b"+", b""
    )


@pytest.mark.parametrize("number", NUMBERS)
async def test_it_is_in_the_notification_as_it_was_sent(number: bytes) -> None:
    hub, user = MemoryHub(), new_user()
    event = (
        b'{"event_type": "plan_assigned", "group_id": "%b", "receivers": ["%b"], "data": {"group_name": "Nh",'
        b' "plan_id": 1, "deadline": "", "assignee_username": "mai", "price": %b, "price": %b}}'
    ) % (new_user().encode(), user.encode(), b"7", number)
    assert await hub.publish(event) is None
    [notification] = hub.bus.published
    found = exact_json.decode(bytes(notification.raw_data))["price"]
    assert found == exact_json.decode(number)
    assert plain(number) in plain(bytes(notification.raw_data))
    assert msgspec.json.encode(notification)


@pytest.mark.parametrize("place", [b"[%b]", b"[[1, [%b, null]]]", b'{"a": [{"b": %b}]}'])
async def test_so_it_is_however_deep_it_is(place: bytes) -> None:
    hub, user, number = MemoryHub(), new_user(), b"-12345678901234567890123456789012345678901.50"
    event = (
        b'{"event_type": "plan_assigned", "group_id": "%b", "receivers": ["%b"], "data": {"group_name": "Nh",'
        b' "plan_id": 1, "deadline": "", "assignee_username": "mai", "price": %b}}'
    ) % (new_user().encode(), user.encode(), place % number)
    assert await hub.publish(event) is None
    [notification] = hub.bus.published
    assert number in bytes(notification.raw_data)


@pytest.mark.parametrize(
    "number", [b"1e401", b"-1E+9999", b"1e-401", b"NaN", b"Infinity", b"-inf", b"1.", b".5", b"0x1", b"01"]
)
def test_what_is_no_number_or_too_far_from_one_is_refused(number: bytes) -> None:
    with pytest.raises(InvalidEvent) as refused:
        decode(b'{"event_type": "x", "n": %b}' % number, "key")
    assert refused.value.reason == "not_json"


@pytest.mark.parametrize("text", [b'"\\ud800"', b'"a\\udc00b"', b'"\\ud800\\ud800"'])
def test_half_a_character_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidEvent):
        decode(b'{"event_type": "x", "n": %b}' % text, "key")


def test_fields_of_a_stream_entry_keep_their_digits() -> None:
    assert b"0.12345678901234567890123456789" in value_of({b"a": NUMBERS[0], b"b": b"x"})


def test_what_differs_in_the_last_digit_is_another_message_and_what_is_written_otherwise_is_not() -> None:
    one, other = (read(b'{"n": 0.1234567890123456789012345678%d}' % digit) for digit in (1, 2))
    assert one.digest != other.digest
    assert read(b'{"n": 1.50, "m": 1e2}').digest == read(b'{"m": 100.0, "n": 1.5}').digest
