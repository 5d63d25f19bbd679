"""Inboxes that others hold the lock of, so that a batch needn't wait for them."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_LOCKED = """
with free as materialized (
  select user_id from inboxes where user_id = any($1::uuid[]) order by user_id
  for no key update skip locked
)
select user_id from inboxes where user_id = any($1::uuid[]) and user_id not in (select user_id from free)
"""


class InboxLocks:
    """Looks for locked inboxes, and remembers which to look at before the next batch waits for them."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._suspects: set[UUID] = set()

    @property
    def suspects_any(self) -> bool:
        """Whether an inbox was locked when it was last looked at."""
        return bool(self._suspects)

    async def suspected(self, users: AbstractSet[UUID]) -> AbstractSet[UUID]:
        """Which of the users' inboxes are locked now, of those that were when they were last looked at."""
        known = users & self._suspects
        return await self.locked(known) if known else known

    async def locked(self, users: AbstractSet[UUID]) -> AbstractSet[UUID]:
        """Which of the users' inboxes are locked now, whoever holds the lock."""
        async with self._engine.begin() as connection:
            found = await lock_free(connection, users)
        self._suspects -= users
        self._suspects |= found
        return found


async def lock_free(connection: AsyncConnection, users: AbstractSet[UUID]) -> AbstractSet[UUID]:
    """Lock the users' inboxes for the transaction without waiting; those that others hold the lock of."""
    rows = await connection.exec_driver_sql(_LOCKED, (list(users),))
    return {row.user_id for row in rows}
