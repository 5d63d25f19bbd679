"""Answers to requests with an Idempotency-Key, in Postgres (draft-ietf-httpapi-idempotency-key-header)."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import delete, func, update
from sqlalchemy.ext.asyncio import AsyncEngine

from app.store.engine import store_errors
from app.store.models import IdempotencyKeyRow as K

# One statement decides: the key is new, or its request was given up by a node that died, or it isn't ours.
_CLAIM = """
insert into idempotency_keys as known (service, key, fingerprint, handled_until)
values ($1, $2, $3, now() + make_interval(secs => $4))
on conflict (service, key) do update set handled_until = excluded.handled_until
  where known.fingerprint = excluded.fingerprint and known.status is null and known.handled_until <= now()
returning 1
"""
_LOOK = "select fingerprint, status, answer from idempotency_keys where service = $1 and key = $2"


class EarlierRequest(NamedTuple):
    """An earlier request with the same key; `status` is None while it is being handled."""

    same: bool
    """Whether it was the same request."""
    status: int | None
    answer: bytes | None


class IdempotencyStore:
    """Every call raises `Unavailable` when Postgres doesn't answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def claim(
        self, service: str, key: str, fingerprint: bytes, seconds: float
    ) -> EarlierRequest | None:
        """Claim the key for `seconds`. Returns the earlier request with it, or None: handle this one."""
        with store_errors():
            async with self._engine.begin() as connection:
                values = (service, key, fingerprint, seconds)
                if (await connection.exec_driver_sql(_CLAIM, values)).first() is not None:
                    return None
                row = (await connection.exec_driver_sql(_LOOK, (service, key))).one()
                return EarlierRequest(row.fingerprint == fingerprint, row.status, row.answer)

    async def save_answer(self, service: str, key: str, status: int, answer: bytes) -> None:
        """The same request gets this answer from now on."""
        values = {"status": status, "answer": answer}
        with store_errors():
            async with self._engine.begin() as connection:
                await connection.execute(update(K).where(K.service == service, K.key == key).values(values))

    async def release(self, service: str, key: str) -> None:
        """What came of the request isn't known; the same one, and no other, may be sent again."""
        statement = update(K).where(K.service == service, K.key == key, K.status.is_(None))
        with store_errors():
            async with self._engine.begin() as connection:
                await connection.execute(statement.values(handled_until=func.now()))

    async def forget(self, service: str, key: str) -> None:
        """The request was refused; the key is free again."""
        with store_errors():
            async with self._engine.begin() as connection:
                await connection.execute(delete(K).where(K.service == service, K.key == key))
