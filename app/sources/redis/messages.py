"""What comes in over Redis, as bytes and values. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

import msgspec

from app.domain import exact_json
from app.domain.errors import InvalidEvent
from app.domain.events import BOM, DefaultType, usable_event_id
from app.domain.time import event_time
from app.sources.dead_letters import (
    CHANNEL,
    NOT_REPLAYED,
    STREAM,
    ReplayHeaders,
    originals,
    read_replay_headers,
    reasons,
)
from app.sources.redaction import redact_message

VALUE = "value"
"""The field of a dead letter that holds the message."""
_TEXTS = (b"event_id", b"event_type")  # stay texts, be they digits only
LOW_STOCK = DefaultType("low_stock", frozenset(("product_id", "product_name", "current_stock", "threshold")))
"""What a message without `event_type` is on these channels and streams, which are named after it."""
_UNREADABLE = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)


@dataclass(frozen=True, eq=False, slots=True)
class Received:
    """One message as Redis gave it. `place` is the channel or the stream it came from."""

    place: str
    value: bytes
    entry_id: bytes | None = None
    """Of the stream entry; None for what came over the channel."""
    replay: ReplayHeaders = NOT_REPLAYED

    @property
    def sent_at_ms(self) -> int | None:
        """When Redis received it (milliseconds), from the stream entry's id; None for Pub/Sub."""
        return None if self.entry_id is None else int(self.entry_id.partition(b"-")[0])

    @property
    def happened_at(self) -> datetime | None:
        """When Redis received it; None if that is unknown or implausible (publishers may choose ids)."""
        return None if self.sent_at_ms is None else event_time(self.sent_at_ms / 1000)


class Reading(NamedTuple):
    """`canonical`: the same for messages with the same content. `has_id`: the publisher set an `event_id`."""

    canonical: bytes
    has_id: bool

    @property
    def digest(self) -> str:
        """The SHA-256 of the event in its canonical form, in hexadecimal digits."""
        return sha256(self.canonical).hexdigest()


def entry(stream: str, entry_id: bytes, fields: Mapping[bytes, bytes]) -> Received:
    """Read a stream entry. A replayed one has fields of the hub's."""
    if len(fields) == 1:
        return Received(stream, value_of(fields), entry_id)
    named = {_text(name): value for name, value in fields.items()}
    theirs = {_bytes(name): value for name, value in originals(named.items())}
    return Received(stream, value_of(theirs), entry_id, read_replay_headers(named, "redis"))


def value_of(fields: Mapping[bytes, bytes]) -> bytes:
    """The message that a stream entry holds.

    The value of a single field, whatever its name, is the message itself. Several fields are the members of
    the object that is the message: values that are JSON numbers, booleans, arrays or objects are taken as
    such, all others, and `event_id` and `event_type` always, as texts. Bytes that are no UTF-8 stay as they
    are, so that decoding the event refuses them.
    """
    if len(fields) == 1:
        return next(iter(fields.values()))
    members = (
        f"{_quoted(_text(name))}: "
        + (_quoted(_text(value.removeprefix(BOM))) if name in _TEXTS else _member(value))
        for name, value in fields.items()
    )
    return f"{{{', '.join(members)}}}".encode(errors="surrogateescape")


def read(value: bytes) -> Reading:
    """Read the content of a message, whatever its white space and order of keys.

    Of one that isn't a JSON object it is the bytes.
    """
    try:
        body = exact_json.decode_canonically(value.removeprefix(BOM))
        if isinstance(body, dict):
            canonical = exact_json.encode_canonically(body)
            return Reading(canonical, usable_event_id(body.get("event_id")) is not None)
    except _UNREADABLE:
        pass
    return Reading(value, False)


def labels_of(received: Received) -> bytes:
    """Encode all of a message but its value, for `parked_message`."""
    return msgspec.msgpack.encode((received.place, received.entry_id, received.replay))


def parked_message(labels: bytes, value: bytes) -> Received:
    """The message whose event was parked with these labels."""
    place, entry_id, replay = msgspec.msgpack.decode(labels, type=tuple[str, bytes | None, ReplayHeaders])
    return Received(place, value, entry_id, replay)


def dead_letter(received: Received, dedup_key: str, error: InvalidEvent) -> dict[str, bytes | str]:
    """Make the fields of its dead letter: the message, redacted if it holds a one-time code, and the hub's
    headers.

    `dedup_key` is its event's.
    """
    value = redact_message(received.value)
    attempts = received.replay.attempts
    fields: dict[str, bytes | str] = {
        VALUE: value,
        **reasons("redis", dedup_key, error, attempts, redacted=value != received.value),
    }
    if received.entry_id is None:
        return {**fields, CHANNEL: received.place}
    return {**fields, STREAM: received.place, "dlq.id": received.entry_id}


def _text(value: bytes) -> str:
    return value.decode(errors="surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def _member(value: bytes) -> str:
    """The value as JSON: as it is, if it is a number, a boolean, an array or an object; else as a text."""
    value = value.removeprefix(BOM)
    try:
        found = exact_json.decode(value)
    except _UNREADABLE:
        return _quoted(_text(value))
    return _quoted(_text(value)) if found is None or isinstance(found, str) else _text(value)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
