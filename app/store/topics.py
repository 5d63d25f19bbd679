"""Topics and their followers, in Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.domain.topics import MAX_OWN_TOPICS, FollowedTopic, Follower, Joined, Topic, TopicDeletion
from app.store.broadcasts import END_OF_TOPIC
from app.store.engine import store_errors

_PUT = """
insert into topics (key, open) values ($1, $2)
on conflict (key) do update set open = excluded.open
returning key, open, created_at
"""
_MAKE = "insert into topics (key) values ($1) on conflict (key) do nothing"
# Ids in one order, so that two calls can't deadlock.
_ADD = """
insert into topic_followers (topic_key, user_id)
select $1, user_id from unnest($2::uuid[]) as added (user_id) group by user_id order by user_id
on conflict do nothing
"""
_REMOVE = """
with removed as materialized (
  select user_id from topic_followers where topic_key = $1 and user_id = any($2::uuid[])
  order by user_id for update
)
delete from topic_followers where topic_key = $1 and user_id in (select user_id from removed)
"""
_TOPICS = "select key, open, created_at from topics where key > $1 order by key limit $2"
_FOLLOWERS = """
select user_id, followed_at from topic_followers where topic_key = $1 and user_id > $2
order by user_id limit $3
"""
_OF_USER = """
select f.topic_key, coalesce(t.open, false), f.followed_at
from topic_followers f left join topics t on t.key = f.topic_key
where f.user_id = $1 and f.topic_key > $2 order by f.topic_key limit $3
"""
# One user's calls one after the other, so that the maximum holds.
_LOCK = "select pg_advisory_xact_lock(hashtextextended('notification hub: topics ' || $1::text, 0))"
_FOLLOWS = "select 1 from topic_followers where topic_key = $1 and user_id = $2"
_OPEN = "select 1 from topics where key = $1 and open"
_COUNT = "select count(*) from (select from topic_followers where user_id = $1 limit $2) as followed"
# Who adds followers shares the lock, so that none are added while the last check for them is made.
_SHARED = "select pg_advisory_xact_lock_shared(hashtextextended('notification hub: topic ' || $1::text, 0))"
_ALONE = "select pg_advisory_xact_lock(hashtextextended('notification hub: topic ' || $1::text, 0))"
_CLOSE = "update topics set open = false where key = $1"
# From the last one on: what was removed before is not read again.
_REMOVE_CHUNK = """
with chunk as materialized (
  select user_id from topic_followers where topic_key = $1 and user_id > $2
  order by user_id limit $3 for update
), removed as (
  delete from topic_followers f using chunk where f.topic_key = $1 and f.user_id = chunk.user_id
)
select count(*)::int, (array_agg(user_id order by user_id desc))[1] from chunk
"""
_FORGET = """
delete from topics where key = $1 and not exists (select from topic_followers where topic_key = $1)
"""
_IS_THERE = "select 1 from topics where key = $1"
MAX_FOLLOWERS_PER_CHUNK = 5_000
"""That are removed in one transaction."""
PAUSE_SHARE = 1.0
"""Of the time that a chunk takes: how long others then have Postgres to themselves."""
FIRST = UUID(int=0)
"""Below the id of every user."""


class TopicStore:
    """`Topics` in Postgres."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def put(self, key: str, *, is_open: bool) -> Topic:
        """See `Topics.put`."""
        (row,) = await self._rows(_PUT, key, is_open)
        return Topic(*row)

    async def delete(self, key: str, seconds: float) -> TopicDeletion | None:
        """See `Topics.delete`."""
        end, removed, after = monotonic() + seconds, 0, FIRST
        if not await self._close(key):
            return None
        while True:
            began = monotonic()
            ((number, last),) = await self._rows(_REMOVE_CHUNK, key, after, MAX_FOLLOWERS_PER_CHUNK)
            removed += number
            if number < MAX_FOLLOWERS_PER_CHUNK and await self._forget(key):
                return TopicDeletion(removed, True)
            if monotonic() > end:
                return TopicDeletion(removed, False)
            after = last if number == MAX_FOLLOWERS_PER_CHUNK else FIRST  # some were added below
            await asyncio.sleep((monotonic() - began) * PAUSE_SHARE)

    async def _close(self, key: str) -> bool:
        with store_errors():
            async with self._engine.begin() as connection:
                if (await connection.exec_driver_sql(_CLOSE, (key,))).rowcount == 0:
                    return False
                await connection.exec_driver_sql(END_OF_TOPIC, (key,))
                return True

    async def _forget(self, key: str) -> bool:
        """Delete the topic, unless it has followers. Broadcasts that were accepted meanwhile end too."""
        with store_errors():
            async with self._engine.begin() as connection:
                await connection.exec_driver_sql(_ALONE, (key,))
                if (await connection.exec_driver_sql(_FORGET, (key,))).rowcount:
                    await connection.exec_driver_sql(END_OF_TOPIC, (key,))
                    return True
                return not await _any(connection, _IS_THERE, key)

    async def topics(self, limit: int, after: str) -> Sequence[Topic]:
        """See `Topics.topics`."""
        return [Topic(*row) for row in await self._rows(_TOPICS, after, limit)]

    async def change(
        self, key: str, add: Sequence[UUID] = (), remove: Sequence[UUID] = ()
    ) -> tuple[int, int]:
        """See `Topics.change`."""
        with store_errors():
            async with self._engine.begin() as connection:
                added = removed = 0
                if add:
                    await connection.exec_driver_sql(_SHARED, (key,))
                    await connection.exec_driver_sql(_MAKE, (key,))
                    added = (await connection.exec_driver_sql(_ADD, (key, list(add)))).rowcount
                if remove:
                    removed = (await connection.exec_driver_sql(_REMOVE, (key, list(remove)))).rowcount
                return added, removed

    async def join(self, key: str, user_id: UUID) -> Joined:
        """See `Topics.join`."""
        with store_errors():
            async with self._engine.begin() as connection:
                await connection.exec_driver_sql(_LOCK, (str(user_id),))
                if await _any(connection, _FOLLOWS, key, user_id):
                    return Joined.FOLLOWS
                await connection.exec_driver_sql(_SHARED, (key,))
                if not await _any(connection, _OPEN, key):
                    return Joined.CLOSED
                count = (await connection.exec_driver_sql(_COUNT, (user_id, MAX_OWN_TOPICS))).scalar_one()
                if count >= MAX_OWN_TOPICS:
                    return Joined.TOO_MANY
                await connection.exec_driver_sql(_ADD, (key, [user_id]))
                return Joined.FOLLOWS

    async def followers(self, key: str, limit: int, after: UUID = FIRST) -> Sequence[Follower]:
        """See `Topics.followers`."""
        return [Follower(*row) for row in await self._rows(_FOLLOWERS, key, after, limit)]

    async def of_user(self, user_id: UUID, limit: int, after: str = "") -> Sequence[FollowedTopic]:
        """See `Topics.of_user`."""
        return [FollowedTopic(*row) for row in await self._rows(_OF_USER, user_id, after, limit)]

    async def _rows(self, statement: str, *values: object) -> Sequence[Any]:
        with store_errors():
            async with self._engine.begin() as connection:
                return (await connection.exec_driver_sql(statement, values)).all()


async def _any(connection: AsyncConnection, statement: str, *values: object) -> bool:
    return (await connection.exec_driver_sql(statement, values)).first() is not None
