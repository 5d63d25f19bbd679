"""The one format of dead letters: their headers (in Redis: their fields), the same for each broker. No I/O.

A dead letter is the unchanged message, with headers of the hub's that say why it was rejected and where it
came from. `run.py dlq` replays it with two other headers, by which its source recognises it as the same
event.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

from app.domain.errors import InvalidEvent
from app.domain.identity import CONFLICT

SUFFIX = ".dlq"
"""The DLQ of a Kafka topic, a queue or a stream has its name and this suffix."""
REASON = "dlq.reason"
"""A stable code: see `InvalidEvent`."""
ERROR = "dlq.error"
"""The error's text."""
SOURCE = "dlq.source"
"""The broker: see `app.sources.BROKERS`."""
TOPIC, QUEUE, STREAM, CHANNEL = "dlq.topic", "dlq.queue", "dlq.stream", "dlq.channel"
"""Where it came from: the Kafka topic, the queue, the stream or the channel. One of them is set."""
POSITION = "dlq.position"
"""The deduplication key of an event without `event_id`. Missing where the dead letter is redacted: the key
may be a hash of the message, from which a six-digit code is soon found."""
ATTEMPTS = "dlq.attempts"
"""How often the hub has rejected the event: 1, and one more for each replay that failed."""
TIME = "dlq.time"
"""When it was last rejected: UTC, ISO 8601."""
REDACTED = "dlq.redacted"
"""Set where something was removed from the message, such as a one-time code."""
NULL_VALUE = "dlq.null_value"
"""Set where the message had no value: the dead letter's is empty."""
CUT_FROM = "dlq.cut_from"
"""Set where the dead letter has only the beginning of the value, and neither key nor headers: their sizes."""

REPLAY_POSITION = "hub.position"
"""On a replayed message: the deduplication key of its event (POSITION of the dead letter)."""
REPLAY_ATTEMPTS = "hub.attempts"
"""On a replayed message: ATTEMPTS of the dead letter."""

REPLAY_SEPARATE = "hub.separate"
"""On a replayed message that had the id of another event: it is now a separate event."""

_OURS = "dlq."
_REPLAY = (REPLAY_POSITION, REPLAY_ATTEMPTS, REPLAY_SEPARATE)
_MAX_POSITION_CHARS = 1000  # characters; those of the sources have 600 at most
_MAX_ATTEMPTS = 1_000_000

T = TypeVar("T")


class ReplayHeaders(NamedTuple):
    """What a replayed message says of itself."""

    dedup_key: str | None = None
    attempts: int = 0
    separate: bool = False


NOT_REPLAYED = ReplayHeaders()
"""Of a message that was not replayed."""


def read_replay_headers(headers: Mapping[str, object], source: str) -> ReplayHeaders:
    """Read the headers of a replayed message; `NOT_REPLAYED` of one that wasn't replayed. Never raises."""
    dedup_key = _text(headers.get(REPLAY_POSITION))
    attempts = _text(headers.get(REPLAY_ATTEMPTS))
    return ReplayHeaders(
        dedup_key if dedup_key.startswith(f"{source}:") and len(dedup_key) <= _MAX_POSITION_CHARS else None,
        int(attempts) if attempts.isdecimal() and len(attempts) < len(str(_MAX_ATTEMPTS)) else 0,
        REPLAY_SEPARATE in headers,
    )


def replay_headers(dead_letter: Mapping[str, str]) -> dict[str, str]:
    """Compute the headers of a replayed message from those of its dead letter. `read_replay_headers` reads
    them.
    """
    headers = {REPLAY_POSITION: dead_letter[POSITION], REPLAY_ATTEMPTS: dead_letter[ATTEMPTS]}
    return {**headers, REPLAY_SEPARATE: "true"} if dead_letter.get(REASON) == CONFLICT else headers


def reasons(
    source: str, dedup_key: str, error: InvalidEvent, attempts: int, redacted: bool
) -> dict[str, str]:
    """Compute the headers that each dead letter has, besides those that say where it came from.

    `attempts`: how often the event was rejected before.
    """
    headers = {
        REASON: error.reason,
        ERROR: str(error),
        SOURCE: source,
        ATTEMPTS: str(attempts + 1),
        TIME: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return {**headers, REDACTED: "true"} if redacted else {**headers, POSITION: dedup_key}


def originals(headers: Iterable[tuple[str, T]]) -> list[tuple[str, T]]:
    """The headers that the publisher set: all but the hub's."""
    return [(name, value) for name, value in headers if not name.startswith(_OURS) and name not in _REPLAY]


def own_headers(headers: Iterable[tuple[str, object]]) -> dict[str, str]:
    """The hub's headers of a dead letter, whatever is in them."""
    return {name: _text(value) for name, value in headers if name.startswith(_OURS)}


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="ignore")
    return value if isinstance(value, str) else ""
