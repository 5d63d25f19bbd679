"""Claims the ids of events, in the transaction that stores them.

One statement for events whose ids are new. Only ids that are taken cost a second look, which tells repeats
from conflicts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import attrgetter

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.identity import UNKNOWN, EventIdentity, Relation, scoped_id
from app.store.records import EventRecord

_NEW_EVENTS = """
with inserted as (
  insert into processed_events (event_id, fingerprint, sender, position)
  select * from unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[])
  on conflict do nothing returning event_id
)
select coalesce(array_agg(event_id), '{}') from inserted
"""
_LATER = """
insert into scheduled_events (event_id, send_at, body, sender, fingerprint)
select * from unnest($1::text[], $2::timestamptz[], $3::bytea[], $4::text[], $5::bigint[])
on conflict do nothing returning event_id
"""
# Look-ups by index, however large the tables are.
_PROCESSED = """
select event_id, fingerprint, sender, position from unnest($1::text[]) as wanted (event_id)
cross join lateral (
  select fingerprint, sender, position from processed_events where event_id = wanted.event_id limit 1
) as found
"""
_SCHEDULED = """
select event_id, fingerprint, sender, null::bigint from unnest($1::text[]) as wanted (event_id)
cross join lateral (
  select fingerprint, sender from scheduled_events
  where event_id = wanted.event_id and status <> 'failed' limit 1
) as found
"""


class IdClaims:
    """Which events of a call are new, which are conflicts, and what the others repeat. No I/O.

    Events are named by the ids that they came with.
    """

    def __init__(self) -> None:
        self.new: dict[str, EventRecord] = {}
        """Under the ids that they are stored by."""
        self.repeated: dict[str, EventIdentity] = {}
        self.conflicts: set[str] = set()

    def judge(
        self,
        entries: Iterable[tuple[str, EventRecord]],
        claimed: Collection[str],
        taken: Mapping[str, EventIdentity],
        *,
        last: bool,
    ) -> list[tuple[str, EventRecord]]:
        """Note what became of the entries; returns those to be claimed again under ids of their own.

        `claimed` are the ids that were new, `taken` what is known of the others.
        """
        again = []
        for name, entry in entries:
            if entry.event_id in claimed:
                self.new[name] = entry
                continue
            recorded = taken.get(entry.event_id, UNKNOWN)
            relation = entry.identity.relation_to(recorded)
            if relation is Relation.SAME:
                self.repeated[name] = recorded
            elif relation is Relation.FOREIGN and not last and entry.identity.sender is not None:
                own = scoped_id(entry.event_id, entry.identity.sender)
                again.append((name, msgspec.structs.replace(entry, event_id=own)))
            else:
                self.conflicts.add(name)
        return again


async def claim(connection: AsyncConnection, entries: Sequence[EventRecord]) -> IdClaims:
    """Claim the ids of the entries, each at most once in a call."""
    claims = IdClaims()
    named = [(entry.event_id, entry) for entry in entries]
    for last in (False, True):
        taken = await _taken_elsewhere(connection, named)
        open_entries = [entry for _, entry in named if entry.event_id not in taken]
        claimed = await _insert(connection, open_entries)
        if left := [entry for entry in open_entries if entry.event_id not in claimed]:
            taken |= await _look_up(connection, _PROCESSED, [e.event_id for e in left if e.later is None])
            taken |= await _look_up(connection, _SCHEDULED, [e.event_id for e in left if e.later])
        named = claims.judge(named, claimed, taken, last=last)
        if not named:
            break
    return claims


async def recorded(connection: AsyncConnection, event_ids: Collection[str]) -> dict[str, EventIdentity]:
    """What is recorded of events that were processed."""
    return await _look_up(connection, _PROCESSED, event_ids)


async def _taken_elsewhere(
    connection: AsyncConnection, named: Sequence[tuple[str, EventRecord]]
) -> dict[str, EventIdentity]:
    """The ids of events for later that were processed, and of those sent over HTTP that are scheduled.

    Events from brokers aren't looked for among the scheduled ones: that would cost each batch a statement. If
    one takes the id of a scheduled event, the latter is repeated or refused when it is due.
    """
    later = [entry.event_id for _, entry in named if entry.later is not None]
    sent = [
        entry.event_id
        for _, entry in named
        if entry.later is None and entry.identity.sender is not None and not entry.due
    ]
    return await _look_up(connection, _PROCESSED, later) | await _look_up(connection, _SCHEDULED, sent)


async def _insert(connection: AsyncConnection, entries: Sequence[EventRecord]) -> set[str]:
    """Insert in the order of ids, so that nodes which share some can't deadlock; the ids that were new."""
    claimed: set[str] = set()
    ordered = sorted(entries, key=attrgetter("event_id"))
    if now := [(e.event_id, *e.identity) for e in ordered if e.later is None]:
        claimed.update((await connection.exec_driver_sql(_NEW_EVENTS, _columns(now))).scalar_one())
    if later := [(e.event_id, *e.later, e.identity.fingerprint) for e in ordered if e.later is not None]:
        claimed |= {row[0] for row in await connection.exec_driver_sql(_LATER, _columns(later))}
    return claimed


def _columns(rows: Sequence[tuple[object, ...]]) -> tuple[list[object], ...]:
    return tuple(list(column) for column in zip(*rows, strict=True))


async def _look_up(
    connection: AsyncConnection, statement: str, event_ids: Collection[str]
) -> dict[str, EventIdentity]:
    if not event_ids:
        return {}
    rows = await connection.exec_driver_sql(statement, (list(event_ids),))
    return {row[0]: EventIdentity(*row[1:]) for row in rows}
