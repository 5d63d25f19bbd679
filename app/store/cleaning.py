"""Removing what nobody asks for any more, a little at a time."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.store.engine import store_errors

ADVISORY_LOCK_KEY = 7209481362550183
"""The advisory lock that is held until the commit; whoever finds it held leaves the work to its holder."""

_BEGIN = f"select pg_try_advisory_xact_lock({ADVISORY_LOCK_KEY})"
# `skip locked`: a row that someone is changing goes another time; the cleaner never waits, nor deadlocks.
_REMOVE = """
delete from {table} where ctid = any(array(
  select ctid from {table} where {age} < now() - $1::interval and {condition} order by {age} limit $2
  for update skip locked
))
"""


# The inboxes first, as in every change: a trigger counts there what is unread. The other order can deadlock.
_LOCK_INBOXES = """
select array_agg(user_id) from (
  select user_id from inboxes where user_id = any(array(
    select receiver from notifications where created_at < now() - $1::interval order by created_at limit $2
  ))
  order by user_id for update skip locked
) as locked
"""
_REMOVE_NOTIFICATIONS = """
delete from notifications where ctid = any(array(
  select ctid from notifications
  where created_at < now() - $1::interval
    and (receiver = any($3::uuid[]) or not exists (select from inboxes where user_id = receiver))
  order by created_at limit $2 for update skip locked
))
"""


# What is deleted already by its inbox's row. Nobody looks at these rows, so the inbox isn't locked. What is
# archived moves first.
_REMOVED = """
select user_id, removed_up_to from inboxes
where removed_up_to > cleared_up_to and not exists (select from archive_sweeps where receiver = user_id)
limit 1
"""
_CLEAR = """
delete from notifications where ctid = any(array(
  select ctid from notifications where receiver = $1 and seq <= $2 order by seq limit $3
  for update skip locked
))
"""
_CLEARED = """
update inboxes set cleared_up_to = $2
where user_id = $1 and cleared_up_to < $2
  and not exists (select from notifications where receiver = $1 and seq <= $2)
"""


class Kind(Enum):
    """What is removed: by its table, the column that says how old a row is, and which rows may go at all."""

    EVENT_IDS = ("processed_events", "processed_at", "true")
    SCHEDULED = ("scheduled_events", "send_at", "status <> 'scheduled'")
    PARKED = ("parked_events", "finished_at", "finished_at is not null")
    """Those that were dead-lettered."""
    BROADCASTS = ("broadcasts", "finished_at", "finished_at is not null")
    DECISIONS = ("decisions", "created_at", "true")
    WEBHOOKS = ("webhook_messages", "created_at", "finished_at is not null")
    """Those that were sent, or given up."""
    ADDRESSES = ("addresses", "created_at", "confirmed_at is null")
    """Those that nobody confirmed in time, and those of before."""
    REQUESTS = ("idempotency_keys", "created_at", "true")
    NOTIFICATIONS = ("notifications", "created_at", "true")
    ARCHIVED = ("archived_notifications", "created_at", "snoozed_until is null")
    """What is snoozed comes back first."""
    DELIVERIES = ("deliveries", "created_at", "finished_at is not null")
    """With their attempts. One that is to be sent, or tried again, however old, stays."""

    @property
    def statement(self) -> str:
        """Removes the oldest rows, found by the index on their age."""
        table, age, condition = self.value
        return _REMOVE.format(table=table, age=age, condition=condition)


_ERASE = """
update deliveries set status = 'expired', reason = 'its time was over', secret = null, next_attempt_at = null,
  finished_at = now()
where secret is not null and expires_at < now() - $1::interval
"""


class CleaningStore:
    """Every call raises `Unavailable` when Postgres doesn't answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def remove(self, kind: Kind, older_than: timedelta, most: int) -> int | None:
        """Remove up to `most` rows in one transaction; how many there were. None: another node is at it."""
        with store_errors():
            async with self._engine.begin() as connection:
                if not (await connection.exec_driver_sql(_BEGIN)).scalar_one():
                    return None
                if kind is Kind.NOTIFICATIONS:
                    return await _remove_notifications(connection, older_than, most)
                return (await connection.exec_driver_sql(kind.statement, (older_than, most))).rowcount

    async def clear_removed(self, most: int) -> int | None:
        """Remove up to `most` rows of an inbox that its user deleted together; how many there were.

        None: there is nothing to remove, or another node or transaction is at it.
        """
        with store_errors():
            async with self._engine.begin() as connection:
                if not (await connection.exec_driver_sql(_BEGIN)).scalar_one():
                    return None
                inbox = (await connection.exec_driver_sql(_REMOVED)).one_or_none()
                if inbox is None:
                    return None
                rows = (await connection.exec_driver_sql(_CLEAR, (*inbox, most))).rowcount
                # In a transaction that holds no row: whoever has the inbox's lock may wait for them.
                done = rows or (await connection.exec_driver_sql(_CLEARED, (*inbox,))).rowcount
                return rows if done else None

    async def erase_secrets(self, expired_for: timedelta) -> int:
        """Erase what no worker has: secrets that expired so long ago; how many there were."""
        with store_errors():
            async with self._engine.begin() as connection:
                return (await connection.exec_driver_sql(_ERASE, (expired_for,))).rowcount


async def _remove_notifications(connection: AsyncConnection, older_than: timedelta, most: int) -> int:
    locked = (await connection.exec_driver_sql(_LOCK_INBOXES, (older_than, most))).scalar_one()
    values = (older_than, most, locked or [])
    return (await connection.exec_driver_sql(_REMOVE_NOTIFICATIONS, values)).rowcount
