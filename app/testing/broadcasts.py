"""Broadcasts and their audiences in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.domain.amendments import Amendment, noted
from app.domain.audiences import (
    AudiencePage,
    Broadcast,
    BroadcastAudience,
    BroadcastState,
    BroadcastWork,
)
from app.domain.errors import PageTaken
from app.domain.time import Now, moment
from app.store.broadcasts import TOPIC_DELETED, BroadcastDraft, PageRecord
from app.store.topics import FIRST
from app.testing.people import MemoryPeople
from app.testing.topics import MemoryTopics


@dataclass
class _BroadcastRow:
    work: BroadcastWork
    number: int
    thread_key: str | None
    state: BroadcastState = BroadcastState.RUNNING
    reason: str | None = None
    people: int | None = None
    passed: int = 0
    notified: int = 0
    deliveries: int = 0
    due_at: float = 0.0
    leased_until: float = 0.0
    finished_at: datetime | None = None

    @property
    def shown(self) -> Broadcast:
        """The row as it is shown."""
        work = self.work
        return Broadcast(
            work.event_id,
            work.event_type,
            work.audience,
            self.state,
            self.reason,
            self.people,
            self.passed,
            self.notified,
            self.deliveries,
            len(work.deferred),
            work.accepted_at,
            self.finished_at,
        )


class MemoryBroadcasts:
    """`Broadcasts` without Postgres."""

    def __init__(self, check: Callable[[], None], now: Now) -> None:
        """`check` raises `Unavailable` while the store is not to answer."""
        self._check = check
        self._now = now
        self._rows: dict[str, _BroadcastRow] = {}

    def accept(self, event_id: str, sender: str | None, draft: BroadcastDraft) -> None:
        """See `app.store.broadcasts.accept`."""
        event_type, source, audience, body, happened_at, thread_key = draft
        accepted_at = moment(self._now())
        event = (event_id, event_type, source, sender, body, happened_at, accepted_at)
        work = BroadcastWork(*event, audience, 0, FIRST, False, (), False)
        self._rows.setdefault(event_id, _BroadcastRow(work, len(self._rows), thread_key))

    def check_page(self, page: PageRecord) -> None:
        """Raises `PageTaken`."""
        row = self._rows.get(page.event_id)
        next_page = None if row is None else (row.work.pages, row.work.amended)
        if row is None or row.state is not BroadcastState.RUNNING or next_page != (page.number, page.amended):
            raise PageTaken(page.event_id)

    def advance(self, page: PageRecord, notified: int, deliveries: int) -> None:
        """See `app.store.broadcasts.advance`."""
        self.check_page(page)
        row, now = self._rows[page.event_id], self._now()
        row.work = row.work._replace(
            pages=page.number + 1, cursor=page.cursor, exhausted=page.exhausted, deferred=tuple(page.deferred)
        )
        row.passed += page.passed
        row.notified += notified
        row.deliveries += deliveries
        row.due_at, row.leased_until = now + page.pause, now + page.lease
        if page.is_last:
            self._end(row, BroadcastState.DONE)

    async def claim(self, lease: float) -> BroadcastWork | None:
        """As `Broadcasts.claim`."""
        self._check()
        now = self._now()
        due = [
            row
            for row in self._rows.values()
            if row.state is BroadcastState.RUNNING and row.due_at <= now and row.leased_until <= now
        ]
        if not due:
            return None
        row = min(due, key=lambda each: each.due_at)
        row.leased_until = now + lease
        return row.work._replace(counted=row.people is not None)

    async def release(self, event_id: str, pages: int, pause: float = 0.0) -> None:
        """As `Broadcasts.release`."""
        self._check()
        row = self._rows[event_id]
        if row.work.pages == pages and row.state is BroadcastState.RUNNING:
            row.leased_until, row.due_at = 0.0, max(row.due_at, self._now() + pause)

    async def counted(self, event_id: str, people: int) -> None:
        """As `Broadcasts.counted`."""
        self._check()
        self._rows[event_id].people = people

    async def fail(self, event_id: str, reason: str) -> None:
        """As `Broadcasts.fail`."""
        self._check()
        row = self._rows[event_id]
        if row.finished_at is None:
            self._end(row, BroadcastState.FAILED, reason)

    async def get(self, event_id: str, sender: str | None = None) -> Broadcast | None:
        """As `Broadcasts.get`."""
        self._check()
        row = self._rows.get(event_id)
        return row.shown if row is not None and _is_of(row, sender) else None

    async def newest(
        self, limit: int, before: str | None = None, sender: str | None = None
    ) -> Sequence[Broadcast]:
        """As `Broadcasts.newest`."""
        self._check()
        end = len(self._rows) if before is None else self._rows[before].number
        rows = [row for row in self._rows.values() if row.number < end and _is_of(row, sender)]
        return [row.shown for row in reversed(rows)][:limit]

    async def pause(self, event_id: str) -> bool:
        """As `Broadcasts.pause`."""
        return self._move(event_id, BroadcastState.RUNNING, BroadcastState.PAUSED)

    async def resume(self, event_id: str) -> bool:
        """As `Broadcasts.resume`."""
        return self._move(event_id, BroadcastState.PAUSED, BroadcastState.RUNNING)

    async def cancel(self, event_id: str) -> bool:
        """As `Broadcasts.cancel`."""
        self._check()
        row = self._rows.get(event_id)
        if row is None or row.finished_at is not None:
            return False
        self._end(row, BroadcastState.CANCELLED)
        return True

    def stop(self, event_id: str, reason: str) -> None:
        """As `app.store.broadcasts.stop`."""
        row = self._rows.get(event_id)
        if row is not None and row.finished_at is None:
            self._end(row, BroadcastState.CANCELLED, reason)

    def note(self, event_id: str | None, sender: str | None, amendment: Amendment) -> None:
        """See `app.store.broadcasts.note`."""
        for name, row in self._rows.items():
            of_thread = event_id is None and row.thread_key == amendment.thread_key and _is_of(row, sender)
            if row.finished_at is None and (of_thread or name == event_id):
                changes = noted(row.work.amendments, amendment)
                row.work = row.work._replace(amendments=changes, amended=row.work.amended + 1)
                row.leased_until = 0.0

    def stop_topic(self, topic: str) -> None:
        """As `app.store.broadcasts.END_OF_TOPIC`."""
        for row in self._rows.values():
            if row.work.audience.topic == topic and row.finished_at is None:
                self._end(row, BroadcastState.CANCELLED, TOPIC_DELETED)

    async def running(self) -> tuple[int, float]:
        """As `Broadcasts.running`."""
        self._check()
        rows = [row for row in self._rows.values() if row.state is BroadcastState.RUNNING]
        oldest = min((row.work.accepted_at.timestamp() for row in rows), default=self._now())
        return len(rows), self._now() - oldest

    def _move(self, event_id: str, of: BroadcastState, to: BroadcastState) -> bool:
        self._check()
        row = self._rows.get(event_id)
        if row is None or row.state is not of:
            return False
        row.state, row.leased_until, row.due_at = to, 0.0, self._now()
        return True

    def _end(self, row: _BroadcastRow, state: BroadcastState, reason: str | None = None) -> None:
        row.state, row.reason, row.finished_at = state, reason, moment(self._now())
        row.work = row.work._replace(body=b"", deferred=(), amendments=())


def _is_of(row: _BroadcastRow, sender: str | None) -> bool:
    return sender is None or row.work.sender in (None, sender)


class MemoryAudiences:
    """`Audiences` without Postgres."""

    def __init__(
        self, topics: MemoryTopics, people: MemoryPeople, inboxes: Collection[UUID], locale: str
    ) -> None:
        """`inboxes`: whose inboxes there are; `locale` is that of people who have set none."""
        self._topics = topics
        self._people = people
        self._inboxes = inboxes
        self._locale = locale

    async def page(
        self, audience: BroadcastAudience, accepted_at: datetime, after: UUID, limit: int
    ) -> AudiencePage:
        """As `Audiences.page`."""
        people = [user for user in sorted(await self._all(audience, accepted_at)) if user > after][:limit]
        wanted = [user for user in people if await self._matches(user, audience)]
        return AudiencePage(wanted, people[-1] if people else after, len(people) < limit)

    async def count(self, audience: BroadcastAudience, accepted_at: datetime) -> int:
        """As `Audiences.count`."""
        everyone = await self._all(audience, accepted_at)
        return sum([await self._matches(user, audience) for user in everyone])

    async def _all(self, audience: BroadcastAudience, accepted_at: datetime) -> set[UUID]:
        if audience.topic is None:
            return {*self._inboxes, *self._people.known, *self._topics.following_any}
        followers = await self._topics.followers(audience.topic, 10**9)
        return {each.user_id for each in followers if each.followed_at <= accepted_at}

    async def _matches(self, user: UUID, audience: BroadcastAudience) -> bool:
        if audience.filter is None:
            return True
        profile, _ = await self._people.get(user)
        wanted = audience.filter
        return (not wanted.locale or (profile.locale or self._locale) in wanted.locale) and (
            not wanted.time_zone or profile.time_zone in wanted.time_zone
        )
