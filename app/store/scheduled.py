"""Events for later, in Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from app.store.engine import store_errors
from app.store.models import ScheduledEventRow as S

# As deliveries are taken: several nodes at once, and what a dead node had taken comes again after the lease.
_TAKE = """
with due as (
  select event_id from scheduled_events
  where status = 'scheduled' and send_at <= now() and (taken_until is null or taken_until < now())
  order by send_at
  limit $1
  for update skip locked
)
update scheduled_events s set taken_until = now() + make_interval(secs => $2)
from due where s.event_id = due.event_id
returning s.event_id, s.body, s.send_at
"""
_CANCEL = """
update scheduled_events set status = 'cancelled', reason = null
where event_id = $1 and status = 'scheduled' and (taken_until is null or taken_until < now())
"""


class State(StrEnum):
    SCHEDULED = "scheduled"
    SENT = "sent"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Due(NamedTuple):
    """An event whose time has come, as it came in."""

    event_id: str
    body: bytes
    send_at: datetime


class Scheduled(NamedTuple):
    """How an event for later stands, and why, when it failed."""

    status: State
    send_at: datetime
    reason: str | None


class ScheduledStore:
    """Every call raises `Unavailable` when Postgres doesn't answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def take(self, most: int, lease: float) -> Sequence[Due]:
        """Up to `most` events whose time has come, now this node's for `lease` seconds."""
        with store_errors():
            async with self._engine.begin() as connection:
                rows = await connection.exec_driver_sql(_TAKE, (most, lease))
                return [Due(row.event_id, row.body, row.send_at) for row in rows]

    async def finish(self, event_id: str, status: State, reason: str | None = None) -> None:
        """It was handled, or never can be. The event itself isn't kept."""
        values = {"status": status.value, "reason": reason, "body": b"", "taken_until": None}
        with store_errors():
            async with self._engine.begin() as connection:
                await connection.execute(update(S).where(S.event_id == event_id).values(values))

    async def cancel(self, event_id: str) -> bool:
        """Let it never happen; whether that could be."""
        with store_errors():
            async with self._engine.begin() as connection:
                return (await connection.exec_driver_sql(_CANCEL, (event_id,))).rowcount > 0

    async def get(self, event_id: str) -> Scheduled | None:
        """How it stands; None when nothing with this id was ever for later."""
        query = select(S.status, S.send_at, S.reason).where(S.event_id == event_id)
        with store_errors():
            async with self._engine.connect() as connection:
                row = (await connection.execute(query)).one_or_none()
                return None if row is None else Scheduled(State(row.status), row.send_at, row.reason)
