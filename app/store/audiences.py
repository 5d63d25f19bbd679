"""The people of an audience, in Postgres: a page at a time, by their ids."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.audiences import AudienceFilter, AudiencePage, BroadcastAudience
from app.store.engine import store_errors

# Each branch is in the order of an index and ends after a page, so a page costs the same at any size. What is
# above the last id of the page is in a later one.
_KNOWN = """
  select user_id from (
    (select user_id from inboxes where user_id > $1 order by user_id limit $2)
    union all (select user_id from preferences where user_id > $1 order by user_id limit $2)
    union all (select user_id from devices where user_id > $1 group by user_id order by user_id limit $2)
    union all
    (select user_id from topic_followers where user_id > $1 group by user_id order by user_id limit $2)
  ) as found group by user_id order by user_id limit $2
"""
_FOLLOWERS = """
  select user_id from topic_followers where topic_key = $3 and user_id > $1 and followed_at <= $4
  order by user_id limit $2
"""
_WANTED = """
  (cardinality({0}::text[]) = 0 or coalesce(p.locale, {2}) = any({0}::text[]))
  and (cardinality({1}::text[]) = 0 or coalesce(p.time_zone = any({1}::text[]), false))
"""
_PAGE = "with people as materialized ({people}) select user_id, {wanted} from people {join} order by user_id"
_COUNT = "select count(*) from ({people}) as people {join} where {wanted}"
_JOIN = "left join preferences p using (user_id)"
_ALL_KNOWN = """
  select user_id from inboxes union select user_id from preferences union select user_id from devices
  union select user_id from topic_followers
"""
_ALL_FOLLOWERS = "select user_id from topic_followers where topic_key = $1 and followed_at <= $2"


class AudienceStore:
    """`Audiences` in Postgres."""

    def __init__(self, engine: AsyncEngine, locale: str) -> None:
        """`locale` is that of people who have set none."""
        self._engine = engine
        self._locale = locale

    async def page(
        self, audience: BroadcastAudience, accepted_at: datetime, after: UUID, limit: int
    ) -> AudiencePage:
        """As `Audiences.page`."""
        values: list[Any] = [after, limit]
        if audience.topic is not None:
            values += [audience.topic, accepted_at]
        people = _KNOWN if audience.topic is None else _FOLLOWERS
        statement = self._with_filter(_PAGE, people, audience.filter, values)
        rows = await self._rows(statement, values)
        return AudiencePage(
            [user for user, wanted in rows if wanted], rows[-1][0] if rows else after, len(rows) < limit
        )

    async def count(self, audience: BroadcastAudience, accepted_at: datetime) -> int:
        """As `Audiences.count`."""
        values: list[Any] = [] if audience.topic is None else [audience.topic, accepted_at]
        people = _ALL_KNOWN if audience.topic is None else _ALL_FOLLOWERS
        ((count,),) = await self._rows(self._with_filter(_COUNT, people, audience.filter, values), values)
        return int(count)

    def _with_filter(
        self, statement: str, people: str, selected: AudienceFilter | None, values: list[Any]
    ) -> str:
        """The statement, whose `values` get those of the filter."""
        if selected is None:
            return statement.format(people=people, wanted="true", join="")
        first = len(values) + 1
        values += [list(selected.locale), list(selected.time_zone), self._locale]
        wanted = _WANTED.format(*(f"${first + number}" for number in range(3)))
        return statement.format(people=people, wanted=wanted, join=_JOIN)

    async def _rows(self, statement: str, values: list[Any]) -> Any:
        with store_errors():
            async with self._engine.connect() as connection:
                return (await connection.exec_driver_sql(statement, tuple(values))).all()
