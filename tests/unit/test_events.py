"""Bytes to `Event`: each way a message can be wrong has its reason, and nothing else ever comes out."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidEvent
from app.domain.events import MAX_EVENT_BYTES, MAX_EVENT_ID_CHARS, Event, decode

POSITION = "kafka:events:0:7:1"
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def encoded(**fields: Any) -> bytes:
    return json.dumps({"event_type": "x", **fields}).encode()


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("not_json", None),
        ("not_json", b""),
        ("not_json", b"hello"),
        ("not_json", b'{"event_type": "x"'),
        ("not_json", b'{"event_type": "x"} {}'),
        ("not_json", b"{'event_type': 'x'}"),
        ("not_json", b'{"event_type": "x", "a": NaN}'),
        ("not_json", b'{"event_type": "x", "a": 1e999}'),
        ("not_json", b'{"event_type": "x", "a": ' + b"9" * 5000 + b"}"),
        ("not_json", b'{"event_type": "x", "a": "\x00"}'),
        ("not_json", b'{"event_type": "x", "a": "\\ud800 alone"}'),
        ("not_json", b'{"event_type": "x", "a": ' + b"[" * 5000 + b"]" * 5000 + b"}"),
        ("not_json", b'{"event_type": "x", "a": ' + b'{"b":' * 5000 + b"1" + b"}" * 5001),
        ("not_an_object", b"[]"),
        ("not_an_object", b'"event"'),
        ("not_an_object", b"17"),
        ("not_an_object", b"null"),
        ("bad_encoding", b'{"event_type": "x", "a": "\xff"}'),
        ("bad_encoding", b'{"event_type": "x", "\xc3": 1}'),
        ("bad_encoding", b'{"event_type": "x", "a": "\xed\xa0\x80"}'),
        ("bad_encoding", b'{"event_type": "x"}\xff'),
        ("bad_encoding", b'\xfe{"event_type": "x"}'),
        ("bad_encoding", '{"event_type": "x"}'.encode("utf-16")),
        ("nul_character", b'{"event_type": "x", "a": "b\\u0000c"}'),
        ("nul_character", b'{"event_type": "x", "\\u0000": 1}'),
        ("nul_character", b'{"event_type": "x", "a": [1, {"b": [{"c\\u0000": {}}]}]}'),
        ("nul_character", b'{"event_type": "x", "a": {"b": [["\\u0000"]]}}'),
        ("nul_character", b'{"event_type": "x", "event_id": "\\u0000"}'),
        ("nul_character", b'{"event_type": "x", "a": "\\\\u0000", "b": "\\u0000"}'),
        ("bad_event_id", encoded(event_id="")),
        ("bad_event_id", encoded(event_id="é" * (MAX_EVENT_ID_CHARS + 1))),
        ("bad_event_id", encoded(event_id=7)),
        ("bad_event_id", encoded(event_id=False)),
        ("bad_event_id", encoded(event_id=["a"])),
        ("no_event_type", b"{}"),
        ("no_event_type", encoded(event_type="")),
        ("no_event_type", encoded(event_type=None)),
        ("no_event_type", encoded(event_type=5)),
        ("too_large", b'{"event_type": "x", "a": "' + b"a" * 2 * 1024 * 1024 + b'"}'),
        ("too_large", b" " * (MAX_EVENT_BYTES + 1)),
    ],
    ids=lambda value: None if isinstance(value, str) else repr(value)[:60],
)
def test_a_wrong_message_is_refused_with_its_reason(reason: str, message: bytes | None) -> None:
    with pytest.raises(InvalidEvent) as refused:
        decode(message, POSITION)
    assert refused.value.reason == reason
    assert str(refused.value)


def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    assert decode(rb'{"event_type": "x", "a": "\\u0000"}', POSITION).body["a"] == r"\u0000"


def test_the_largest_message_that_is_allowed_passes() -> None:
    frame = len(encoded(a=""))
    assert decode(encoded(a="a" * (MAX_EVENT_BYTES - frame)), POSITION).event_type == "x"


@pytest.mark.parametrize("event_id", ["a", "đơn hàng 1", "x" * MAX_EVENT_ID_CHARS])
def test_the_publishers_event_id_is_the_identity(event_id: str) -> None:
    assert decode(encoded(event_id=event_id), POSITION).event_id == event_id


@pytest.mark.parametrize("message", [encoded(), encoded(event_id=None)])
def test_without_an_event_id_the_position_is_the_identity(message: bytes) -> None:
    assert decode(message, POSITION).event_id == POSITION
    assert decode(message, "elsewhere").event_id == "elsewhere"


def test_the_body_is_the_whole_message() -> None:
    assert decode(encoded(data={"a": 1}, more=[2]), POSITION).body == {
        "event_type": "x",
        "data": {"a": 1},
        "more": [2],
    }


@given(st.binary() | st.text().map(str.encode) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_decode_or_are_refused_and_nothing_else(message: bytes) -> None:
    with suppress(InvalidEvent):
        assert isinstance(decode(message, POSITION), Event)


@given(st.dictionaries(st.text(), VALUES), st.booleans())
def test_any_object_comes_through_unchanged_and_can_be_encoded_again(
    body: dict[str, Any], escaped: bool
) -> None:
    body["event_type"] = "x"
    body.pop("event_id", None)
    message = json.dumps(body, ensure_ascii=escaped).encode()
    if "\\u0000" in json.dumps(body).replace("\\\\", ""):
        with pytest.raises(InvalidEvent, match="NUL"):
            decode(message, POSITION)
        return
    event = decode(message, POSITION)
    assert event.body == body
    assert msgspec.json.decode(msgspec.json.encode(event.body)) == body
