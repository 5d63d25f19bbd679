"""Bytes to `Event`. No I/O.

Whatever a publisher sends either becomes an `Event` whose body Postgres can store, or raises `InvalidEvent`
with the reason that goes into the dead letter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from app.domain import exact_json
from app.domain.channels import CHANNELS
from app.domain.errors import InvalidEvent
from app.domain.user_ids import decimal

MAX_EVENT_BYTES = 1024 * 1024
MAX_EVENT_ID_CHARS = 200
BOM = b"\xef\xbb\xbf"
"""The byte order mark that some programs write before UTF-8; it says nothing."""
MESSAGE = "message"
"""The type of an event without `event_type`, but with the `type` (of channel) that a message has."""


class DefaultType(NamedTuple):
    """The type that a source expects of messages that don't say theirs."""

    event_type: str
    fields: frozenset[str]
    """One of these has to be there, or the message is none of that type."""


class Event(msgspec.Struct, frozen=True):
    """Something that happened, as a publisher sent it. `body` is the whole message."""

    event_id: str
    event_type: str
    body: dict[str, Any]


class UnreadMessage(bytes):
    """The place of a message that its source could not read. It is empty, and `decode` raises `why`."""

    why: InvalidEvent

    def __new__(cls, why: InvalidEvent) -> UnreadMessage:
        """`why` is what `decode` raises."""
        made = super().__new__(cls)
        made.why = why
        return made


def decode(
    message: bytes | None,
    dedup_key: str,
    known_type: str | None = None,
    default_type: DefaultType | None = None,
) -> Event:
    """Decode one message.

    `dedup_key` identifies the message in its source; it is the event's id when the publisher gave none that
    can be used. `known_type` is the event's type whatever the message says, `default_type` where it says
    none.

    Raises `InvalidEvent`: too_large, bad_encoding, not_json, not_an_object, nul_character, no_event_type.
    """
    if not message and isinstance(message, UnreadMessage):
        raise message.why
    if message is None:
        raise InvalidEvent("not_json", "the message is empty; send a JSON object")
    if len(message) > MAX_EVENT_BYTES:
        raise InvalidEvent("too_large", f"{len(message)} bytes; the limit is {MAX_EVENT_BYTES}")
    body = _json(message.removeprefix(BOM))
    if not isinstance(body, dict):
        raise InvalidEvent("not_an_object", f"expected a JSON object, got {_json_type(body)}")
    if b"\\u0000" in message and _holds_nul(body):
        raise InvalidEvent("nul_character", "a string contains NUL, which Postgres cannot store")
    event_type = known_type or _event_type(body, default_type)
    return Event(usable_event_id(body.get("event_id")) or dedup_key, event_type, body)


def usable_event_id(given: object) -> str | None:
    """The publisher's `event_id`: a text, or a number's decimals. None if there is none that can be used."""
    if given is None:
        return None
    given = decimal(given) or given
    return given if isinstance(given, str) and given.strip() and len(given) <= MAX_EVENT_ID_CHARS else None


def _event_type(body: Mapping[str, Any], default_type: DefaultType | None) -> str:
    """What the message says, else a message if it names a channel, else the type that its source expects."""
    said = body.get("event_type")
    if isinstance(said, str) and said:
        return said
    if "type" in body and (default_type is None or body["type"] in CHANNELS):
        return MESSAGE
    if default_type is None or default_type.fields.isdisjoint(body):
        raise InvalidEvent("no_event_type", "`event_type` is required and must be a string")
    return default_type.event_type


def _json(message: bytes) -> Any:
    try:
        return exact_json.decode(message)
    except UnicodeDecodeError as error:
        raise InvalidEvent("bad_encoding", _not_utf8(error)) from None
    except RecursionError:
        raise InvalidEvent("not_json", "the JSON is nested too deeply") from None
    except msgspec.MsgspecError as error:
        try:
            message.decode()
        except UnicodeDecodeError as bad:
            raise InvalidEvent("bad_encoding", _not_utf8(bad)) from None
        raise InvalidEvent("not_json", exact_json.fault(message, error)) from None


def _not_utf8(error: UnicodeDecodeError) -> str:
    return f"not UTF-8, which events must be: {error.reason} at byte {error.start}"


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
