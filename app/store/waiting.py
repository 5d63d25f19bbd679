"""Deliveries that wait, in Postgres: those that a digest holds, and steps of an escalation.

A digest is a delivery as well, whose `digest_id` is its `id`. While messages may join it, it has a
`digest_key`: of each key there is one, by a unique index. The worker that claims it takes the key away, so
what comes later begins another digest. Those in it are `held`, with its id as their `digest_id`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain import exact_json
from app.domain.channels import WEBPUSH
from app.domain.deliveries import SIGNAL, Hold, delivery_id
from app.domain.digests import DIGEST_TEMPLATE, DigestDue
from app.domain.waiting import RecentDeliveries
from app.store.direct import direct
from app.store.engine import store_errors
from app.store.records import EventRecord
from app.store.watermarks import GONE_UP_TO, IS_READ

MAX_STEP_DAYS = 62
"""Two months: how long after its event a step of an escalation may be waiting."""
MAX_ENTRIES = 50
"""Of a digest; it says how many more there are."""
# Of rows that this transaction inserted. Digests are locked in one order, after ids of events and inboxes; a
# claim waits for none. `greatest` and `least` are `DigestDue.joined`.
_HOLD = f"""
with new as (
  select new.*, d.user_id, d.foreign_user_id, d.channel, d.address, d.locale, d.category
  from unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::bigint[], $6::text[],
              $7::text[]) with ordinality as new (id, key, due, latest, seq, only_if, data, place)
  join deliveries d on d.id = new.id
  where d.id = any($1) and d.created_at = now() and d.status = 'pending' and d.attempts = 0
    and d.digest_id is null
), joining as (
  select key, min(due) as earliest, max(due) as last, min(latest) as latest from new
  where key is not null group by key
), digests as (
  insert into deliveries as digest (id, digest_id, event_id, user_id, foreign_user_id, channel, template,
    address, locale, data, category, event_at, digest_key, digest_latest, next_attempt_at, asked_at)
  select id, id, 'digest:' || id, user_id, foreign_user_id, channel, '{DIGEST_TEMPLATE}', address, locale,
    data::jsonb, category, now(), key, latest, due, due
  from (
    select distinct on (key) gen_random_uuid() as id, key, user_id, foreign_user_id, channel, address, locale,
      data, category, joining.latest,
      case when joining.latest is null then earliest else least(last, joining.latest) end as due
    from new join joining using (key) order by key, place desc
  ) as begun
  order by key
  on conflict (digest_key) where digest_key is not null do update set
    locale = excluded.locale,
    next_attempt_at = {{due}}, asked_at = {{due}}
  returning id, digest_key
)
update deliveries d
set seq = new.seq, only_if = new.only_if, digest_id = digests.id,
  status = case when digests.id is null then d.status else 'held' end,
  next_attempt_at = case when digests.id is null then d.next_attempt_at end
from new left join digests on digests.digest_key = new.key
where d.id = new.id and d.id = any($1)
""".format(  # noqa: S608
    due="case when digest.digest_latest is null or excluded.digest_latest is null "
    "then least(digest.next_attempt_at, excluded.next_attempt_at) else "
    "least(digest.digest_latest, greatest(digest.next_attempt_at, excluded.next_attempt_at)) end"
)
_OPEN = """
select digest_key, next_attempt_at, digest_latest from deliveries
where digest_key = any($1::text[]) and digest_key is not null
"""
# By the index on the user and the age.
RECENT = """
select (
  select count(distinct event_id) from deliveries d
  where d.user_id = wanted.user_id and d.created_at > now() - make_interval(secs => wanted.seconds)
    and d.category = wanted.category and d.channel = wanted.channel and d.digest_id is null
    and d.status not in ('suppressed', 'expired')
)::int
from unnest($1::uuid[], $2::text[], $3::text[], $4::float8[]) with ordinality
  as wanted (user_id, category, channel, seconds, place)
order by place
"""
"""The number of events for each `RecentDeliveries`."""
STATE_OF_NOTIFICATION = f"""(
  select case when {IS_READ} then 'read' when n.expires_at <= now() then 'expired'
    when n.seq <= i.seen_up_to then 'seen' else 'unseen' end
  from notifications n join inboxes i on i.user_id = n.receiver
  where n.receiver = d.user_id and n.seq = d.seq and n.seq > {GONE_UP_TO}
)"""  # noqa: S608
"""Of the notification that a delivery `d` is about: null if it is gone. By the index of the inbox."""
_STATE = f"select {STATE_OF_NOTIFICATION} from deliveries d where d.id = $1"  # noqa: S608
# What left the inbox, or was read, leaves the digest, and so does the step of one that was seen if it is for
# unseen ones. What a provider was given already stays in the digest.
_LEAVE = f"""
update deliveries d set next_attempt_at = null, finished_at = now(),
  status = case when gone.expired then 'expired' else 'suppressed' end,
  reason = case when gone.expired then 'it expired' when gone.state is null
    then 'the notification was deleted or archived' else 'the notification was ' || gone.state end
from (
  select id, expires_at <= now() or state = 'expired' as expired, state from (
    select d.id, d.seq, d.expires_at, d.only_if, {STATE_OF_NOTIFICATION} as state
    from deliveries d where d.digest_id = $1 and d.id <> $1 and d.status = 'held'
  ) as held
  where expires_at <= now() or (
    seq is not null
    and (state is null or state in ('read', 'expired') or (state = 'seen' and only_if = 'unseen'))
  )
) as gone
where d.id = gone.id and d.status = 'held'
"""  # noqa: S608
_IN_IT = "d.digest_id = $1 and d.id <> $1 and d.status in ('held', 'failed', 'sent', 'delivered')"
_ENTRIES = f"""
select template, locale, data::text as data, total, (
    select n.details ->> 'url' from notifications n where n.receiver = d.user_id and n.seq = d.seq
  ) as url
from (
  select d.*, count(*) over () as total from deliveries d where {_IN_IT}
  order by d.created_at desc, d.number desc limit {MAX_ENTRIES}
) as d
order by d.created_at desc, d.number desc
"""  # noqa: S608
FINISH_HELD = f"""
update deliveries d set status = $2, reason = coalesce($3, 'sent in a digest'), finished_at = now()
where {_IN_IT}
"""  # noqa: S608
"""What became of a digest became of all that are in it."""


# Of web pushes that were due while their user was connected. By the index on the user and the age.
_LOOK_AGAIN = f"""
update deliveries set next_attempt_at = now()
where user_id = any($1::uuid[]) and created_at > now() - interval '{MAX_STEP_DAYS} days'
  and channel = '{WEBPUSH}' and only_if is not null and status = 'pending'
  and asked_at < now() and next_attempt_at > now()
returning pg_notify('{SIGNAL}', '')
"""  # noqa: S608


class HeldDelivery(NamedTuple):
    """A message in a digest: what it would show by itself, and where its notification leads."""

    template: str
    locale: str
    data: Mapping[str, Any]
    url: str | None = None


class DigestContent(NamedTuple):
    """The newest messages of a digest, the newest first, and how many there are in all."""

    newest: Sequence[HeldDelivery]
    total: int
    left: int
    """How many left it just now."""


class NewHold(NamedTuple):
    """What is noted of a new delivery that waits."""

    id: UUID
    key: str | None
    due: datetime | None
    latest: datetime | None
    seq: int | None
    only_if: str | None
    data: str


def new_holds(event: EventRecord, seqs: Mapping[UUID, int]) -> Sequence[NewHold]:
    """The deliveries of an event that wait. `seqs` has the `seq` of its notifications by receiver."""
    return [
        NewHold(
            delivery_id(event.chunk_of or event.event_id, record.draft),
            hold.digest,
            hold.due,
            hold.latest,
            None if record.draft.user_id is None else seqs.get(record.draft.user_id),
            hold.only_if,
            _data(hold),
        )
        for record in event.deliveries
        if (hold := record.hold) is not None and not record.suppressed
    ]


async def hold(connection: asyncpg.Connection, holds: Sequence[NewHold]) -> None:
    """Make the deliveries wait, in the transaction that inserted them."""
    await connection.execute(_HOLD, *map(list, zip(*holds, strict=True)))


class WaitingStore:
    """Every call raises `Unavailable` when Postgres doesn't answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._connections = direct(engine)

    async def open_digests(self, keys: Collection[str]) -> Mapping[str, DigestDue]:
        """See `app.domain.waiting.WaitingDeliveries`."""
        with store_errors():
            rows = await self._connections.fetch(_OPEN, [*keys])
            return {row[0]: DigestDue(row[1], row[2]) for row in rows}

    async def recent(self, wanted: Sequence[RecentDeliveries]) -> Sequence[int]:
        """See `app.domain.waiting.WaitingDeliveries`."""
        with store_errors():
            columns = [list(column) for column in zip(*wanted, strict=True)]
            return [row[0] for row in await self._connections.fetch(RECENT, *columns)]

    async def look_again(self, users: Collection[UUID]) -> int:
        """Make due what waits as these users were connected; how many steps that are."""
        with store_errors():
            async with self._engine.begin() as connection:
                return (await connection.exec_driver_sql(_LOOK_AGAIN, ([*users],))).rowcount

    async def state_of_notification(self, delivery: UUID) -> str | None:
        """As it is now: see `Outgoing.notification`."""
        with store_errors():
            async with self._engine.connect() as connection:
                state: str | None = (await connection.exec_driver_sql(_STATE, (delivery,))).scalar()
                return state

    async def leave(self, digest: UUID) -> int:
        """Take out of a digest what was read, or isn't in the inbox any more; how many that are."""
        with store_errors():
            async with self._engine.begin() as connection:
                return (await connection.exec_driver_sql(_LEAVE, (digest,))).rowcount

    async def content(self, digest: UUID) -> DigestContent:
        """What is in a digest now, after `leave`."""
        with store_errors():
            async with self._engine.begin() as connection:
                left = (await connection.exec_driver_sql(_LEAVE, (digest,))).rowcount
                rows = (await connection.exec_driver_sql(_ENTRIES, (digest,))).all()
        newest = [
            HeldDelivery(row.template, row.locale, exact_json.decode(row.data), row.url) for row in rows
        ]
        return DigestContent(newest, rows[0].total if rows else 0, left)


def _data(hold: Hold) -> str:
    return msgspec.json.encode({} if hold.group_name is None else {"group_name": hold.group_name}).decode()
