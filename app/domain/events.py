"""Bytes to `Event`. No I/O.

Whatever a publisher sends either becomes an `Event` whose body Postgres can store, or raises `InvalidEvent`
with the reason that goes into the dead letter.
"""

from __future__ import annotations

from typing import Any

import msgspec

from app.domain.errors import InvalidEvent

MAX_EVENT_BYTES = 1024 * 1024
MAX_EVENT_ID_CHARS = 200
MESSAGE = "message"
"""The type of an event without `event_type`, but with the `type` (of channel) that a message has."""


class Event(msgspec.Struct, frozen=True):
    """Something that happened, as a publisher sent it. `body` is the whole message."""

    event_id: str
    event_type: str
    body: dict[str, Any]


_decoder = msgspec.json.Decoder()


def decode(message: bytes | None, dedup_key: str, known_type: str | None = None) -> Event:
    """Decode one message.

    `dedup_key` identifies the message in its source; it is the event's id when the publisher gave none.
    `known_type` is the event's type where the message needn't say it.

    Raises `InvalidEvent`: too_large, bad_encoding, not_json, not_an_object, nul_character, bad_event_id,
    no_event_type.
    """
    if message is None:
        raise InvalidEvent("not_json", "the message is empty; send a JSON object")
    if len(message) > MAX_EVENT_BYTES:
        raise InvalidEvent("too_large", f"{len(message)} bytes; the limit is {MAX_EVENT_BYTES}")
    body = _json(message)
    if not isinstance(body, dict):
        raise InvalidEvent("not_an_object", f"expected a JSON object, got {_json_type(body)}")
    if b"\\u0000" in message and _holds_nul(body):
        raise InvalidEvent("nul_character", "a string contains NUL, which Postgres cannot store")
    event_id = body.get("event_id")
    if event_id is None:
        event_id = dedup_key
    elif not isinstance(event_id, str) or not 0 < len(event_id) <= MAX_EVENT_ID_CHARS:
        raise InvalidEvent(
            "bad_event_id", f"`event_id` must be a string of 1 to {MAX_EVENT_ID_CHARS} characters"
        )
    event_type = known_type or body.get("event_type") or (MESSAGE if "type" in body else None)
    if not isinstance(event_type, str) or not event_type:
        raise InvalidEvent("no_event_type", "`event_type` is required and must be a string")
    return Event(event_id, event_type, body)


def _json(message: bytes) -> Any:
    try:
        return _decoder.decode(message)
    except UnicodeDecodeError as error:
        raise InvalidEvent("bad_encoding", f"not UTF-8: {error.reason} at byte {error.start}") from None
    except RecursionError:
        raise InvalidEvent("not_json", "the JSON is nested too deeply") from None
    except msgspec.MsgspecError as error:
        try:
            message.decode()
        except UnicodeDecodeError as bad:
            raise InvalidEvent("bad_encoding", f"not UTF-8: {bad.reason} at byte {bad.start}") from None
        raise InvalidEvent("not_json", str(error)) from None


def _holds_nul(value: Any) -> bool:
    rest = [value]
    while rest:
        match rest.pop():
            case str() as text if "\0" in text:
                return True
            case dict() as mapping:
                rest += [*mapping.keys(), *mapping.values()]
            case list() as items:
                rest += items
    return False


def _json_type(value: Any) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
