"""Decisions not to notify, in Postgres. The batch writer adds them."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.deliveries import Withheld
from app.store.engine import store_errors

_OF_EVENT = """
select channel, reason, user_id, address from decisions
where event_id = $1 and ($2::uuid is null or user_id is null or user_id = $2) order by id limit $3
"""


class DecisionStore:
    """Every call raises `Unavailable` when Postgres doesn't answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def of_event(self, event_id: str, user_id: UUID | None, most: int) -> Sequence[Withheld]:
        """Whom the event doesn't notify, and why: up to `most`, of one user only if `user_id` is given."""
        with store_errors():
            async with self._engine.connect() as connection:
                rows = await connection.exec_driver_sql(_OF_EVENT, (event_id, user_id, most))
                return [Withheld(row.channel, row.reason, row.user_id, row.address) for row in rows]
