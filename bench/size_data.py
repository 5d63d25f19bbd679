"""Fills the tables of the hub with COPY: small inboxes, and one that is heavy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID

import asyncpg

from bench.progress import bar

HEAVY = UUID(int=1)
"""Who has the heavy inbox, all unread."""
PER_INBOX_COUNT = 20
AGE_DAYS = 180
"""Of the oldest notification."""
_CHUNK_ROWS = 50_000
_COLUMNS = ("group_name", "receiver", "created_at", "template_code", "raw_data", "title", "content", "seq")
_CONTENT = "content " * 12
_DATA = '{"requester_username": "john_doe", "group_name": "Family Group"}'


def small_inbox(number: int) -> UUID:
    """Who has the small inbox with this number."""
    return UUID(int=(number * 0x9E3779B97F4A7C15F39CC0605CEDC835 + 2) % 2**128)  # spread like random ids


async def fill(connection: asyncpg.Connection, rows: int, heavy: int) -> None:
    """Write `rows` notifications into inboxes of `PER_INBOX_COUNT`, and `heavy` more into one inbox."""
    inboxes = max(1, rows // PER_INBOX_COUNT)
    users = [(HEAVY, heavy), *((small_inbox(number), PER_INBOX_COUNT) for number in range(inboxes))]
    await _copy(connection, "inboxes", ("user_id", "last_seq"), users, len(users))
    events = ((f"bench:{number:012}",) for number in range(inboxes))
    await _copy(connection, "processed_events", ("event_id",), events, inboxes)
    total = inboxes * PER_INBOX_COUNT + heavy
    await _copy(connection, "notifications", _COLUMNS, _notifications(inboxes, heavy), total)


def _notifications(inboxes: int, heavy: int) -> Iterator[tuple[Any, ...]]:
    """In the order of time, as they come: each small inbox gets one a round, the heavy one its share."""
    begin = datetime.now(UTC) - timedelta(days=AGE_DAYS)
    step = timedelta(days=AGE_DAYS) / PER_INBOX_COUNT
    for seq in range(1, PER_INBOX_COUNT + 1):
        at = begin + (seq - 1) * step
        for number in range(inboxes):
            yield _row(small_inbox(number), at, seq)
        for own in range(heavy * (seq - 1) // PER_INBOX_COUNT + 1, heavy * seq // PER_INBOX_COUNT + 1):
            yield _row(HEAVY, at, own)


def _row(receiver: UUID, at: datetime, seq: int) -> tuple[Any, ...]:
    return "Family Group", receiver, at, "GROUP_USER_ADDED", _DATA, "A title of some words", _CONTENT, seq


async def _copy(
    connection: asyncpg.Connection,
    table: str,
    columns: tuple[str, ...],
    rows: Iterable[tuple[Any, ...]],
    total: int,
) -> None:
    with bar(table, total, "rows") as progress:
        done, left = 0, iter(rows)
        while chunk := list(islice(left, _CHUNK_ROWS)):
            await connection.copy_records_to_table(table, records=chunk, columns=columns)
            done += len(chunk)
            progress(done)
