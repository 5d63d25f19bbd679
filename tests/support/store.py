"""Events to record, and the store's engine on a test's database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.notifications import NotificationDraft
from app.store.engine import make_engine
from app.store.records import EventRecord, WriteResult
from tests.support.settings import settings_on

TIMEOUT = 5.0


def engine_on(database: str, **changes: Any) -> AsyncEngine:
    """A pool on this database."""
    values = {"database_url": database, "database_timeout": TIMEOUT, **changes}
    return make_engine(settings_on("redis://redis", **values).postgres)


def draft(receivers: Sequence[UUID], **changes: Any) -> NotificationDraft:
    """A notification for these receivers."""
    values: dict[str, Any] = {
        "group_id": UUID("123e4567-e89b-12d3-a456-426614174000"),
        "group_name": "Nhà mình",
        "receivers": receivers,
        "template_code": "GROUP_USER_LEFT",
        "raw_data": '{"a":[1,"Phở",null]}',
        "title": "title",
        "content": "content",
    }
    return NotificationDraft(**values | changes)


def entry(*receivers: UUID, event_id: str | None = None, **changes: Any) -> EventRecord:
    """An event with one notification."""
    return EventRecord(event_id or str(uuid4()), [draft(receivers, **changes)])


class _Counts:
    def __init__(self, unread: int, last_seq: int, rev: int) -> None:
        self._counts = unread, last_seq, rev

    def __eq__(self, other: object) -> bool:
        return isinstance(other, tuple) and other[:3] == self._counts

    def __hash__(self) -> int:
        return hash(self._counts)

    def __repr__(self) -> str:
        return f"counted{self._counts}"


def counted(unread: int, last_seq: int, rev: int) -> Any:
    """What equals all `InboxCounters` with these numbers, whatever was seen."""
    return _Counts(unread, last_seq, rev)


async def stored_seqs(operator: asyncpg.Connection, user: UUID) -> list[int]:
    """What is in the inbox, as Postgres says it."""
    rows = await operator.fetch("select seq from notifications where receiver = $1 order by seq", user)
    return [row["seq"] for row in rows]


def seqs(written: WriteResult, user: UUID) -> list[int]:
    """The user's part of what was written."""
    return [n.seq for n in written.notifications if n.receiver == user]
