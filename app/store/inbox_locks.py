"""Inboxes that others hold the lock of, so that a batch needn't wait for them."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from uuid import UUID

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine

from app.store.direct import direct

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
        self._connections = direct(engine)
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
        connections = self._connections
        async with connections.connection() as connection, connections.transaction(connection):
            found = await lock_free(connection, users)
        self._suspects -= users
        self._suspects |= found
        return found


async def lock_free(connection: asyncpg.Connection, users: AbstractSet[UUID]) -> AbstractSet[UUID]:
    """Lock the users' inboxes for the transaction without waiting; those that others hold the lock of."""
    return {row[0] for row in await connection.fetch(_LOCKED, list(users))}
