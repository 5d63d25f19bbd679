"""What tells a repeat of an event from another event that has its id. No I/O.

An `event_id` belongs to the service that sent it over HTTP; brokers don't say who publishes. Its first
content stands: see decision 030.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from decimal import Context, Decimal
from enum import Enum
from typing import Any, NamedTuple

import msgspec

CONFLICT = "event_id_conflict"
"""The reason of an event that has the id of another one."""
SECRET_FIELDS = frozenset(("otp_code",))
"""They are no part of a fingerprint: from the hash of six digits the digits are soon found."""
TRANSPORT_FIELDS = frozenset(
    (
        *("event_id", "event_type", "traceparent", "tracestate", "baggage", "trace_id", "span_id"),
        *("correlation_id", "causation_id", "request_id", "published_at", "produced_at", "sent_at"),
        *("retry_count", "delivery_attempt"),
    )
)
"""Top-level fields that differ between copies of one event; so do all whose name begins with `_`."""
MAX_NUMBER_CHARS = 400
MAX_SENDER_CHARS = 100  # of a sender in an id; of a longer one it is a hash

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_FIRST = frozenset("-0123456789")
_EXACT = Context(prec=1000)
_MAX_WRITTEN_OUT = 10**18  # integers below it are written out
_encoder = msgspec.json.Encoder(order="deterministic")


class Relation(Enum):
    """What an event is to a recorded one with its id."""

    SAME = "a repeat of it"
    OTHER = "another event: a conflict"
    FOREIGN = "another service's event: none of its concern"


class EventIdentity(NamedTuple):
    """What is recorded of an event beside its id. None matches anything."""

    fingerprint: int | None = None
    """Of its content, if its publisher chose the id."""
    sender: str | None = None
    """The service that sent it over HTTP."""
    position: int | None = None
    """A hash of where its source found it first, if that isn't its id already."""

    def relation_to(self, recorded: EventIdentity) -> Relation:
        """Whether this is a repeat of the recorded event."""
        if None not in (self.sender, recorded.sender) and self.sender != recorded.sender:
            return Relation.FOREIGN
        if None in (self.fingerprint, recorded.fingerprint) or self.fingerprint == recorded.fingerprint:
            return Relation.SAME
        return Relation.OTHER


UNKNOWN = EventIdentity()


def fingerprint(event_type: str, body: Mapping[str, Any]) -> int | None:
    """Compute 64 bits of a hash of the content, signed, as a bigint; None if it is too deep or too large.

    Equal for all spellings of an event: white space, order of keys, numbers (also as texts), null or absent,
    fields that its transport added. It must not change between releases.
    """
    content = {
        name: value
        for name, value in body.items()
        if name not in TRANSPORT_FIELDS and not name.startswith("_")
    }
    try:
        encoded = _encoder.encode((event_type, _canonical(content)))
    except (RecursionError, ValueError, ArithmeticError):
        return None
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest(), "big", signed=True)


def scoped_id(event_id: str, sender: str) -> str:
    """Make the id under which an event is recorded whose own id another service has taken."""
    if len(sender) > MAX_SENDER_CHARS:
        sender = hashlib.sha256(sender.encode()).hexdigest()
    return f"{event_id}@{sender}"


CHUNKS_PER_EVENT = 61
"""Chunks of one large event. A prime number, so that the remainder depends on all bits of an id."""
MAX_NAME_CHARS = 300
"""Length of an event id in the keys of its chunks; a longer one is replaced by its hash."""


def chunk_names(event_id: str) -> list[str]:
    """The ids under which the chunks of a large event are recorded: `<event_id>#<n>/<chunks>`."""
    name = _short(event_id)
    return [f"{name}#{number}/{CHUNKS_PER_EVENT}" for number in range(CHUNKS_PER_EVENT)]


def page_name(event_id: str, number: int) -> str:
    """Name a page of a broadcast, as it is recorded: `<event_id>#page-<n>`."""
    return f"{_short(event_id)}#page-{number}"


def _short(event_id: str) -> str:
    if len(event_id) <= MAX_NAME_CHARS:
        return event_id
    return hashlib.sha256(event_id.encode(errors="surrogatepass")).hexdigest()


def separate_id(event_id: str, content: int | None) -> str:
    """Make the id of a conflicting event that an operator replays as a separate one: the same each time."""
    return f"{event_id}#{(content or 0) & (2**64 - 1):016x}"


def _canonical(value: Any) -> Any:
    """Texts in place of all scalars; numbers with the same value have the same."""
    kind = type(value)  # it is called for each value of an event: `match` would take three times as long
    if kind is str:
        if value[:1] not in _FIRST or len(value) > MAX_NUMBER_CHARS or not _NUMBER.fullmatch(value):
            return value
        return _number(Decimal(value))
    if kind is dict:
        return {
            name: _canonical(each)
            for name, each in value.items()
            if each is not None and name not in SECRET_FIELDS
        }
    if kind is list:
        return [each if type(each) is str and _is_id(each) else _canonical(each) for each in value]
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        return str(value) if -_MAX_WRITTEN_OUT < value < _MAX_WRITTEN_OUT else _number(Decimal(value))
    return value if value is None else _number(Decimal(str(value)))


def _is_id(text: str) -> bool:
    """Whether it is no number, of a text that may be a UUID: a number has no two hyphens inside."""
    return text[8:9] == text[13:14] == "-"


def _number(number: Decimal) -> str:
    exact = number.normalize(_EXACT)
    return (
        str(int(exact))
        if -_MAX_WRITTEN_OUT < exact < _MAX_WRITTEN_OUT and exact == exact.to_integral_value()
        else str(exact)
    )
