"""A batch of messages → handlers → one transaction → bus. What every source shares.

`prepare` does what needs no waiting; `write` stores and publishes, or parks what needs the user service's
answer (`app.ingest.parked` resolves it), so that the others never wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import UUID

from app.domain.errors import InboxesLocked, InvalidEvent, StoreFailed, StoreRejected, Unavailable
from app.domain.identity import EventIdentity
from app.domain.notifications import Group, Notification
from app.domain.planning import Plan, Planner
from app.domain.preferences import Verdict
from app.domain.time import Now
from app.ingest.batch import Batch, ParkedEvent, PreparedEvent, Rejected, SourceMessage
from app.ingest.chunks import MAX_ROWS_AT_ONCE, is_large
from app.ingest.identify import conflict, may_be_unpushed, repeats
from app.ingest.parking import Parking, behind, draft_of, large, may_be_parked, reaches
from app.ingest.prepare import Preparer, RememberedGroups, reject_message, scheduled
from app.ingest.repeats import Repeats, token_bound
from app.realtime.bus import Bus
from app.runtime.backoff import Backoff
from app.runtime.metrics import BATCH_SECONDS, EVENTS, NOTIFICATIONS, STALLED
from app.store.parked import ParkedDraft
from app.store.ports import EventWriter, ProcessedEvents
from app.store.records import DeliveryRecord, EventRecord, WriteResult
from handlers.base import BaseMessageHandler

log = logging.getLogger("hub.pipeline")

E = TypeVar("E", bound=PreparedEvent | ParkedEvent)

MAX_ROWS_PER_TRANSACTION = 10_000
LAST_BATCH_SECONDS = 1.0  # after which a node has nothing else to do
MAX_MESSAGES_PER_TURN = 50  # messages prepared before others get a turn
BACKOFF = Backoff(first=0.1, cap=5.0)
SCHEDULE = "schedule"
"""The source of events whose time has come."""
_NO_GROUP = Group("", (), ())  # that the user service knows no more


class Groups(RememberedGroups, Protocol):
    """Resolves groups: `app.ingest.user_service.UserService` in production, `app.testing` in tests.

    Calls may be concurrent; those for one group share one request. An answer may be cached, so it can be a
    few seconds old. Errors are not cached: the next call asks again.
    """

    async def group(self, group_id: UUID, *, fresh: bool = False) -> Group:
        """The group. A `fresh` answer isn't taken from the cache; it replaces the cached one.

        Raises:
            InvalidEvent: `unknown_group`, the group does not exist; a repetition cannot help.
            Unavailable: There was no usable answer in time; a repetition can help.
        """

    def pause(self) -> float | None:
        """None: groups can be asked for. While the service keeps failing: the seconds until one call may try
        whether it is back (0: now).
        """


class PipelinePorts(NamedTuple):
    """What a pipeline asks and writes to."""

    groups: Groups
    planner: Planner
    writer: EventWriter
    processed: ProcessedEvents
    bus: Bus


class Pipeline:
    """Turns messages into stored and pushed notifications. One per node; any source may call it."""

    def __init__(
        self,
        handlers: Mapping[str, BaseMessageHandler[Any]],
        ports: PipelinePorts,
        locale: str,
        encrypt: Callable[[Mapping[str, Any]], bytes],
        now: Now = time.time,
        backoff: Backoff = BACKOFF,
    ) -> None:
        """`locale` is the language that notifications are stored in. `encrypt` encodes data that must not be
        readable at rest.
        """
        self._encrypt = encrypt
        self._groups, self._planner, self._writer, processed, self._bus = ports
        self._preparer = Preparer(handlers, self._groups, locale, now)
        self._processed = processed
        self._repeats = Repeats(processed, self._bus, now)
        self._now = now
        self._backoff = backoff
        self.failure: StoreFailed | None = None
        """Why nothing can be stored until an operator acts. The log has its trace, once."""
        # One transaction at a time on a node: commits, and with them pushes, keep the order of `seq`.
        self._turn = asyncio.Lock()
        self._last_batch = 0.0, 0.0
        self.parking = Parking()

    def prepare(
        self, messages: Iterable[SourceMessage], groups: Mapping[UUID, Group | None] = MappingProxyType({})
    ) -> Batch:
        """See `Preparer.prepare`."""
        return self._preparer.prepare(messages, groups)

    async def prepare_into(
        self,
        batch: Batch,
        messages: Sequence[SourceMessage],
        groups: Mapping[UUID, Group | None] = MappingProxyType({}),
    ) -> None:
        """`prepare`, with the result added to `batch`; others get a turn meanwhile."""
        for start in range(0, len(messages), MAX_MESSAGES_PER_TURN):
            part = self.prepare(messages[start : start + MAX_MESSAGES_PER_TURN], groups)
            batch.events.extend(part.events)
            batch.rejected.extend(part.rejected)
            await asyncio.sleep(0)

    async def write(
        self, events: Sequence[PreparedEvent | ParkedEvent], max_rows: int = MAX_ROWS_PER_TRANSACTION
    ) -> list[Rejected]:
        """Store the events' effects and publish them, or park them; returns those that Postgres can't take.

        When this returns, each other event is committed: it was pushed, or is parked. While Postgres is away
        it tries again indefinitely (cancel it to stop), which is safe: an event that was committed is found
        to be. No transaction has many more than `max_rows` rows. Large events (`chunks`) are parked.

        Raises `InboxesLocked` for events that are parked already, some of which may be stored then.
        """
        rejected = []
        for each, has_large in _parts(events, max_rows):
            part = await self._with_large_to_park(each) if has_large else each
            began = time.monotonic()
            async with self._turn:
                rejected += await self._write(part)
            if part[0].message.parked_id is None:
                self._last_batch = time.monotonic(), time.monotonic() - began
        return rejected

    def last_batch(self) -> float:
        """How many seconds the last batch of events took that weren't parked; 0 if that is long ago."""
        ended_at, took = self._last_batch
        return took if time.monotonic() - ended_at < LAST_BATCH_SECONDS else 0.0

    async def recorded(self, event_ids: Collection[str]) -> Mapping[str, EventIdentity]:
        """What is recorded of those events that are. Raises `Unavailable`."""
        return await self._processed.identities(event_ids)

    async def resolve(self, parked: Sequence[ParkedEvent]) -> Batch:
        """Handle events that wait for the same answer about a group, or reject those that it is final for.

        Raises `Unavailable` when the group isn't known now, unless the events can do without it.
        """
        messages = [item.message for item in parked]
        first = parked[0]
        assert first.group_id is not None, "it waits for a group"
        return await self.answered(messages, first.group_id, fresh=first.fresh, optional=first.optional)

    async def answered(
        self, messages: Sequence[SourceMessage], group_id: UUID, *, fresh: bool, optional: bool
    ) -> Batch:
        """`resolve`, of messages that were parked for this group."""
        answer: Group | None = None
        try:
            answer = await self._groups.group(group_id, fresh=fresh)
        except InvalidEvent as error:
            if not optional:
                return Batch([], [reject_message(message, error) for message in messages])
            answer = _NO_GROUP
        except Unavailable:
            if not optional:
                raise
        batch = Batch([], [])
        await self.prepare_into(batch, messages, {group_id: answer})
        return batch

    def reject(self, message: SourceMessage, error: InvalidEvent) -> Rejected:
        """Count a message that can never be handled."""
        return reject_message(message, error)

    async def plan(self, ready: Sequence[PreparedEvent]) -> list[Plan]:
        """What would be written for each. Raises `Unavailable` when Postgres doesn't answer."""
        return await self._planner.plan([item.request for item in ready])

    async def _with_large_to_park(
        self, events: Sequence[PreparedEvent | ParkedEvent]
    ) -> list[PreparedEvent | ParkedEvent]:
        """The events, with large ones as such that are to be parked.

        One that is recorded stays as it is: it is a repeat or a conflict.
        """
        found = [
            item
            for item in events
            if isinstance(item, PreparedEvent)
            and is_large(item)
            and may_be_parked(item)
            and not self._preparer.is_to_come(item.effects.send_at)
        ]
        recorded: Collection[str] = ()
        with suppress(Unavailable):  # then it is parked, and seen to be recorded when it is resolved
            recorded = await self.recorded([item.event.event_id for item in found])
        parked = {id(item): large(item) for item in found if item.event.event_id not in recorded}
        return [parked.get(id(item), item) for item in events]

    async def _write(self, events: Sequence[PreparedEvent | ParkedEvent]) -> list[Rejected]:
        if not events:
            return []
        by_id: dict[str, PreparedEvent | ParkedEvent] = {}
        part: list[PreparedEvent | ParkedEvent] = []
        rest: list[PreparedEvent | ParkedEvent] = []  # with the id of another event of this batch
        for item in events:
            first = by_id.setdefault(item.event.event_id, item)
            (part if first is item or repeats(item, first) else rest).append(item)
        resolved = {
            item.message.parked_id: item.event.event_id
            for item in part
            if item.message.parked_id is not None
            and not (isinstance(item, PreparedEvent) and item.chunk_of is not None)
        }
        try:
            written = await self._commit([*by_id.values()], resolved)
        except StoreRejected as error:
            if len(events) == 1:
                why = InvalidEvent("store_rejected", f"Postgres cannot store it: {error}")
                return [reject_message(events[0].message, why)]
            half = len(events) // 2
            return [*await self._write(events[:half]), *await self._write(events[half:])]
        await self._written(part, by_id, written)
        conflicts = [item for item in part if item.event.event_id in written.conflicts]
        rejected = [reject_message(item.message, conflict(item.event.event_id)) for item in conflicts]
        return [*rejected, *await self._write(rest)]

    async def _written(
        self,
        events: Sequence[PreparedEvent | ParkedEvent],
        by_id: Mapping[str, PreparedEvent | ParkedEvent],
        written: WriteResult,
    ) -> None:
        """Push what was committed, and what may have been committed and not pushed before."""
        if written.parked:
            self.parking.parked()
        repeated = {
            event_id: item
            for event_id in written.repeated
            if isinstance(item := by_id[event_id], PreparedEvent)
        }
        again = [item for each, item in repeated.items() if may_be_unpushed(item, written.repeated[each])]
        self._publish(await self._repeats.possibly_unpushed(again), redelivered=True)
        self._publish(written.notifications)
        for event_id in written.new:
            item = by_id[event_id]
            if isinstance(item, PreparedEvent) and (gone := item.request.effects.disconnect):
                self._bus.disconnect(gone, bound=token_bound(item, self._now()))
        await self._repeats.repeat_logouts(repeated)
        NOTIFICATIONS.inc(len(written.notifications))
        if events[0].message.parked_id is not None:  # an event in chunks is counted with its last one
            events = [item for item in events if not _is_chunk(item)]
            whole = [event_id for event_id in written.new if not _is_chunk(by_id[event_id])]
            written = written._replace(new=whole)
        _count(events, by_id, written)

    def _records(
        self, events: Sequence[PreparedEvent | ParkedEvent], plans: Sequence[Plan], locked: Set[UUID]
    ) -> Iterator[EventRecord]:
        """In the order of the events; `plans` are those of the prepared ones. What is for a user whose inbox
        is `locked` is parked.
        """
        ordered = self.parking.any or len(plans) < len(events) or bool(locked)
        next_plan = iter(plans)
        for item in events:
            if isinstance(item, ParkedEvent):
                parked = draft_of(item, needs_answer=True)
                yield EventRecord(item.event.event_id, parked=parked, identity=item.identity)
            else:
                plan = next(next_plan)
                if locked and reaches(plan, locked) and may_be_parked(item):
                    yield self._record(item, plan, draft_of(item, needs_answer=True))
                else:
                    yield self._record(item, plan, behind(item, ordered))

    def _record(self, item: PreparedEvent, plan: Plan, parked: ParkedDraft | None) -> EventRecord:
        if self._preparer.is_to_come(item.request.effects.send_at):
            return EventRecord(item.event.event_id, later=scheduled(item), identity=item.identity)
        deliveries = [
            DeliveryRecord(
                draft,
                None if draft.secret is None else self._encrypt(draft.secret),
                decision.until,
                decision.reason,
                decision.verdict is Verdict.SUPPRESS,
                item.request.category,
            )
            for draft, decision in plan.deliveries
        ]
        return EventRecord(
            item.event.event_id,
            plan.notifications,
            deliveries,
            item.message.happened_at,
            parked=parked,
            identity=item.identity,
            due=item.message.source == SCHEDULE,
            chunk_of=item.chunk_of,
        )

    def _publish(self, notifications: Sequence[Notification], *, redelivered: bool = False) -> None:
        try:
            self._bus.publish(notifications, redelivered=redelivered)
        except Exception:  # what is committed is in the inbox; a push that fails must not stop the source
            log.exception("push_failed", extra={"notifications": len(notifications)})

    async def _commit(
        self, events: Sequence[PreparedEvent | ParkedEvent], resolved: Mapping[int, str]
    ) -> WriteResult:
        ready = [item for item in events if isinstance(item, PreparedEvent)]
        delays = self._backoff.delays()
        locked: frozenset[UUID] = frozenset()
        while True:
            try:
                with BATCH_SECONDS.time():
                    plans = await self.plan(ready)
                    written = await self._writer.write([*self._records(events, plans, locked)], resolved)
            except InboxesLocked as error:
                if events[0].message.parked_id is not None:
                    raise  # they are parked already: their lanes wait
                log.warning("inboxes_locked", extra={"events": len(events), "inboxes": len(error.users)})
                if error.users <= locked:  # what can't be parked waits here
                    await asyncio.sleep(next(delays))
                locked |= error.users
            except Unavailable as error:
                STALLED.inc()
                self._log_unavailable(error, len(events))
                await asyncio.sleep(next(delays))
            else:
                self.failure = None
                return written

    def _log_unavailable(self, error: Unavailable, events: int) -> None:
        fields = {"events": events, "why": str(error)}
        if isinstance(error, StoreFailed):
            trace = error if self.failure is None else None
            self.failure = error
            log.error("store_failed", exc_info=trace, extra=fields)
        else:
            log.error("store_unavailable", extra=fields)


def _parts(events: Sequence[E], max_rows: int) -> Iterator[tuple[Sequence[E], bool]]:
    """`events` in order, cut so that no transaction has many more than `max_rows` rows.

    With each part: whether it has large events. They are to be parked, which is one row each.
    """
    start = rows = 0
    has_large = False
    for position, item in enumerate(events):
        own = 1 if isinstance(item, ParkedEvent) else item.rows or 1
        if own > MAX_ROWS_AT_ONCE and isinstance(item, PreparedEvent) and may_be_parked(item):
            own, has_large = 1, True
        rows += own
        if rows >= max_rows:
            yield events[start : position + 1], has_large
            start, rows, has_large = position + 1, 0, False
    if start < len(events):
        yield events[start:], has_large


def _is_chunk(item: PreparedEvent | ParkedEvent) -> bool:
    return isinstance(item, PreparedEvent) and item.chunk_of is not None


def _count(
    events: Sequence[PreparedEvent | ParkedEvent],
    by_id: Mapping[str, PreparedEvent | ParkedEvent],
    written: WriteResult,
) -> None:
    stored = Counter(by_id[event_id].message.source for event_id in written.new)
    parked = Counter(by_id[event_id].message.source for event_id in written.parked)
    known = [item.message.source for item in events if item.event.event_id not in written.conflicts]
    for source, number in Counter(known).items():
        EVENTS.labels(source, "stored").inc(stored[source])
        EVENTS.labels(source, "parked").inc(parked[source])
        EVENTS.labels(source, "duplicate").inc(number - stored[source] - parked[source])
