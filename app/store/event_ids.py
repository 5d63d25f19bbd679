"""Whose ids events take: what tells repeats from conflicts.

The statement of a batch claims ids (`app.store.batch_statement`). Only ids that are taken cost a second look.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import attrgetter

import asyncpg
import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.identity import UNKNOWN, EventIdentity, Relation, scoped_id
from app.store.records import EventRecord

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
        """Note what became of the entries; returns those to be claimed again under new ids.

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


async def taken_elsewhere(
    connection: asyncpg.Connection, entries: Sequence[EventRecord]
) -> dict[str, EventIdentity]:
    """The ids of events for later that were processed, and of those sent over HTTP that are scheduled.

    Events from brokers aren't looked for among the scheduled ones: that would cost each batch a statement. If
    one takes the id of a scheduled event, the latter is repeated or refused when it is due.
    """
    later = [entry.event_id for entry in entries if entry.later is not None]
    sent = [
        entry.event_id
        for entry in entries
        if entry.later is None and entry.identity.sender is not None and not entry.due
    ]
    return await _look_up(connection, _PROCESSED, later) | await _look_up(connection, _SCHEDULED, sent)


async def taken(connection: asyncpg.Connection, entries: Sequence[EventRecord]) -> dict[str, EventIdentity]:
    """What is recorded of events whose ids were not new."""
    processed = [entry.event_id for entry in entries if entry.later is None]
    scheduled = [entry.event_id for entry in entries if entry.later is not None]
    return await _look_up(connection, _PROCESSED, processed) | await _look_up(
        connection, _SCHEDULED, scheduled
    )


async def schedule(connection: asyncpg.Connection, entries: Sequence[EventRecord]) -> set[str]:
    """Record events for later; the ids that were new. The order of ids keeps nodes from deadlocks."""
    ordered = sorted(entries, key=attrgetter("event_id"))
    rows = [(e.event_id, *e.later, e.identity.fingerprint) for e in ordered if e.later is not None]
    if not rows:
        return set()
    columns = [list(column) for column in zip(*rows, strict=True)]
    return {row[0] for row in await connection.fetch(_LATER, *columns)}


async def recorded(connection: AsyncConnection, event_ids: Collection[str]) -> dict[str, EventIdentity]:
    """What is recorded of events that were processed."""
    rows = await connection.exec_driver_sql(_PROCESSED, (list(event_ids),))
    return {row[0]: EventIdentity(*row[1:]) for row in rows}


async def _look_up(
    connection: asyncpg.Connection, statement: str, event_ids: list[str]
) -> dict[str, EventIdentity]:
    if not event_ids:
        return {}
    return {row[0]: EventIdentity(*row[1:]) for row in await connection.fetch(statement, event_ids)}
