"""How many messages are handled at a time: in a turn of the event loop, and in a transaction. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from app.ingest.batch import ParkedEvent, PreparedEvent, SourceMessage
from app.ingest.chunks import MAX_ROWS_AT_ONCE
from app.ingest.parking import may_be_parked

MAX_MESSAGES_PER_TURN = 50  # messages prepared before the task yields to the event loop
MAX_BYTES_PER_TURN = 64 * 1024  # of these, but for the last one

E = TypeVar("E", bound=PreparedEvent | ParkedEvent)


def turns(messages: Sequence[SourceMessage]) -> Iterator[Sequence[SourceMessage]]:
    """`messages` in order, cut so that others get a turn before long."""
    start = size = 0
    for end, message in enumerate(messages, 1):
        size += len(message.value or b"")
        if size >= MAX_BYTES_PER_TURN or end - start >= MAX_MESSAGES_PER_TURN:
            yield messages[start:end]
            start, size = end, 0
    if start < len(messages):
        yield messages[start:]


def parts(events: Sequence[E], max_rows: int) -> Iterator[tuple[Sequence[E], bool]]:
    """`events` in order, cut so that no transaction has many more than `max_rows` rows.

    Yields with each part whether it has large events, which are parked as one row each. An event that changes
    notifications of before is a part by itself.
    """
    start = rows = 0
    has_large = False
    for position, item in enumerate(events):
        own = 1 if isinstance(item, ParkedEvent) else item.rows or 1
        if isinstance(item, PreparedEvent) and item.request.effects.amendment is not None:
            if start < position:
                yield events[start:position], has_large
            yield events[position : position + 1], False
            start, rows, has_large = position + 1, 0, False
            continue
        if own > MAX_ROWS_AT_ONCE and isinstance(item, PreparedEvent) and may_be_parked(item):
            own, has_large = 1, True
        rows += own
        if rows >= max_rows:
            yield events[start : position + 1], has_large
            start, rows, has_large = position + 1, 0, False
    if start < len(events):
        yield events[start:], has_large
