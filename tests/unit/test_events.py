"""Bytes to `Event`: each way a message can be wrong has its reason, and nothing else ever comes out."""

from __future__ import annotations

import codecs
import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import InvalidEvent
from app.domain.events import MAX_EVENT_BYTES, MAX_EVENT_ID_CHARS, DefaultType, Event, decode

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
        ("bad_encoding", codecs.BOM_UTF8 + '{"event_type": "x"}'.encode("utf-16")),
        ("bad_encoding", '{"event_type": "x"}'.encode("utf-32")),
        ("bad_encoding", codecs.BOM_UTF16_LE + b'{"event_type": "x"}'),
        ("not_json", codecs.BOM_UTF8),
        ("not_json", codecs.BOM_UTF8 * 2 + b'{"event_type": "x"}'),
        ("not_json", b'{"event_type": ' + codecs.BOM_UTF8 + b'"x"}'),
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


@pytest.mark.parametrize(("number", "event_id"), [(7, "7"), (7.0, "7"), (0, "0"), (-1.5, "-1.5")])
def test_an_event_id_may_be_a_number(number: float, event_id: str) -> None:
    assert decode(encoded(event_id=number), POSITION).event_id == event_id


def test_a_byte_order_mark_says_nothing() -> None:
    message = encoded(event_id="a", text="\ufeff stays inside")
    assert decode(codecs.BOM_UTF8 + message, POSITION) == decode(message, POSITION)


LOW_STOCK = DefaultType("low_stock", frozenset(("product_name",)))


@pytest.mark.parametrize(
    ("event_type", "body"),
    [
        ("low_stock", {"product_name": "x"}),
        ("low_stock", {"product_name": "x", "event_type": None}),
        ("low_stock", {"product_name": "x", "event_type": ""}),
        ("low_stock", {"product_name": "x", "event_type": 5}),
        ("low_stock", {"product_name": "x", "type": "alert"}),
        ("message", {"type": "inapp", "product_name": "x"}),
        ("message", {"type": "email"}),
        ("other", {"product_name": "x", "event_type": "other"}),
    ],
)
def test_a_source_may_expect_a_type_of_messages_that_say_none(event_type: str, body: dict[str, Any]) -> None:
    assert decode(json.dumps(body).encode(), POSITION, default_type=LOW_STOCK).event_type == event_type


@pytest.mark.parametrize("body", [b"{}", b'{"event_type": 5}', b'{"type": "alert"}'])
def test_a_message_that_does_not_look_like_the_expected_type_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidEvent) as refused:
        decode(body, POSITION, default_type=LOW_STOCK)
    assert refused.value.reason == "no_event_type"


@pytest.mark.parametrize(
    "message",
    [
        encoded(),
        *(encoded(event_id=unusable) for unusable in (None, "", " ", "é" * (MAX_EVENT_ID_CHARS + 1), False)),
        *(encoded(event_id=unusable) for unusable in (["a"], {"a": "b"})),
        encoded(event_id=10**MAX_EVENT_ID_CHARS),
    ],
)
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
