"""Works off broadcasts: a page of receivers a transaction, in the lane of large events.

Nodes share the work: a broadcast is with one of them at a time, for as long as its lease. The transaction of
a page moves the broadcast on, so whenever a node dies, each person is notified once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple
from uuid import UUID

from app.domain.audiences import AudiencePage, BroadcastWork
from app.domain.errors import InboxesLocked, InvalidEvent, PageTaken, Unavailable
from app.domain.planning import EXPIRED
from app.domain.time import Now, moment
from app.ingest.amended_pages import AmendedEvent
from app.ingest.batch import PreparedEvent, Rejected
from app.ingest.pages import message_of, once_per_locale, page_of
from app.ingest.pipeline import Pipeline
from app.runtime.backoff import Backoff
from app.runtime.metrics import BROADCAST_PEOPLE, BROADCASTS_OLDEST, BROADCASTS_RUNNING
from app.runtime.services import Background
from app.store.broadcasts import PageRecord
from app.store.ports import Audiences, Broadcasts

log = logging.getLogger("hub.broadcasts")

MAX_PEOPLE_PER_PAGE = 250
"""As many as a transaction of large events has: with longer ones others would wait longer."""
POLL_SECONDS = 2.0  # in case another node accepted a broadcast and died
LEASE_SECONDS = 10.0  # until another node continues what a dead one began
MAX_TURN_SECONDS = 2.0  # that a node works on a broadcast before it looks for others
MAX_PAUSE_SECONDS = 0.2  # between pages, while other events are written
LOCKED_PAUSE_SECONDS = 1.0  # while all who are left have a locked inbox
POSTGRES_BACKOFF = Backoff(first=1.0, cap=5.0)
RELEASE_TIMEOUT_SECONDS = 1.0


class BroadcastPorts(NamedTuple):
    """The dependencies of `BroadcastWorker`."""

    store: Broadcasts
    audiences: Audiences


class BroadcastWorker:
    """Works off broadcasts, together with the other nodes."""

    def __init__(self, pipeline: Pipeline, ports: BroadcastPorts, rate: float, now: Now) -> None:
        """`rate` is how many people a second a broadcast may pass; 0: as many as it can."""
        self._pipeline = pipeline
        self._store, self._audiences = ports
        self._rate = rate
        self._now = now
        self._most = max(1, min(MAX_PEOPLE_PER_PAGE, int(rate))) if rate else MAX_PEOPLE_PER_PAGE
        self._working: BroadcastWork | None = None
        self._running = Background(self._run, name="broadcasts")

    async def start(self) -> None:
        """Start working, and return at once."""
        await self._running.start()

    async def stop(self) -> None:
        """Stop. Another node, or the next start, can go on at once."""
        await self._running.stop()
        work, self._working = self._working, None
        if work is not None:
            with suppress(Unavailable, TimeoutError):  # then the lease expires
                async with asyncio.timeout(RELEASE_TIMEOUT_SECONDS):
                    await self._release(work)

    async def work_due(self) -> None:
        """Work off all that is due now, and return when that is done."""
        while (work := await self._store.claim(LEASE_SECONDS)) is not None:
            self._working = work
            await self._turn(work)
            self._working = None

    async def _run(self) -> None:
        accepted, delays = self._pipeline.broadcast_accepted, POSTGRES_BACKOFF.delays()
        while True:
            accepted.clear()
            pause = POLL_SECONDS
            try:
                await self.work_due()
                await self._measure()
                delays = POSTGRES_BACKOFF.delays()
            except Unavailable as error:
                log.warning("broadcasts_unreachable", extra={"why": str(error)})
                pause = next(delays)
            except Exception:
                log.exception("broadcasts_failed")
                pause = next(delays)
            with suppress(TimeoutError):
                await asyncio.wait_for(accepted.wait(), pause)

    async def _measure(self) -> None:
        running, oldest = await self._store.running()
        BROADCASTS_RUNNING.set(running)
        BROADCASTS_OLDEST.set(oldest)

    async def _turn(self, work: BroadcastWork) -> None:
        """Write pages of a broadcast until others are to have a turn, or it is at its end."""
        item = self._prepared(work)
        if not isinstance(item, PreparedEvent):
            await self._fail(work, item.error)
            return
        if not work.counted:
            await self._count(work)
        event = AmendedEvent(item, work.amendments)
        loop = asyncio.get_running_loop()
        end = loop.time() + MAX_TURN_SECONDS
        while loop.time() < end:
            began = loop.time()
            if self._expired(event.item(event.for_most)):
                await self._fail(work, InvalidEvent("expired", EXPIRED.reason))
                return
            following = await self._page(work, event)
            if following is None:
                return
            passed, self._working, work = following.passed, following.work, following.work
            pause = passed / self._rate if self._rate else 0.0
            others = min(self._pipeline.last_batch(), MAX_PAUSE_SECONDS)
            left = max(others, began + pause - loop.time())
            if left > MAX_TURN_SECONDS:
                break
            await asyncio.sleep(left)
        await self._release(work)

    def _prepared(self, work: BroadcastWork) -> PreparedEvent | Rejected:
        """The event, as it is for one person."""
        batch = self._pipeline.prepare([message_of(work)])
        return once_per_locale(batch.ready[0]) if batch.ready else batch.rejected[0]

    def _expired(self, item: PreparedEvent) -> bool:
        draft = item.effects.notification
        details = None if draft is None else draft.details
        return details is not None and details.expired(moment(self._now()))

    async def _count(self, work: BroadcastWork) -> None:
        """Count the audience, for who looks at the progress. A broadcast does not depend on it."""
        try:
            people = await self._audiences.count(work.audience, work.accepted_at)
            await self._store.counted(work.event_id, people)
        except Unavailable as error:
            log.warning("audience_not_counted", extra={"event_id": work.event_id, "why": str(error)})

    async def _page(self, work: BroadcastWork, event: AmendedEvent) -> _Following | None:
        """Write the next page. Returns what follows it; None if nothing does here."""
        for draft in await self._drafts(work, event):
            try:
                record = await self._write(work, event, draft)
            except InboxesLocked:  # those of all in it: the others that are left don't wait for them
                continue
            return None if record is None else _following(work, draft.page, record)
        await self._store.release(work.event_id, work.pages, LOCKED_PAUSE_SECONDS)
        return None

    async def _drafts(self, work: BroadcastWork, event: AmendedEvent) -> Sequence[_PageDraft]:
        """What may be the next page: people whom the same updates concern. At the end there is one for each
        group of those who were deferred.
        """
        if work.exhausted:
            groups: defaultdict[tuple[int, ...], list[UUID]] = defaultdict(list)
            for user in work.deferred:
                groups[event.of(user)].append(user)
            drafts = []
            for updates, users in groups.items():
                now = {*users[: self._most]}
                page = AudiencePage(users[: self._most], work.cursor, True)
                left = [user for user in work.deferred if user not in now]
                drafts.append(_PageDraft(updates, page, left))
            return drafts
        page = await self._audiences.page(work.audience, work.accepted_at, work.cursor, self._most)
        others = [user for user in page.users if event.of(user) != event.for_most]
        users = [user for user in page.users if event.of(user) == event.for_most]
        return [_PageDraft(event.for_most, page._replace(users=users), [*work.deferred, *others])]

    async def _write(self, work: BroadcastWork, event: AmendedEvent, draft: _PageDraft) -> PageRecord | None:
        """Write the page, without those whose inbox is locked: they are deferred. None if nothing is.

        Raises `InboxesLocked` if all of them were deferred before, and are locked.
        """
        updates, page, deferred = draft
        users = list(page.users)
        while True:
            pause = len(users) / self._rate if self._rate else 0.0
            progress = (page.cursor, page.exhausted, deferred, len(users))
            record = PageRecord(work.event_id, work.pages, *progress, pause, LEASE_SECONDS, work.amended)
            wanted = [user for user in users if user not in event.retracted]
            try:
                rejected = await self._pipeline.write([page_of(event.item(updates), wanted, record)])
            except PageTaken:  # another node wrote it, or somebody paused, changed or cancelled it
                return None
            except InboxesLocked as error:
                free = [user for user in users if user not in error.users]
                if len(free) == len(users) or (work.exhausted and not free):
                    raise
                deferred = deferred + [user for user in users if user in error.users]
                users = free
                continue
            if rejected:
                await self._fail(work, rejected[0].error)
                return None
            return record

    async def _release(self, work: BroadcastWork) -> None:
        await self._store.release(work.event_id, work.pages)

    async def _fail(self, work: BroadcastWork, error: InvalidEvent) -> None:
        log.error("broadcast_failed", extra={"event_id": work.event_id, "reason": error.reason})
        await self._store.fail(work.event_id, f"{error.reason}: {error}")


class _PageDraft(NamedTuple):
    updates: tuple[int, ...]
    page: AudiencePage
    deferred: list[UUID]


class _Following(NamedTuple):
    work: BroadcastWork
    passed: int


def _following(work: BroadcastWork, page: AudiencePage, record: PageRecord) -> _Following | None:
    """What comes after a page; None if it was the last one."""
    BROADCAST_PEOPLE.inc(record.passed)
    if record.is_last:
        log.info("broadcast_done", extra={"event_id": work.event_id})
        return None
    following = work._replace(
        pages=work.pages + 1, cursor=page.cursor, exhausted=page.exhausted, deferred=record.deferred
    )
    return _Following(following, record.passed)
