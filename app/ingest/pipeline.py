"""A batch of messages → handlers → one transaction → bus. What every source shares.

`prepare` does what needs no waiting; `write` stores and publishes, or parks what needs the user service's
answer (`app.ingest.parked` resolves it), so that the others never wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn, Protocol, TypeVar
from uuid import UUID

from app.domain import exact_json
from app.domain.errors import InboxesLocked, InvalidEvent, StoreFailed, StoreRejected, Unavailable
from app.domain.events import MAX_EVENT_BYTES, Event
from app.domain.identity import EventIdentity
from app.domain.notifications import Group, Notification
from app.domain.planning import Plan, Planner, PlanRequest
from app.domain.preferences import Verdict
from app.domain.time import Now, moment
from app.ingest.batch import Batch, ParkedEvent, PreparedEvent, Rejected, SourceMessage
from app.ingest.identify import conflict, identify, may_be_unpushed, repeats
from app.ingest.parking import Parking, behind, draft_of, may_be_parked, reaches
from app.ingest.repeats import Repeats, token_bound
from app.realtime.bus import Bus
from app.runtime.backoff import Backoff
from app.runtime.metrics import BATCH_SECONDS, EVENTS, NOTIFICATIONS, REJECTED, STALLED
from app.store.parked import ParkedDraft
from app.store.ports import EventWriter, ProcessedEvents
from app.store.records import DeliveryRecord, EventRecord, ScheduledEvent, WriteResult
from handlers.base import BaseMessageHandler

log = logging.getLogger("hub.pipeline")

E = TypeVar("E", bound=PreparedEvent | ParkedEvent)

MAX_ROWS_PER_TRANSACTION = 10_000
MAX_MESSAGES_PER_TURN = 50  # messages prepared before others get a turn
BACKOFF = Backoff(first=0.1, cap=5.0)
SCHEDULE = "schedule"
"""The source of events whose time has come."""
_NO_GROUP = Group("", (), ())  # that the user service knows no more


class Groups(Protocol):
    """Resolves groups: `app.ingest.user_service.UserService` in production, `app.testing` in tests.

    Calls may be concurrent; those for one group share one request. An answer may be cached, so it can be a
    few seconds old. Errors are not cached: the next call asks again.
    """

    def remembered(self, group_id: UUID) -> Group | None:
        """The group, if its answer is cached. Never waits."""

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
        self._handlers = handlers
        self._groups, self._planner, self._writer, processed, self._bus = ports
        self._repeats = Repeats(processed, self._bus, now)
        self._locale = locale
        self._now = now
        self._backoff = backoff
        self.failure: StoreFailed | None = None
        """Why nothing can be stored until an operator acts. The log has its trace, once."""
        # One transaction at a time on a node: commits, and with them pushes, keep the order of `seq`.
        self._turn = asyncio.Lock()
        self.parking = Parking()

    def prepare(
        self, messages: Iterable[SourceMessage], groups: Mapping[UUID, Group | None] = MappingProxyType({})
    ) -> Batch:
        """Decode and handle all messages that need nobody's answer, or only what `groups` answers: None for
        a group that there is no answer about, to events that can do without one.

        Never raises for a bad message.
        """
        batch = Batch([], [])
        for message in messages:
            event: Event | None = None
            try:
                event, identity = identify(message)
                handler = self._handlers.get(event.event_type) or self._unknown(event)
                if handler.only_from is not None and message.source != handler.only_from:
                    raise InvalidEvent(
                        "wrong_way", f"{event.event_type} is taken from {handler.only_from} only"
                    )
                parsed = handler.parse(event.body)
                group_id = handler.group_needed(parsed)
                found, group = self._group(handler, parsed, group_id, groups) if group_id else (True, None)
                if group_id and not found:
                    batch.events.append(_parked(message, event, group_id, handler, parsed, identity))
                else:
                    request = self._request(handler, parsed, event.body, group)
                    needed = None if group_id is None or handler.can_do_without_group(parsed) else group_id
                    item = PreparedEvent(message, event, request, needed, identity)
                    if request.effects.reaches_nobody is not None:
                        _warn(item)
                    if self._is_to_come(request.effects.send_at):
                        _scheduled(item)  # what couldn't come in again is refused now
                    batch.events.append(item)
            except InvalidEvent as error:
                batch.rejected.append(_rejected(message, error))
            except Exception:
                known = {} if event is None else {"event_id": event.event_id}
                log.exception("handler_failed", extra={"dedup_key": message.dedup_key, **known})
                why = InvalidEvent("handler_failed", "the handler failed; the hub's log has the trace")
                batch.rejected.append(_rejected(message, why))
        return batch

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
        to be. No transaction has many more than `max_rows` rows.

        Raises `InboxesLocked` for events that are parked already, some of which may be stored then.
        """
        rejected = []
        for part in _parts(events, max_rows):
            async with self._turn:
                rejected += await self._write(part)
        return rejected

    async def resolve(self, parked: Sequence[ParkedEvent]) -> Batch:
        """Handle events that wait for the same answer about a group, or reject those that it is final for.

        Raises `Unavailable` when the group isn't known now, unless the events can do without it.
        """
        messages = [item.message for item in parked]
        first = parked[0]
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
                return Batch([], [_rejected(message, error) for message in messages])
            answer = _NO_GROUP
        except Unavailable:
            if not optional:
                raise
        batch = Batch([], [])
        await self.prepare_into(batch, messages, {group_id: answer})
        return batch

    def reject(self, message: SourceMessage, error: InvalidEvent) -> Rejected:
        """Count a message that can never be handled."""
        return _rejected(message, error)

    async def plan(self, ready: Sequence[PreparedEvent]) -> list[Plan]:
        """What would be written for each. Raises `Unavailable` when Postgres doesn't answer."""
        return await self._planner.plan([item.request for item in ready])

    def _request(
        self, handler: BaseMessageHandler[Any], parsed: Any, body: Mapping[str, Any], group: Group | None
    ) -> PlanRequest:
        effects = handler.handle(parsed, body, group, self._locale)
        category = handler.category if effects.category is None else effects.category
        urgent = handler.urgent if effects.urgent is None else effects.urgent
        return PlanRequest(effects, category, urgent, partial(handler.handle, parsed, body, group))

    def _group(
        self,
        handler: BaseMessageHandler[Any],
        parsed: Any,
        group_id: UUID,
        answers: Mapping[UUID, Group | None],
    ) -> tuple[bool, Group | None]:
        """Whether all is known that the handler waits for, and the group."""
        if group_id in answers:
            return True, answers[group_id]
        group = None if handler.needs_fresh_group(parsed) else self._groups.remembered(group_id)
        return group is not None, group

    def _unknown(self, event: Event) -> NoReturn:
        known = ", ".join(sorted(self._handlers))
        raise InvalidEvent("unknown_event_type", f"{event.event_type[:100]!r} is none of {known}")

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
            item.message.parked_id: item.event.event_id for item in part if item.message.parked_id is not None
        }
        try:
            written = await self._commit([*by_id.values()], resolved)
        except StoreRejected as error:
            if len(events) == 1:
                why = InvalidEvent("store_rejected", f"Postgres can't take it: {error}")
                return [_rejected(events[0].message, why)]
            half = len(events) // 2
            return [*await self._write(events[:half]), *await self._write(events[half:])]
        await self._written(part, by_id, written)
        conflicts = [item for item in part if item.event.event_id in written.conflicts]
        rejected = [_rejected(item.message, conflict(item.event.event_id)) for item in conflicts]
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
        _count(events, by_id, written)

    def _is_to_come(self, send_at: datetime | None) -> bool:
        return send_at is not None and send_at > moment(self._now())

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
        if self._is_to_come(item.request.effects.send_at):
            return EventRecord(item.event.event_id, later=_scheduled(item), identity=item.identity)
        deliveries = [
            DeliveryRecord(
                draft,
                None if draft.secret is None else self._encrypt(draft.secret),
                decision.until,
                decision.reason,
                decision.verdict is Verdict.SUPPRESS,
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
                if resolved:
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


def _parked(
    message: SourceMessage,
    event: Event,
    group_id: UUID,
    handler: BaseMessageHandler[Any],
    parsed: Any,
    identity: EventIdentity,
) -> ParkedEvent:
    fresh, optional = handler.needs_fresh_group(parsed), handler.can_do_without_group(parsed)
    return ParkedEvent(message, event, group_id, fresh, optional, identity)


def _warn(item: PreparedEvent) -> None:
    why = item.effects.reaches_nobody
    log.warning("event_reaches_nobody", extra={"event_id": item.event.event_id, "why": why})


def _parts(events: Sequence[E], max_rows: int) -> Iterator[Sequence[E]]:
    """`events` in order, cut so that no transaction has many more than `max_rows` rows."""
    start = rows = 0
    for position, item in enumerate(events):
        rows += 1 if isinstance(item, ParkedEvent) else item.rows or 1
        if rows >= max_rows:
            yield events[start : position + 1]
            start, rows = position + 1, 0
    if start < len(events):
        yield events[start:]


def _scheduled(item: PreparedEvent) -> ScheduledEvent:
    """The event without its `send_at`: at that time it is processed at once, even if clocks differ.

    Raises `InvalidEvent` (too_large) if it would be refused then: encoded again, numbers may be longer.
    """
    assert item.effects.send_at is not None
    body = {name: value for name, value in item.event.body.items() if name != "send_at"}
    body["event_id"] = item.event.event_id
    encoded = exact_json.encode(body)
    if len(encoded) > MAX_EVENT_BYTES:
        raise InvalidEvent(
            "too_large", f"{len(encoded)} bytes with its id; an event for later has at most {MAX_EVENT_BYTES}"
        )
    return ScheduledEvent(item.effects.send_at, encoded, item.message.sender)


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


def _rejected(message: SourceMessage, error: InvalidEvent) -> Rejected:
    EVENTS.labels(message.source, "rejected").inc()
    REJECTED.labels(message.source, error.reason).inc()
    return Rejected(message, error)
