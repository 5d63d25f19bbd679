"""Transactions of parked events: few and short, so that they do not delay other events."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple
from uuid import UUID

from app.domain.errors import InboxesLocked
from app.ingest.batch import PreparedEvent, Rejected
from app.ingest.pipeline import Pipeline
from app.runtime.backoff import Backoff
from app.runtime.tasks import end
from app.store.writer import MAX_EVENTS_THAT_WAIT

# While a transaction is open, batches of other events wait for its inboxes, and after 0.2 s are parked.
MAX_EVENTS_PER_WRITE = 200
MAX_ROWS_PER_WRITE = 1_000
LOCKED_BACKOFF = Backoff(first=0.05, cap=0.2)
MAX_LOCKED_ATTEMPTS = 6
"""Retries while other batches hold the locks of a lane's inboxes; then the lane is retried later."""
MAX_PAUSE_SECONDS = 0.2
MAX_ATTEMPTS_AT_ONCE = 2  # of a lane that is `first`; during a pause it would miss a transaction


class _Lane(NamedTuple):
    ready: Sequence[PreparedEvent]
    first: bool
    outcome: asyncio.Future[list[Rejected]]

    def reaches(self, users: frozenset[UUID]) -> bool:
        drafts = (item.effects.notification for item in self.ready)
        return any(draft is not None and not users.isdisjoint(draft.receivers) for draft in drafts)


class SharedWrites:
    """Lanes that are resolved at the same time share a transaction: with a transaction for each, the batches
    of other events would wait for all of them.
    """

    def __init__(self, pipeline: Pipeline, backoff: Backoff = LOCKED_BACKOFF) -> None:
        self._pipeline = pipeline
        self._backoff = backoff
        self._pending: list[_Lane] = []
        self._writing: asyncio.Task[None] | None = None

    async def stop(self) -> None:
        """Cancel the writes in progress."""
        if self._writing is not None:
            await end(self._writing)

    async def write(self, ready: Sequence[PreparedEvent], *, first: bool = False) -> list[Rejected]:
        """Store the events of a lane and push them. Returns those that Postgres cannot store.

        Those of a lane that is `first` (at most `MAX_EVENTS_THAT_WAIT`) come before any backlog of the
        others, in transactions that wait for locks as any batch does. Raises `InboxesLocked` if the inbox of
        a receiver stays locked by others; no other lane waits for it.
        """
        if not ready:
            return []
        for attempt in range(MAX_LOCKED_ATTEMPTS - 1):
            with suppress(InboxesLocked):
                return await self._shared(ready, first)
            if attempt >= MAX_ATTEMPTS_AT_ONCE or not first:
                await asyncio.sleep(self._backoff.delay(attempt))
        return await self._shared(ready, first)

    async def _shared(self, ready: Sequence[PreparedEvent], first: bool) -> list[Rejected]:
        lane = _Lane(ready, first, asyncio.get_running_loop().create_future())
        later = (place for place, each in enumerate(self._pending) if first and not each.first)
        self._pending.insert(next(later, len(self._pending)), lane)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all(), name="write parked events")
        return await lane.outcome

    async def _write_all(self) -> None:
        try:
            while lanes := self._next():
                await self._write(lanes)
                # The slower the node is for other events, the longer this pause. Even without a pause, a lane
                # that is retried at once is in the next transaction.
                await asyncio.sleep(min(self._pipeline.last_batch(), MAX_PAUSE_SECONDS))
        finally:
            self._writing = None

    def _next(self) -> Sequence[_Lane]:
        """Take the events of the next transaction."""
        self._pending = [lane for lane in self._pending if not lane.outcome.done()]  # some were cancelled
        events = rows = number = 0
        for lane in self._pending:
            most = MAX_EVENTS_THAT_WAIT if self._pending[0].first else MAX_EVENTS_PER_WRITE
            own = number > 0 and self._pending[0].first
            if own and (not lane.first or events + len(lane.ready) > most):
                break  # lanes that are `first` get a small transaction without others
            number += 1
            events += len(lane.ready)
            rows += sum(item.rows for item in lane.ready)
            if events >= most or rows >= MAX_ROWS_PER_WRITE:
                break
        taken, self._pending = self._pending[:number], self._pending[number:]
        return taken

    async def _write(self, lanes: Sequence[_Lane]) -> None:
        events = [item for lane in lanes for item in lane.ready]
        try:
            rejected = await self._pipeline.write(events, MAX_ROWS_PER_WRITE)
        except InboxesLocked as error:
            free = [lane for lane in lanes if not lane.reaches(error.users)]
            _fail([lane for lane in lanes if len(free) == len(lanes) or lane.reaches(error.users)], error)
            if 0 < len(free) < len(lanes):
                await self._write(free)
        except Exception as error:
            if len(lanes) == 1:
                _fail(lanes, error)
            for lane in lanes if len(lanes) > 1 else ():  # one of them may be the cause
                await self._write([lane])
        except BaseException:
            for lane in lanes:
                lane.outcome.cancel()
            raise
        else:
            for lane in lanes:
                own = {item.message.parked_id for item in lane.ready}
                if not lane.outcome.done():
                    lane.outcome.set_result([each for each in rejected if each.message.parked_id in own])


def _fail(lanes: Sequence[_Lane], error: Exception) -> None:
    for lane in lanes:
        if not lane.outcome.done():
            lane.outcome.set_exception(error)
