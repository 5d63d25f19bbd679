"""The pipeline that all sources share: a batch of messages → handlers → one transaction → bus.  `prepare`
does the work without I/O. `write` stores and publishes events, or parks those that need the user service's
answer (`app.ingest.parked` resolves them), so that other events never wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from prometheus_client import Counter as PrometheusCounter

from app.domain.errors import (
    InboxesLocked,
    InvalidEvent,
    PlanOutdated,
    StoreFailed,
    StoreRejected,
    Unavailable,
)
from app.domain.identity import EventIdentity
from app.domain.notifications import Group, Notification
from app.domain.planning import Assumed, Plan, Planner
from app.domain.preferences import Verdict
from app.domain.time import Now
from app.ingest.assumptions import Assumptions
from app.ingest.batch import Batch, ParkedEvent, PreparedEvent, Rejected, SourceMessage
from app.ingest.chunks import is_large
from app.ingest.identify import conflict, may_be_unpushed, repeats
from app.ingest.parking import Parking, behind, draft_of, large, may_be_parked, reaches
from app.ingest.parts import parts, turns
from app.ingest.prepare import Preparer, RememberedGroups, reject_message, scheduled
from app.ingest.repeats import Repeats, token_bound
from app.ingest.turn import PlannedAhead, Turn, Turns
from app.realtime.bus import Bus
from app.realtime.changes import amended_frame
from app.runtime.backoff import Backoff
from app.runtime.metrics import BATCH_SECONDS, EVENTS, NOTIFICATIONS, STALLED
from app.store.broadcasts import BroadcastDraft
from app.store.parked import ParkedDraft
from app.store.ports import EventWriter, ProcessedEvents
from app.store.records import DeliveryRecord, EventRecord, WriteResult
from handlers.base import BaseMessageHandler

log = logging.getLogger("hub.pipeline")

MAX_ROWS_PER_TRANSACTION = 10_000
LAST_BATCH_SECONDS = 1.0  # without a batch, after which a node counts as idle
BACKOFF = Backoff(first=0.1, cap=5.0)
SCHEDULE = "schedule"
"""The source of scheduled events that are due."""
_NO_GROUP = Group("", (), ())  # the group no longer exists in the user service


class Groups(RememberedGroups, Protocol):
    """Resolves groups: `app.ingest.user_service.UserService` in production, `app.testing` in tests.

    Calls may be concurrent; calls for one group share a request. An answer may come from the cache, so it can
    be a few seconds old. Errors are not cached.
    """

    async def group(self, group_id: UUID, *, fresh: bool = False) -> Group:
        """The group. A `fresh` answer isn't taken from the cache; it replaces the cached one.

        Raises:
            InvalidEvent: `unknown_group`: the group does not exist. Not retryable.
            Unavailable: No valid answer arrived in time. Retryable.
        """

    def pause(self) -> float | None:
        """None while the circuit is closed. Otherwise the seconds until one call may test whether the service
        is back (0: now).
        """


class PipelinePorts(NamedTuple):
    """The dependencies of a pipeline."""

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
        """`locale` is the language that notifications are stored in. `encrypt` encrypts data that must not be
        stored in plain text.
        """
        self._encrypt = encrypt
        self._groups, self._planner, self._writer, processed, self._bus = ports
        self._preparer = Preparer(handlers, self._groups, locale, now)
        self._processed = processed
        self._repeats = Repeats(processed, self._bus, now)
        self._now = now
        self._backoff = backoff
        self.failure: StoreFailed | None = None
        """Why nothing can be stored until an operator acts; None otherwise. The traceback is logged once."""
        # One transaction at a time on a node: commits, and pushes after them, keep the order of `seq`. Chunks
        # of large events have a separate turn, so that no other event waits for them: like a push from
        # another node, one may come after a later one of its inbox, which the connection's cursor notices.
        self._turns, self._turns_of_chunks = Turns(), Turns()
        self._last_batch = 0.0, 0.0
        self._assumptions = Assumptions()
        self.parking = Parking()
        self.broadcast_accepted = asyncio.Event()
        """The signal that there is a new broadcast, so that this node needs no polling for its own."""

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
        """Like `prepare`, but adds the result to `batch` and yields to the event loop in between."""
        for turn in turns(messages):
            part = self.prepare(turn, groups)
            batch.events.extend(part.events)
            batch.rejected.extend(part.rejected)
            await asyncio.sleep(0)

    async def write(
        self,
        events: Sequence[PreparedEvent | ParkedEvent],
        max_rows: int = MAX_ROWS_PER_TRANSACTION,
        on_last: Callable[[], None] = lambda: None,
    ) -> list[Rejected]:
        """Store and publish the events' effects, or park the events. Returns those that Postgres cannot
        store.

        When this returns, every other event is committed, and either pushed or parked. While Postgres is
        unavailable it retries indefinitely (cancel it to stop). That is safe: events that were already
        committed are recognised. No transaction has many more than `max_rows` rows. Large events (`chunks`)
        are parked. `on_last` is called when the last transaction begins: from then on another call, of events
        that follow these, can't overtake them.

                Raises `InboxesLocked` for events that are already parked; some of them may have been stored.
        """
        rejected: list[Rejected] = []
        left = len(events)
        for each, has_large in parts(events, max_rows):
            part = await self._with_large_to_park(each) if has_large else each
            left -= len(part)
            turns = self._turns_of_chunks if _is_chunk(part[0]) else self._turns
            ahead = await self._plan_ahead(part) if turns.taken else None
            began = time.monotonic()
            async with Turn(turns) as turn:
                if not left:
                    on_last()
                rejected += await self._write(part, turn, ahead)
            if part[0].message.parked_id is None and not _is_chunk(part[0]):
                self._last_batch = time.monotonic(), time.monotonic() - began
        return rejected

    def last_batch(self) -> float:
        """Seconds that the last batch of events that were not parked took; 0 if that was long ago."""
        ended_at, took = self._last_batch
        return took if time.monotonic() - ended_at < LAST_BATCH_SECONDS else 0.0

    async def recorded(self, event_ids: Collection[str]) -> Mapping[str, EventIdentity]:
        """What is recorded for those of the events that are already stored. Raises `Unavailable`."""
        return await self._processed.identities(event_ids)

    async def resolve(self, parked: Sequence[ParkedEvent]) -> Batch:
        """Handle events that need the same answer about a group; reject them if the group does not exist.

        Raises `Unavailable` if the group cannot be resolved now, unless the answer is optional for the
        events.
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
        """Count a message that can never be processed."""
        return reject_message(message, error)

    async def plan(self, ready: Sequence[PreparedEvent]) -> list[Plan]:
        """What would be written for each event. Raises `Unavailable` if Postgres does not answer."""
        return await self._planner.plan([item.request for item in ready])

    async def _plan_ahead(self, events: Sequence[PreparedEvent | ParkedEvent]) -> PlannedAhead | None:
        """Plan while another batch is written. None if Postgres does not answer."""
        ready = [item for item in events if isinstance(item, PreparedEvent)]
        planned_at = time.monotonic()
        with suppress(Unavailable):
            plans, assumed = await self._planned(ready, may_assume=self._assumptions.worthwhile())
            by_id = {id(item): plan for item, plan in zip(ready, plans, strict=True)}
            return PlannedAhead(planned_at, by_id, assumed)
        return None

    async def _planned(
        self, ready: Sequence[PreparedEvent], *, may_assume: bool
    ) -> tuple[list[Plan], Assumed | None]:
        if not may_assume:
            return await self.plan(ready), None
        return await self._planner.plan_by_assumption([item.request for item in ready])

    async def _with_large_to_park(
        self, events: Sequence[PreparedEvent | ParkedEvent]
    ) -> list[PreparedEvent | ParkedEvent]:
        """The events, with large ones replaced by parked events. Events that are already recorded are
        unchanged: they are repeats or conflicts.
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
        with suppress(Unavailable):  # then it is parked, and recognised as recorded when it is resolved
            recorded = await self.recorded([item.event.event_id for item in found])
        parked = {id(item): large(item) for item in found if item.event.event_id not in recorded}
        return [parked.get(id(item), item) for item in events]

    async def _write(
        self,
        events: Sequence[PreparedEvent | ParkedEvent],
        turn: Turn,
        ahead: PlannedAhead | None = None,
        *,
        last: bool = True,
    ) -> list[Rejected]:
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
            written = await self._commit([*by_id.values()], resolved, ahead)
        except InvalidEvent as error:  # it changes an event that there isn't
            return [reject_message(events[0].message, error)]
        except StoreRejected as error:
            if len(events) == 1:
                why = InvalidEvent("store_rejected", f"Postgres cannot store it: {error}")
                return [reject_message(events[0].message, why)]
            half = len(events) // 2
            first_half = await self._write(events[:half], turn, last=False)
            return [*first_half, *await self._write(events[half:], turn, last=last)]
        if written.parked:
            self.parking.parked()
        await turn.push(last=last and not rest)
        await self._written(part, by_id, written)
        conflicts = [item for item in part if item.event.event_id in written.conflicts]
        rejected = [reject_message(item.message, conflict(item.event.event_id)) for item in conflicts]
        return [*rejected, *await self._write(rest, turn, last=last)]

    async def _written(
        self,
        events: Sequence[PreparedEvent | ParkedEvent],
        by_id: Mapping[str, PreparedEvent | ParkedEvent],
        written: WriteResult,
    ) -> None:
        """Push committed notifications, including earlier ones that may not have been pushed."""
        repeated = {
            event_id: item
            for event_id in written.repeated
            if isinstance(item := by_id[event_id], PreparedEvent)
        }
        again = [item for each, item in repeated.items() if may_be_unpushed(item, written.repeated[each])]
        self._publish(await self._repeats.possibly_unpushed(again), redelivered=True)
        self._publish(written.notifications)
        for each in written.amended:
            self._bus.send_frame(each.receiver, amended_frame(each))
        for event_id in written.new:
            item = by_id[event_id]
            if isinstance(item, PreparedEvent) and item.audience is not None:
                self.broadcast_accepted.set()
            elif isinstance(item, PreparedEvent) and (gone := item.request.effects.disconnect):
                self._bus.disconnect(gone, bound=token_bound(item, self._now()))
        await self._repeats.repeat_logouts(repeated)
        NOTIFICATIONS.inc(len(written.notifications))
        if events[0].message.parked_id is not None or _is_chunk(events[0]):  # it is counted with its last one
            events = [item for item in events if not _is_chunk(item)]
            whole = [event_id for event_id in written.new if not _is_chunk(by_id[event_id])]
            written = written._replace(new=whole)
        _count(events, by_id, written)

    def _records(
        self, events: Sequence[PreparedEvent | ParkedEvent], plans: Sequence[Plan], locked: Set[UUID]
    ) -> Iterator[EventRecord]:
        """The records to write, in the order of the events; `plans` belong to the prepared ones. Events for a
        user whose inbox is in `locked` are parked.
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
        if item.audience is not None:
            return _broadcast(item, parked)
        deliveries = [
            DeliveryRecord(
                draft,
                None if draft.secret is None else self._encrypt(draft.secret),
                decision.until,
                decision.reason,
                decision.verdict is Verdict.SUPPRESS,
                item.request.category,
                hold,
                throttle,
            )
            for draft, decision, hold, throttle, _ in plan.deliveries
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
            withheld=plan.withheld(),
            page=item.page,
            amendment=item.request.effects.amendment,
        )

    def _publish(self, notifications: Sequence[Notification], *, redelivered: bool = False) -> None:
        try:
            self._bus.publish(notifications, redelivered=redelivered)
        except (
            Exception
        ):  # committed notifications are in the inbox, so a failed push must not stop the source
            log.exception("push_failed", extra={"notifications": len(notifications)})

    async def _commit(
        self,
        events: Sequence[PreparedEvent | ParkedEvent],
        resolved: Mapping[int, str],
        ahead: PlannedAhead | None,
    ) -> WriteResult:
        ready = [item for item in events if isinstance(item, PreparedEvent)]
        delays = self._backoff.delays()
        locked: frozenset[UUID] = frozenset()
        may_assume = ahead is None and self._assumptions.worthwhile()
        while True:
            try:
                with BATCH_SECONDS.time():
                    planned = None if ahead is None else ahead.of(ready)
                    plans, assumed = planned or await self._planned(ready, may_assume=may_assume)
                    records = [*self._records(events, plans, locked)]
                    written = await self._writer.write(records, resolved, assumed)
            except PlanOutdated:  # at most as often as throttles let something through, and once more
                if assumed is not None:
                    self._assumptions.outdated()
                ahead, may_assume = None, False
            except InboxesLocked as error:
                if events[0].message.parked_id is not None or _is_chunk(events[0]):
                    raise  # they are parked already: their lanes wait, or their broadcast
                log.warning("inboxes_locked", extra={"events": len(events), "inboxes": len(error.users)})
                if error.users <= locked:  # events that cannot be parked wait here
                    await asyncio.sleep(next(delays))
                locked |= error.users
            except Unavailable as error:
                STALLED.inc()
                self._log_unavailable(error, len(events))
                await asyncio.sleep(next(delays))
            else:
                self.failure = None
                if assumed is not None:
                    self._assumptions.held()
                return written

    def _log_unavailable(self, error: Unavailable, events: int) -> None:
        fields = {"events": events, "why": str(error)}
        if isinstance(error, StoreFailed):
            trace = error if self.failure is None else None
            self.failure = error
            log.error("store_failed", exc_info=trace, extra=fields)
        else:
            log.error("store_unavailable", extra=fields)


def _broadcast(item: PreparedEvent, parked: ParkedDraft | None) -> EventRecord:
    """The record of an event that is for an audience."""
    assert item.audience is not None
    message, notification = item.message, item.effects.notification
    details = None if notification is None else notification.details
    thread = None if details is None else details.thread_key
    draft = BroadcastDraft(
        item.event.event_type,
        message.source,
        item.audience,
        message.value or b"",
        message.happened_at,
        thread,
    )
    return EventRecord(
        item.event.event_id,
        broadcast=draft,
        parked=parked,
        identity=item.identity,
        due=message.source == SCHEDULE,
    )


def _is_chunk(item: PreparedEvent | ParkedEvent) -> bool:
    return isinstance(item, PreparedEvent) and item.chunk_of is not None


def _count(
    events: Sequence[PreparedEvent | ParkedEvent],
    by_id: Mapping[str, PreparedEvent | ParkedEvent],
    written: WriteResult,
) -> None:
    sources = {item.message.source for item in events}
    if len(sources) == 1 and not written.conflicts:  # nearly always, and then nothing is counted one by one
        _count_source(sources.pop(), len(events), len(written.new), len(written.parked))
        return
    stored = Counter(by_id[event_id].message.source for event_id in written.new)
    parked = Counter(by_id[event_id].message.source for event_id in written.parked)
    known = [item.message.source for item in events if item.event.event_id not in written.conflicts]
    for source, number in Counter(known).items():
        _count_source(source, number, stored[source], parked[source])


def _count_source(source: str, number: int, stored: int, parked: int) -> None:
    counts = stored, parked, number - stored - parked
    for counter, count in zip(_counters(source), counts, strict=True):
        if count:
            counter.inc(count)


@cache
def _counters(source: str) -> tuple[PrometheusCounter, ...]:
    return tuple(EVENTS.labels(source, outcome) for outcome in ("stored", "parked", "duplicate"))
