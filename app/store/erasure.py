"""A person in the tables: found, counted and removed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.domain.erasure import Found, Subject
from app.store.engine import store_errors

_THEIR_DELIVERY = "(user_id = :user or foreign_user_id = :foreign or (user_id is null and address ~* :named))"
_OF_THEIR_DELIVERIES = f"delivery_id in (select id from deliveries where {_THEIR_DELIVERY})"  # noqa: S608
_PARKED_TEXT = (
    "concat_ws(' ', event_id, position, sender, convert_from(body, 'UTF8'), encode(labels, 'escape'),"
    " encode(order_key, 'escape'))"
)


class _Rows(NamedTuple):
    table: str
    where: str
    """Of the user id `:user`, their `:foreign` id, and the expression `:named` that finds them in a text."""

    def statement(self, verb: str) -> TextClause:
        return text(f"{verb} from {self.table} where {self.where}")

    def values(self, subject: Subject) -> dict[str, object]:
        values = {"user": subject.user_id, "named": subject.pattern, "foreign": subject.foreign_id}
        return {name: value for name, value in values.items() if f":{name}" in self.where}


# A transaction each, as short as can be: whoever looks through a table holds no lock that others wait for.
_THEIRS = (
    (
        _Rows("scheduled_events", "concat_ws(' ', event_id, convert_from(body, 'UTF8')) ~* :named"),
        _Rows("parked_events", _PARKED_TEXT + " ~* :named"),
        _Rows("idempotency_keys", "concat_ws(' ', service, key, convert_from(answer, 'UTF8')) ~* :named"),
        _Rows("processed_events", "event_id ~* :named"),
    ),
    (
        _Rows("delivery_attempts", _OF_THEIR_DELIVERIES),
        _Rows("deliveries", _THEIR_DELIVERY),
    ),
    # The inbox first: its lock keeps out whoever writes into it, who then makes a new one.
    (_Rows("inboxes", "user_id = :user"), _Rows("notifications", "receiver = :user")),
    # Last, as it holds their addresses: after a crash the next run has to find them.
    (_Rows("preferences", "user_id = :user"),),
)
_OF_OTHERS = (
    _Rows(
        "notifications",
        "receiver <> :user and concat_ws(' ', group_name, title, content, raw_data::text) ~* :named",
    ),
    _Rows(
        "deliveries",
        f"not coalesce({_THEIR_DELIVERY}, false)"
        " and concat_ws(' ', event_id, address, data::text, attachments::text) ~* :named",
    ),
    _Rows("preferences", "user_id <> :user and concat_ws(' ', email, phone) ~* :named"),
)
_ADDRESSES = """
select unnest(array[email, phone]) from preferences where user_id = :user
union select address from deliveries where user_id = :user or foreign_user_id = :foreign
"""


class ErasingStore:
    """The tables as a place (see `app.domain.erasure.Place`). Looking reads several of them whole."""

    def __init__(self, engine: AsyncEngine) -> None:
        """`engine` gives a statement the time to read a large table."""
        self._engine = engine

    async def addresses(self, subject: Subject) -> list[str]:
        """Those of their profile, and those that events gave for them."""
        with store_errors():
            async with self._engine.connect() as connection:
                found = await connection.execute(
                    text(_ADDRESSES), {"user": subject.user_id, "foreign": subject.foreign_id}
                )
                return [address for address in found.scalars() if address is not None]

    async def look(self, subject: Subject) -> Sequence[Found]:
        theirs = [rows for together in _THEIRS for rows in together]
        with store_errors():
            async with self._engine.connect() as connection:
                found = [Found(rows.table, await _count(connection, rows, subject)) for rows in theirs]
                return found + [
                    Found(
                        f"{rows.table} of others",
                        await _count(connection, rows, subject),
                        "it is those people's data",
                    )
                    for rows in _OF_OTHERS
                ]

    async def erase(self, subject: Subject) -> Sequence[Found]:
        found = []
        for together in _THEIRS:
            with store_errors():
                async with self._engine.begin() as connection:
                    for rows in together:
                        removed = await connection.execute(rows.statement("delete"), rows.values(subject))
                        found.append(Found(rows.table, removed.rowcount))
        return found

    async def close(self) -> None:
        await self._engine.dispose()


async def _count(connection: AsyncConnection, rows: _Rows, subject: Subject) -> int:
    return int(await connection.scalar(rows.statement("select count(*)"), rows.values(subject)) or 0)
