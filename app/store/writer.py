"""The batch writer: any number of events in one statement over arrays, or in one transaction around it.

Decision 036 has the figures that led to it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence, Set
from contextlib import suppress
from datetime import datetime
from types import MappingProxyType
from uuid import UUID

import asyncpg
import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.amendments import Amended, Amendment
from app.domain.errors import InboxesLocked, PlanOutdated
from app.domain.identity import Relation, scoped_id
from app.domain.notifications import Notification
from app.domain.planning import Assumed
from app.domain.time import Now, moment
from app.store import broadcasts
from app.store.amendments import MAX_ROWS_AT_ONCE, Target, apply, cancel_deliveries, find
from app.store.batch_statement import OUTDATED, REPLACE, batch_statement, replacing
from app.store.direct import direct
from app.store.engine import store_errors
from app.store.event_ids import IdClaims, schedule, taken, taken_elsewhere
from app.store.inbox_locks import InboxLocks, lock_free
from app.store.parked import park, unpark
from app.store.records import EventRecord, WriteResult
from app.store.throttles import check_throttles
from app.store.waiting import NewHold, hold

_WAIT_FOR_LOCKS = "set local lock_timeout = 0"
LOOK_AGAIN_SECONDS = 0.05
MAX_LOOKS_AT_LOCKS = 4
MAX_EVENTS_THAT_WAIT = 20
"""Of parked events that are resolved in one call: a longer transaction waits for no inbox."""


class BatchWriter:
    """Writes batches. Several nodes may at once: rows are locked in one order, so none can deadlock."""

    def __init__(self, engine: AsyncEngine, now: Now = time.time) -> None:
        """If the engine's connections have a `lock_timeout`, no batch waits longer for a locked inbox."""
        self._connections = direct(engine)
        self._now = now
        self._locks = InboxLocks(engine)

    async def write(
        self,
        entries: Sequence[EventRecord],
        resolved: Mapping[int, str] = MappingProxyType({}),
        assumed: Assumed | None = None,
    ) -> WriteResult:
        """Record the events and insert their notifications, all or nothing. `event_id`s are unique in a call.
        `resolved` are the parked events among them: they aren't parked any more, unless they are conflicts. A
        call with more than `MAX_EVENTS_THAT_WAIT` of them never waits for the lock of an inbox: its events
        have time. One with few waits as any other, so that others' locks can't starve it.

        Raises `StoreRejected` or `Unavailable`; after `Unavailable` the batch may have been committed
        (the answer got lost), so call again with the same entries: what is there stays as it is. After
        `InboxesLocked` nothing is. Raises `PageTaken`, and writes nothing, for a page that isn't the next
        one of a running broadcast; `PlanOutdated`, and writes nothing, if what is `assumed` is outdated, or
        a throttle was reached meanwhile.
        """
        with store_errors():
            if entries and entries[0].amendment is not None:
                return await self._amend(entries[0], entries[0].amendment, resolved)
            suspects = self._locks.suspects_any and len(resolved) <= MAX_EVENTS_THAT_WAIT
            if suspects and (locked := await self._locks.suspected(_receivers(entries))):
                raise InboxesLocked(locked)
            with suppress(asyncpg.LockNotAvailableError):
                return await self._write(entries, resolved, assumed)
            if locked := await self._still_locked(_receivers(entries)):
                raise InboxesLocked(locked)
            return await self._write(entries, resolved, assumed, waiting=True)

    async def _amend(
        self, entry: EventRecord, amendment: Amendment, resolved: Mapping[int, str]
    ) -> WriteResult:
        """Change notifications of before. Many are changed some at a time, the last ones with the event's id:
        whatever ends this in between, the event does it again.

        An event that was recorded before, and one that has to wait behind a parked one, changes nothing.
        """
        connections, amended = self._connections, list[Amended]()
        async with connections.connection() as connection:
            if entry.parked is not None:
                async with connections.transaction(connection):
                    if parked := await park(connection, [(entry.event_id, entry.parked)]):
                        return WriteResult(frozenset(), [], parked)
            target = Target((), None)
            try:
                async with connections.transaction(connection):
                    if not await _is_recorded(connection, entry):
                        target = await find(connection, amendment, entry.identity.sender)
                cuts = range(0, len(target.ids), MAX_ROWS_AT_ONCE)
                parts = [target.ids[at : at + MAX_ROWS_AT_ONCE] for at in cuts] or [()]
                for part in parts[:-1]:
                    async with connections.transaction(connection):
                        amended += await apply(connection, amendment, part)
                async with connections.transaction(connection):
                    written = await self._record(connection, [entry], resolved)
                    if written.new:
                        amended += await apply(connection, amendment, parts[-1])
                        if amendment.update is None:
                            await cancel_deliveries(connection, amendment, target)
            except asyncpg.LockNotAvailableError:
                raise InboxesLocked(frozenset(amendment.receivers)) from None
            return written._replace(amended=amended)

    async def _still_locked(self, users: Set[UUID]) -> Set[UUID]:
        """Which inboxes are locked, and stay so for a moment: another batch that is being committed is waited
        for, as to park events takes longer.
        """
        locked = await self._locks.locked(users)
        for _ in range(MAX_LOOKS_AT_LOCKS - 1):
            if not locked:
                break
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            locked = await self._locks.locked(locked)
        return locked

    async def _write(
        self,
        entries: Sequence[EventRecord],
        resolved: Mapping[int, str],
        assumed: Assumed | None,
        *,
        waiting: bool = False,
    ) -> WriteResult:
        drafts_to_park = [(entry.event_id, entry.parked) for entry in entries if entry.parked is not None]
        more = waiting or resolved or drafts_to_park or self._connections.needs_transactions
        async with self._connections.connection() as connection:
            if not more and all(map(_is_one_statement, entries)):
                return await self._record(connection, entries, resolved, assumed)
            async with self._connections.transaction(connection):
                if waiting:
                    await connection.execute(_WAIT_FOR_LOCKS)
                await check_throttles(connection, entries)
                parked: Collection[str] = frozenset()
                if drafts_to_park:
                    parked = await park(connection, drafts_to_park)
                    entries = [entry for entry in entries if entry.event_id not in parked]
                for entry in entries:
                    if entry.page is not None:
                        notified = sum(len(draft.receivers) for draft in entry.drafts)
                        await broadcasts.advance(connection, entry.page, notified, len(entry.deliveries))
                backlog = len(resolved) > MAX_EVENTS_THAT_WAIT
                if backlog and (locked := await lock_free(connection, _receivers(entries))):
                    raise InboxesLocked(locked)
                written = await self._record(connection, entries, resolved, assumed)
                return written._replace(parked=parked)

    async def _record(
        self,
        connection: asyncpg.Connection,
        entries: Sequence[EventRecord],
        resolved: Mapping[int, str],
        assumed: Assumed | None = None,
    ) -> WriteResult:
        """Record the events. Those whose id another service has are recorded under a new one."""
        claims, notifications = IdClaims(), []
        holds: list[NewHold] = []
        named = [(entry.event_id, entry) for entry in entries]
        for last in (False, True):
            known = await taken_elsewhere(connection, [entry for _, entry in named])
            open_entries = [entry for _, entry in named if entry.event_id not in known]
            claimed = await schedule(connection, [entry for entry in open_entries if entry.later is not None])
            if events := [entry for entry in open_entries if entry.later is None]:
                new, made, waiting = await _insert(connection, events, moment(self._now()), assumed)
                claimed.update(new)
                notifications += made
                holds += waiting
            if len(claimed) < len(open_entries):
                left = [entry for entry in open_entries if entry.event_id not in claimed]
                known |= await taken(connection, left)
            named = claims.judge(named, claimed, known, last=last)
            if not named:
                break
        if begun := [
            (entry.event_id, entry.identity.sender, entry.broadcast)
            for entry in claims.new.values()
            if entry.broadcast is not None
        ]:
            await broadcasts.accept(connection, begun)
        if holds:
            await hold(connection, holds)
        if done := [number for number, name in resolved.items() if name not in claims.conflicts]:
            await unpark(connection, done)
        return WriteResult(
            frozenset(claims.new), notifications, frozenset(), claims.repeated, frozenset(claims.conflicts)
        )


async def _is_recorded(connection: asyncpg.Connection, entry: EventRecord) -> bool:
    """Whether the event was recorded before, under its id or, if that is another service's, its own."""
    recorded = (await taken(connection, [entry])).get(entry.event_id)
    sender = entry.identity.sender
    if recorded is None or sender is None or entry.identity.relation_to(recorded) is not Relation.FOREIGN:
        return recorded is not None
    own = msgspec.structs.replace(entry, event_id=scoped_id(entry.event_id, sender))
    return bool(await taken(connection, [own]))


def _is_one_statement(entry: EventRecord) -> bool:
    """Whether the statement of a batch is all that the event needs; another service can't have its id."""
    return (
        entry.later is None
        and entry.identity.sender is None
        and entry.broadcast is None
        and entry.page is None
        and all(
            each.draft.replaces is None and each.hold is None and each.throttle is None
            for each in entry.deliveries
        )
    )


async def _insert(
    connection: asyncpg.Connection, events: Sequence[EventRecord], now: datetime, assumed: Assumed | None
) -> tuple[Collection[str], list[Notification], Sequence[NewHold]]:
    """Record the events whose ids are new: those ids, the notifications, and which deliveries wait."""
    statement = batch_statement(events, now, assumed)
    row = await connection.fetchrow(statement.text, *statement.values)
    if assumed is not None and row is not None and row[OUTDATED]:
        raise PlanOutdated
    if replaced := replacing(events):
        await connection.execute(REPLACE, replaced)
    claimed, notifications = statement.answer(row)
    waits = any(each.hold is not None for event in events for each in event.deliveries)
    return claimed, notifications, statement.holds(claimed, row) if waits else ()


def _receivers(entries: Sequence[EventRecord]) -> set[UUID]:
    """Into whose inboxes the entries go, if they aren't parked."""
    written = (entry for entry in entries if entry.parked is None or not entry.parked.needs_answer)
    return {receiver for entry in written for draft in entry.drafts for receiver in draft.receivers}
