"""The one format of dead letters: what their headers (in Redis: their fields) say, in each source. No I/O.

A letter is the message as it was, with headers of its own that say why it was given up, and from where.
`run.py dlq` puts it back with two other headers, by which its source knows it as the same event.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

from app.domain.errors import InvalidEvent

SUFFIX = ".dlq"
"""Where letters of a Kafka topic, a queue or a stream are: its name, and this."""
REASON = "dlq.reason"
"""A stable word: see `InvalidEvent`."""
ERROR = "dlq.error"
"""The same in words."""
SOURCE = "dlq.source"
"""kafka, rabbitmq or redis."""
TOPIC, QUEUE, STREAM, CHANNEL = "dlq.topic", "dlq.queue", "dlq.stream", "dlq.channel"
"""Where it came from: the Kafka topic, the queue, the stream or the channel. A letter has one of them."""
POSITION = "dlq.position"
"""What the event is known by if it has no `event_id`. Missing where the letter is redacted: it may be made of
the message, and six digits are soon found from a hash."""
ATTEMPTS = "dlq.attempts"
"""How often the hub has given the event up: 1, and one more for each replay that failed."""
TIME = "dlq.time"
"""When it did so the last time: UTC, ISO 8601."""
REDACTED = "dlq.redacted"
"""Set where something was taken out of the message, such as a one-time code."""
NULL_VALUE = "dlq.null_value"
"""Set where the message had no value: the dead letter's is empty."""
CUT_FROM = "dlq.cut_from"
"""Set where the dead letter has only the beginning of the value, and neither key nor headers: their sizes."""

AGAIN_POSITION = "hub.position"
"""Of a message that was put back: what its event is known by (POSITION of the letter)."""
AGAIN_ATTEMPTS = "hub.attempts"
"""Of a message that was put back: ATTEMPTS of the letter."""

_OURS = "dlq."
_AGAIN = (AGAIN_POSITION, AGAIN_ATTEMPTS)
_MAX_POSITION_CHARS = 1000  # characters; those of the sources have 600 at most
_MAX_ATTEMPTS = 1_000_000

T = TypeVar("T")


class EarlierAttempts(NamedTuple):
    """What a message that was put back says of itself."""

    position: str | None = None
    attempts: int = 0


NEVER = EarlierAttempts()
"""Of a message that was not put back."""


def earlier(headers: Mapping[str, object], source: str) -> EarlierAttempts:
    """What was known of the message when it was put back; nothing of one that never was. Never raises."""
    position = _text(headers.get(AGAIN_POSITION))
    attempts = _text(headers.get(AGAIN_ATTEMPTS))
    return EarlierAttempts(
        position if position.startswith(f"{source}:") and len(position) <= _MAX_POSITION_CHARS else None,
        int(attempts) if attempts.isdecimal() and len(attempts) < len(str(_MAX_ATTEMPTS)) else 0,
    )


def again(letter: Mapping[str, str]) -> dict[str, str]:
    """The headers of a message that is put back, by those of its letter. `earlier` reads them."""
    return {AGAIN_POSITION: letter[POSITION], AGAIN_ATTEMPTS: letter[ATTEMPTS]}


def reasons(source: str, position: str, error: InvalidEvent, attempts: int, redacted: bool) -> dict[str, str]:
    """The headers that each letter has, besides those that say where it came from.

    `attempts`: how often the event was given up before.
    """
    headers = {
        REASON: error.reason,
        ERROR: str(error),
        SOURCE: source,
        ATTEMPTS: str(attempts + 1),
        TIME: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return {**headers, REDACTED: "true"} if redacted else {**headers, POSITION: position}


def originals(headers: Iterable[tuple[str, T]]) -> list[tuple[str, T]]:
    """The headers that the publisher set: all but ours."""
    return [(name, value) for name, value in headers if not name.startswith(_OURS) and name not in _AGAIN]


def of_letter(headers: Iterable[tuple[str, object]]) -> dict[str, str]:
    """Our headers of a letter, whatever is in them."""
    return {name: _text(value) for name, value in headers if name.startswith(_OURS)}


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="ignore")
    return value if isinstance(value, str) else ""
