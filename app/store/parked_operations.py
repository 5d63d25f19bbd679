"""Parked events as an operator sees and changes them (`run.py parked`)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ARRAY, BigInteger, ColumnElement, any_, func, literal, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine

from app.store.engine import store_errors
from app.store.models import ParkedEventRow as P

DROPPED_DEADLINE = "-infinity"
"""The deadline of an event that an operator dropped: it is dead-lettered as soon as its lane is claimed."""


class ParkedOperations:
    """Every call raises `Unavailable` when Postgres doesn't answer. `ids` of None: all that are parked."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def rows(self, ids: Collection[int] | None, limit: int, *, done: bool) -> Sequence[Any]:
        """Parked events, the oldest first; with `done` also those that were dead-lettered."""
        query = select(P).where(*_these(ids, done=done)).order_by(P.id).limit(limit)
        with store_errors():
            async with self._engine.connect() as connection:
                return (await connection.execute(query)).all()

    async def replay(self, ids: Collection[int] | None, retry_for: float) -> int:
        """Make them due now, with a new retry deadline; how many there were."""
        later = func.now() + func.make_interval(0, 0, 0, 0, 0, 0, retry_for)
        return await self._change(ids, next_attempt_at=func.now(), attempts=0, deadline=later)

    async def drop(self, ids: Collection[int] | None) -> int:
        """Have them dead-lettered, by any node; how many there were."""
        return await self._change(ids, next_attempt_at=func.now(), deadline=text(f"'{DROPPED_DEADLINE}'"))

    async def _change(self, ids: Collection[int] | None, **values: Any) -> int:
        with store_errors():
            async with self._engine.begin() as connection:
                changed = update(P).where(*_these(ids, done=False)).values(values)
                return (await connection.execute(changed)).rowcount


def _these(ids: Collection[int] | None, *, done: bool) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [] if done else [P.finished_at.is_(None)]
    if ids is not None:
        conditions.append(P.id == any_(literal(list(ids), ARRAY(BigInteger))))
    return conditions
