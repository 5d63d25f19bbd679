"""Resolves parked events: reads their group from the user service, then writes them like any other event.
All nodes work on the same table. One call for a group serves all its parked events. Lanes (see
`app.store.parked`) do not wait for each other, and each keeps its order.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice, takewhile
from typing import NamedTuple, Protocol
from uuid import UUID

from app.domain.errors import InboxesLocked, InvalidEvent, Unavailable
from app.domain.identity import EventIdentity
from app.ingest.batch import Batch, PreparedEvent, Rejected, SourceMessage
from app.ingest.chunks import large_apart
from app.ingest.large_events import LargeEvents
from app.ingest.pipeline import Groups, Pipeline
from app.ingest.shared_writes import MAX_EVENTS_PER_WRITE, SharedWrites
from app.runtime.backoff import Backoff
from app.runtime.metrics import PARKED, PARKED_FINISHED, PARKED_OLDEST
from app.runtime.services import Background, every
from app.runtime.tasks import end
from app.store.parked import ParkedEventRecord
from app.store.ports import ParkedEvents
from app.store.writer import MAX_EVENTS_THAT_WAIT

log = logging.getLogger("hub.parked")

MAX_EVENTS_PER_CLAIM = 1_000
MAX_SPARE_LANES = 64  # for events that need no answer, while all others are in use
MAX_LANES = 256  # that a node works on at a time
LEASE_SECONDS = 10.0  # until other nodes claim the lanes of a dead one
RENEW_SECONDS = 3.0  # a call of the user service may take longer than a lease
POLL_SECONDS = 5.0  # in case another node parked an event and died
RETRY_BACKOFF = Backoff(first=0.2, cap=5.0)  # of one lane
POSTGRES_BACKOFF = Backoff(first=1.0, cap=1.0)
RELEASE_TIMEOUT_SECONDS = 1.0
MAX_REASON_CHARS = 500
LARGE_BODY_BYTES = 20_000
"""Larger events are prepared one at a time on a node, because each occupies the event loop for a while."""


class DeadLetters(Protocol):
    """Dead-letters a message through the source that it came from."""

    async def dead_letter(self, message: SourceMessage, labels: bytes, error: InvalidEvent) -> None:
        """Return when the broker has stored the dead letter. Raises `Unavailable`."""


class ParkedPorts(NamedTuple):
    """The dependencies of `ParkedEvents`: store, user service and dead-letter queues."""

    store: ParkedEvents
    groups: Groups
    dead_letters: Callable[[str], DeadLetters | None]
    """By source. An event of a source without a DLQ is only logged."""


class ParkedWorker:
    """Resolves parked events, together with the other nodes."""

    def __init__(self, pipeline: Pipeline, ports: ParkedPorts, backoff: Backoff = RETRY_BACKOFF) -> None:
        """`pipeline` is the pipeline that parks events; `backoff` gives the delays between the attempts of
        one lane.
        """
        self._pipeline = pipeline
        self._store, self._groups, self._dead_letters = ports
        self._backoff = backoff
        self._lanes: dict[asyncio.Task[None], list[ParkedEventRecord]] = {}
        self._unfinished: list[int] = []
        """Events of lanes that have to wait and are still leased."""
        self._claiming: asyncio.Task[Sequence[ParkedEventRecord]] | None = None
        self._writes = SharedWrites(pipeline)
        self._large_events = LargeEvents(pipeline)
        self._one_large_body = asyncio.Lock()
        self._measured_at = -POLL_SECONDS
        self._running = Background(self._run, name="parked events")
        self._renewing = every(RENEW_SECONDS, self.renew, name="leases of parked events", at_start=False)

    async def start(self) -> None:
        """Start resolving, and return at once."""
        await self._running.start()
        await self._renewing.start()

    async def stop(self) -> None:
        """Stop. Other nodes, or the next start, can claim the events in progress at once."""
        await self._renewing.stop()
        await self._running.stop()
        self._unfinished += [event.id for events in self._lanes.values() for event in events]
        await end(*self._lanes)
        await self._writes.stop()
        try:
            async with asyncio.timeout(RELEASE_TIMEOUT_SECONDS):
                if self._claiming is not None:
                    self._unfinished += [event.id for event in await self._claiming]
                await self._release()
        except (Unavailable, TimeoutError) as error:  # then the leases expire
            log.warning("parked_not_released", extra={"events": len(self._unfinished), "why": str(error)})

    async def resolve_due(self) -> None:
        """Resolve all events that are due now, and return when that is done. For use without `start`."""
        while await self._claim() or self._lanes:
            await asyncio.gather(*self._lanes)

    async def renew(self) -> None:
        """Renew the leases of the events in progress. They are short, so that other nodes soon claim the
        events of a dead one.
        """
        leased = [event.id for events in self._lanes.values() for event in events]
        try:
            await self._store.renew(leased, LEASE_SECONDS)
        except (
            Unavailable
        ) as error:  # another node may claim them too, which repeats a call but no notification
            log.warning("parked_unreachable", extra={"why": str(error)})

    async def _run(self) -> None:
        parking = self._pipeline.parking
        while True:
            parking.changed.clear()
            try:
                await self._measure()
                while parking.any and await self._claim():
                    pass
                pause = await self._pause()
            except Unavailable as error:
                log.warning("parked_unreachable", extra={"why": str(error)})
                pause = POSTGRES_BACKOFF.delay(0)
            except Exception:
                log.exception("parked_failed")
                pause = POSTGRES_BACKOFF.delay(0)
            with suppress(TimeoutError):
                await asyncio.wait_for(parking.changed.wait(), pause)

    async def _measure(self) -> None:
        """Count parked events periodically, including those of other nodes."""
        now = asyncio.get_running_loop().time()
        if now - self._measured_at < POLL_SECONDS:
            return
        state = await self._store.state()
        self._measured_at = now
        parking = self._pipeline.parking
        parking.any = state.events > 0 or parking.news  # the count may be older than the signal
        PARKED.set(state.events)
        PARKED_OLDEST.set(state.oldest)

    async def _pause(self) -> float:
        """Seconds until there is work, unless an event is parked or a lane completes first."""
        if not self._pipeline.parking.any or self._room <= 0:
            return POLL_SECONDS
        due = await self._store.next_due()
        if due is None:
            return POLL_SECONDS
        return min(POLL_SECONDS, max(due, self._groups.pause() or 0.0) + 0.01)

    @property
    def _room(self) -> int:
        """How many more lanes may be claimed. One, if it tests whether the service is back."""
        most = 1 if self._groups.pause() == 0 else MAX_LANES
        return most - len(self._lanes)

    async def _claim(self) -> bool:
        """Start work on due lanes, up to the limit. Returns whether there may be more.

        While the circuit is open, or the limit of lanes that call the user service is reached, it claims only
        lanes that need no answer.
        """
        await self._release()
        asking, room = not self._groups.pause(), self._room
        if (
            room <= 0 and self._pipeline.parking.news
        ):  # a claim is too expensive when there is nothing to claim
            asking, room = False, MAX_LANES + MAX_SPARE_LANES - len(self._lanes)
        if room <= 0:
            return False
        self._pipeline.parking.news = False
        claim = self._store.claim(MAX_EVENTS_PER_CLAIM, room, LEASE_SECONDS, asking=asking)
        # Not cancelled with this task: claimed lanes would stay leased after a stop.
        self._claiming = asyncio.create_task(claim, name="claim parked events")
        try:
            claimed = await asyncio.shield(self._claiming)
        except Exception:
            self._claiming = None
            raise
        self._claiming = None
        lanes: defaultdict[UUID, list[ParkedEventRecord]] = defaultdict(list)
        for event in claimed:
            lanes[event.lane].append(event)
        for events in lanes.values():
            task = asyncio.create_task(self._work(events), name="parked lane")
            self._lanes[task] = events
            task.add_done_callback(self._ended)
        return len(lanes) == room or len(claimed) == MAX_EVENTS_PER_CLAIM

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._lanes[task]
        if not self._lanes or self._room >= MAX_LANES // 2:  # a claim costs more than resolving a lane
            self._pipeline.parking.changed.set()

    async def _work(self, left: list[ParkedEventRecord]) -> None:
        """Resolve the events of a lane, in order, until one has to wait."""
        try:
            while left:
                if len(left[0].body) > LARGE_BODY_BYTES:
                    async with self._one_large_body:
                        await self._resolve(left)
                else:
                    await self._resolve(left)
        except Unavailable as error:  # the user service, Postgres, or the broker of a dead letter
            if error.asked:
                await self._retry(left[0], error)
        except Exception as error:
            log.exception("parked_lane_failed", extra={"event_id": left[0].event_id})
            await self._retry(left[0], error)
        self._unfinished += [event.id for event in left]

    async def _retry(self, head: ParkedEventRecord, error: Exception) -> None:
        """Retry a lane later. The attempt is counted on its first event, for which the others wait."""
        delay = self._backoff.delay(head.attempts)
        try:
            await self._store.retry(head.id, str(error)[:MAX_REASON_CHARS], delay)
        except Unavailable as away:  # then the lease expires
            log.warning("parked_unreachable", extra={"why": str(away)})

    async def _release(self) -> None:
        """Release the leases of all waiting lanes in one transaction."""
        if unfinished := self._unfinished:
            self._unfinished = []
            try:
                await self._store.release(unfinished)
            except BaseException:
                self._unfinished += unfinished
                raise

    async def _resolve(self, left: list[ParkedEventRecord]) -> None:
        """Resolve the first events of the lane that need the same group, and remove them from `left`.

        Raises `Unavailable` if one of them has to wait.
        """
        if dropped := [event for event in left if event.dropped]:
            error = InvalidEvent("dropped", "an operator dropped it with run.py parked")
            await self._reject(left, [self._pipeline.reject(_message(event), error) for event in dropped])
            return
        alike = takewhile(lambda event: _question(event) == _question(left[0]), left)
        # Events that waited for a lock or were tried before come before any backlog, such as a long lane is.
        few = left[0].group_id is None and len(left) <= MAX_EVENTS_THAT_WAIT
        first = few or left[0].attempts > 0
        same = [*islice(alike, MAX_EVENTS_THAT_WAIT if first else MAX_EVENTS_PER_WRITE)]
        messages = {event.id: _message(event) for event in same}
        try:
            batch = await self._answered(left[0], [*messages.values()])
            rejected = batch.rejected + await self._store_all(batch, left, first=first)
        except Unavailable as error:
            locked = isinstance(error, InboxesLocked)
            final = InvalidEvent("inbox_locked" if locked else "user_service_unavailable", str(error))
            overdue = [messages[event.id] for event in left if event.overdue and event.id in messages]
            await self._reject(left, [self._pipeline.reject(each, final) for each in overdue])
            if not left:
                return
            raise
        await self._reject(left, rejected)

    async def _answered(self, head: ParkedEventRecord, messages: Sequence[SourceMessage]) -> Batch:
        """Prepare the messages that need the same answer as `head`. Raises `Unavailable`."""
        if head.group_id is not None:
            return await self._pipeline.answered(
                messages, head.group_id, fresh=head.fresh, optional=head.optional
            )
        prepared, batch = Batch([], []), Batch([], [])
        await self._pipeline.prepare_into(prepared, messages)
        batch.rejected.extend(prepared.rejected)
        for item in prepared.events:
            if isinstance(item, PreparedEvent):
                batch.events.append(item)
            else:  # its answer is optional, and was cached when it was parked
                answered = await self._pipeline.resolve([item])
                batch.events.extend(answered.events)
                batch.rejected.extend(answered.rejected)
        return batch

    async def _store_all(self, batch: Batch, left: list[ParkedEventRecord], *, first: bool) -> list[Rejected]:
        """Store the events in order and remove the stored ones from `left`. Returns the rejected ones."""
        bug = InvalidEvent("handler_failed", "the hub failed to process it; the hub's log has the traceback")
        rejected = [self._pipeline.reject(each.message, bug) for each in batch.parked]
        for part, is_large in large_apart(batch.ready):
            try:
                refused = await (
                    self._large_events.write(part[0]) if is_large else self._writes.write(part, first=first)
                )
            except Unavailable:
                raise
            except Exception:
                log.exception("parked_events_failed", extra={"events": len(part)})
                refused = [self._pipeline.reject(each.message, bug) for each in part]
            rejected += refused
            stored = {item.message.parked_id for item in part} - {each.message.parked_id for each in refused}
            left[:] = [event for event in left if event.id not in stored]
            PARKED_FINISHED.labels("stored").inc(len(stored))
        return rejected

    async def _reject(self, left: list[ParkedEventRecord], rejected: Sequence[Rejected]) -> None:
        """Dead-letter them one after the other, and remove them from `left`.

        Each is marked at once, so a crash in between repeats at most one dead letter.
        """
        known = {event.id: event for event in left}
        for message, error in rejected:
            assert message.parked_id is not None
            event = known[message.parked_id]
            place = self._dead_letters(message.source)
            if place is not None and event.labels is not None:
                await place.dead_letter(message, event.labels, error)
            else:
                log.error("parked_event_rejected", extra={"event": message.dedup_key, "reason": error.reason})
            await self._store.finish([event.id], f"{error.reason}: {error}"[:MAX_REASON_CHARS])
            left.remove(event)
            PARKED_FINISHED.labels("dead_lettered").inc()


def _question(event: ParkedEventRecord) -> tuple[object, ...]:
    """What the event needs from the user service. Events with the same need are resolved together, except
    large ones.
    """
    alone = event.id if len(event.body) > LARGE_BODY_BYTES else None
    return event.group_id, event.fresh, event.optional, alone


def _message(event: ParkedEventRecord) -> SourceMessage:
    return SourceMessage(
        event.source,
        event.dedup_key,
        event.body,
        None,
        event.event_type,
        event.happened_at,
        event.sender,
        parked_id=event.id,
        event_id=event.event_id,
        identity=None if event.fingerprint is None else EventIdentity(event.fingerprint, event.sender),
    )
