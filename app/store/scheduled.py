"""Events for later, in Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import ARRAY, ColumnElement, Text, any_, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.identity import UNKNOWN, EventIdentity
from app.store.engine import store_errors
from app.store.models import ScheduledEventRow as S

# As deliveries are taken: several nodes at once; claims of a dead node expire with the lease.
_CLAIM = """
with due as (
  select event_id, taken_until is not null as again from scheduled_events
  where status = 'scheduled' and send_at <= now() and (taken_until is null or taken_until < now())
  order by send_at
  limit $1
  for update skip locked
)
update scheduled_events s set taken_until = now() + make_interval(secs => $2)
from due where s.event_id = due.event_id
returning s.event_id, s.body, s.send_at, s.sender, s.fingerprint, due.again
"""
# Who cancels takes the event's id: from then on it was processed, wherever it is on its way.
_CLAIM_ID = """
insert into processed_events (event_id, fingerprint, sender)
select event_id, fingerprint, sender from scheduled_events where event_id = $1
on conflict do nothing returning 1
"""


class ScheduledState(StrEnum):
    """The state of a scheduled event."""

    SCHEDULED = "scheduled"
    SENT = "sent"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Due(NamedTuple):
    """An event whose time has come, as it came in."""

    event_id: str
    body: bytes
    send_at: datetime
    identity: EventIdentity = UNKNOWN
    again: bool = False
    """Whether it was claimed before, maybe by a node that died."""


class Scheduled(NamedTuple):
    """How an event for later stands, and why, when it failed."""

    status: ScheduledState
    send_at: datetime
    reason: str | None
    sender: str | None

    def is_of(self, service: str) -> bool:
        """Whether this service may see and cancel it: what came over a broker is anybody's."""
        return self.sender in (None, service)


def _may(service: str) -> ColumnElement[bool]:
    return or_(S.sender.is_(None), S.sender == service)


class ScheduledStore:
    """Every call raises `Unavailable` when Postgres doesn't answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def claim(self, most: int, lease: float) -> Sequence[Due]:
        """Up to `most` events whose time has come, now this node's for `lease` seconds."""
        with store_errors():
            async with self._engine.begin() as connection:
                rows = await connection.exec_driver_sql(_CLAIM, (most, lease))
                return [
                    Due(
                        row.event_id,
                        row.body,
                        row.send_at,
                        EventIdentity(row.fingerprint, row.sender),
                        row.again,
                    )
                    for row in rows
                ]

    async def finish(self, events: Sequence[str], status: ScheduledState, reason: str | None = None) -> None:
        """They were handled, or never can be. The events themselves aren't kept."""
        values = {"status": status.value, "reason": reason, "body": b"", "taken_until": None}
        ours = (
            S.event_id == any_(literal(list(events), ARRAY(Text))),
            S.status == ScheduledState.SCHEDULED.value,
        )
        with store_errors():
            async with self._engine.begin() as connection:
                await connection.execute(update(S).where(*ours).values(values))

    async def cancel(self, event_id: str, sender: str) -> bool:
        """Let what this service scheduled never happen; whether that could be."""
        values = {"status": ScheduledState.CANCELLED.value, "body": b""}
        ours = (S.event_id == event_id, S.status == ScheduledState.SCHEDULED.value, _may(sender))
        with store_errors():
            async with self._engine.connect() as connection, connection.begin() as transaction:
                changed = await connection.execute(update(S).where(*ours).values(values))
                claimed = await connection.exec_driver_sql(_CLAIM_ID, (event_id,))
                if changed.rowcount == 0 or claimed.first() is None:
                    await transaction.rollback()
                    return False
                return True

    async def get(self, event_id: str) -> Scheduled | None:
        """How it stands; None when nothing with this id was ever for later."""
        query = select(S.status, S.send_at, S.reason, S.sender).where(S.event_id == event_id)
        with store_errors():
            async with self._engine.connect() as connection:
                row = (await connection.execute(query)).one_or_none()
                return row and Scheduled(ScheduledState(row.status), row.send_at, row.reason, row.sender)
