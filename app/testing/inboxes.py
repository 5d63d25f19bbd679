"""Single inboxes in memory, as their users read and change them."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import msgspec

from app.domain.details import NOTHING
from app.domain.errors import Unavailable
from app.domain.notifications import (
    ArchivePlace,
    ExpiredNotifications,
    FilteredCount,
    FilteredPage,
    InboxCounters,
    ListWindow,
    Notification,
    NotificationFilter,
    fitting,
)
from app.domain.time import Now, moment

Changed = tuple[Notification, InboxCounters]


@dataclass
class MemoryInbox:
    """One inbox: its counters, its notifications and its archive."""

    last_seq: int = 0
    rev: int = 0
    removed_up_to: int = 0
    seen_up_to: int = 0
    notifications: dict[int, Notification] = field(default_factory=dict)
    """By id, in rising `seq`."""
    archived: dict[int, Notification] = field(default_factory=dict)
    """What is archived or snoozed."""

    @property
    def counters(self) -> InboxCounters:
        """The counters at this moment."""
        unread = [each.seq for each in self.notifications.values() if not each.is_read]
        unseen = sum(seq > self.seen_up_to for seq in unread)
        return InboxCounters(len(unread), self.last_seq, self.rev, unseen, self.seen_up_to)

    def mark(self, notification: int, *, is_read: bool) -> Notification | None:
        """Mark a notification as read or unread; None if there is no such notification."""
        for place in (self.notifications, self.archived):
            if notification in place and (is_read or place is self.notifications):
                place[notification] = msgspec.structs.replace(place[notification], is_read=is_read)
                return place[notification]
        return None

    def remove(self, notification: int) -> Notification | None:
        """Remove a notification; None if there is no such notification."""
        return self.notifications.pop(notification, None) or self.archived.pop(notification, None)

    def put_back(self, notification: Notification) -> Notification:
        """Return a notification from the archive to its place."""
        back = msgspec.structs.replace(notification, snoozed_until=None)
        self.notifications[back.id] = back
        self.notifications = dict(sorted(self.notifications.items(), key=lambda item: item[1].seq))
        return back

    def changed(self) -> InboxCounters:
        """The counters after a change. An inbox that never got anything has nothing to change."""
        self.rev += 1 if self.last_seq else 0
        return self.counters


class MemoryInboxes:
    """`Inboxes` and `Triage` without Postgres."""

    def __init__(self, now: Now) -> None:
        self.unavailable = False
        self._now = now
        self._inboxes: dict[UUID, MemoryInbox] = {}
        self._ids = itertools.count(1)
        self._events: dict[int, str] = {}
        """By notification, deleted ones too."""

    def inbox(self, receiver: UUID) -> list[Notification]:
        """All notifications of the inbox, in rising `seq`."""
        return [*self._inbox(receiver).notifications.values()]

    async def page(
        self,
        receiver: UUID,
        limit: int,
        before: int | None = None,
        unread: bool = False,
        skip: int = 0,
        most_bytes: int | None = None,
    ) -> list[Notification]:
        """As `Inboxes.page`."""
        newest_first = reversed(self._inbox(receiver).notifications.values())
        found = [each for each in newest_first if not (unread and each.is_read)]
        return _page(found, limit, before, skip, most_bytes)

    async def filtered_page(
        self, receiver: UUID, wanted: NotificationFilter, window: ListWindow, most_bytes: int
    ) -> FilteredPage:
        """As `Inboxes.filtered_page`."""
        inbox, (limit, before, unread, place) = self._inbox(receiver), window
        found = [
            each
            for each in (inbox.notifications if place is None else inbox.archived).values()
            if _matches(wanted, each)
            and (place is None or (each.snoozed_until is None) is (place == "archived"))
            and not (unread and each.is_read)
        ]
        found.sort(key=lambda each: -each.seq)
        page = _page(found, limit + 1, before, 0, None)
        end = min(limit, fitting(page, most_bytes))
        return FilteredPage(page[:end], page[end - 1].seq if end < len(page) else None)

    async def filtered_count(self, receiver: UUID, wanted: NotificationFilter) -> FilteredCount:
        """As `Inboxes.filtered_count`."""
        inbox = self._inbox(receiver)
        found = [e.seq for e in inbox.notifications.values() if not e.is_read and _matches(wanted, e)]
        return FilteredCount(len(found), sum(seq > inbox.seen_up_to for seq in found), exact=True)

    async def counters(self, receiver: UUID) -> InboxCounters:
        """As `Inboxes.counters`."""
        return self._inbox(receiver).counters

    async def mark_read(self, notification: int, receiver: UUID) -> Changed | None:
        """As `Inboxes.mark_read`."""
        inbox = self._inbox(receiver)
        found = inbox.mark(notification, is_read=True)
        return None if found is None else (found, inbox.changed())

    async def mark_all_read(self, receiver: UUID, up_to: int | None) -> tuple[int, InboxCounters]:
        """As `Inboxes.mark_all_read`."""
        inbox = self._inbox(receiver)
        until = inbox.last_seq if up_to is None else min(up_to, inbox.last_seq)
        for each in [*inbox.notifications.values()]:
            if each.seq <= until:
                inbox.mark(each.id, is_read=True)
        inbox.seen_up_to = max(until, inbox.seen_up_to)
        return until, inbox.changed()

    async def mark_all_seen(self, receiver: UUID, up_to: int | None) -> tuple[int, InboxCounters]:
        """As `Inboxes.mark_all_seen`."""
        inbox = self._inbox(receiver)
        until = inbox.last_seq if up_to is None else min(up_to, inbox.last_seq)
        inbox.seen_up_to = max(until, inbox.seen_up_to)
        return until, inbox.changed()

    async def mark_unread(self, notification: int, receiver: UUID) -> Changed | None:
        """As `Inboxes.mark_unread`."""
        inbox = self._inbox(receiver)
        found = inbox.mark(notification, is_read=False)
        return None if found is None else (found, inbox.changed())

    async def delete_all(self, receiver: UUID, up_to: int | None) -> tuple[int, InboxCounters]:
        """As `Inboxes.delete_all`."""
        inbox = self._inbox(receiver)
        until = inbox.last_seq if up_to is None else min(up_to, inbox.last_seq)
        inbox.notifications = {id: each for id, each in inbox.notifications.items() if each.seq > until}
        inbox.removed_up_to = max(until, inbox.removed_up_to)
        inbox.seen_up_to = max(until, inbox.seen_up_to)
        return until, inbox.changed()

    async def delete(self, notification: int, receiver: UUID) -> InboxCounters | None:
        """As `Inboxes.delete`."""
        inbox = self._inbox(receiver)
        return inbox.changed() if inbox.remove(notification) else None

    async def expire(self, most: int) -> Sequence[ExpiredNotifications]:
        """As `Inboxes.expire`."""
        return self._expire(most, [(user, each.notifications) for user, each in self._inboxes.items()])

    # Triage

    async def archive(self, notification: int, receiver: UUID) -> Changed | None:
        """As `Triage.archive`."""
        return self._move_out(notification, receiver, None)

    async def snooze(self, notification: int, receiver: UUID, until: datetime) -> Changed | None:
        """As `Triage.snooze`."""
        return self._move_out(notification, receiver, until)

    def _move_out(self, notification: int, receiver: UUID, until: datetime | None) -> Changed | None:
        inbox = self._inbox(receiver)
        found = inbox.remove(notification)
        if found is None:
            return None
        kept = msgspec.structs.replace(found, snoozed_until=until)
        inbox.archived[notification] = kept
        return kept, inbox.changed()

    async def unarchive(self, notification: int, receiver: UUID) -> Changed | None:
        """As `Triage.unarchive`."""
        inbox = self._inbox(receiver)
        if notification in inbox.archived and inbox.archived[notification].seq <= inbox.removed_up_to:
            return self._as_new(inbox, notification, moment(self._now())), inbox.changed()
        found = inbox.remove(notification)
        return None if found is None else (inbox.put_back(found), inbox.changed())

    async def archive_all(self, receiver: UUID, up_to: int | None) -> tuple[int, InboxCounters]:
        """As `Triage.archive_all`."""
        inbox = self._inbox(receiver)
        until = inbox.last_seq if up_to is None else min(up_to, inbox.last_seq)
        for each in [*inbox.notifications.values()]:
            if each.seq <= until:
                inbox.archived[each.id] = inbox.notifications.pop(each.id)
        inbox.seen_up_to = max(until, inbox.seen_up_to)
        return until, inbox.changed()

    async def move_swept(self, most: int) -> int:
        """As `Triage.move_swept`."""
        self._check()
        return 0

    async def archive_page(
        self, receiver: UUID, place: ArchivePlace, limit: int, before: int | None, most_bytes: int
    ) -> list[Notification]:
        """As `Triage.archive_page`."""
        found = [
            each
            for each in sorted(self._inbox(receiver).archived.values(), key=lambda each: -each.seq)
            if (each.snoozed_until is None) is (place == "archived")
        ]
        return _page(found, limit, before, 0, most_bytes)

    async def is_anything_due(self) -> bool:
        """As `Triage.is_anything_due`."""
        self._check()
        now = moment(self._now())
        places = [
            (user, each) for user, of in self._inboxes.items() for each in (of.notifications, of.archived)
        ]
        snoozed = [each.snoozed_until for _, place in places for each in place.values()]
        return any(self._expired(places)) or any(until is not None and until <= now for until in snoozed)

    async def wake(self, most: int) -> Sequence[Notification]:
        """As `Triage.wake`."""
        self._check()
        now = moment(self._now())
        due = sorted(
            (each.snoozed_until, each.id, user)
            for user, inbox in self._inboxes.items()
            for each in inbox.archived.values()
            if each.snoozed_until is not None and each.snoozed_until <= now
        )
        woken = [self._as_new(self._inboxes[user], number, now) for _, number, user in due[:most]]
        return sorted(woken, key=lambda each: (each.receiver, each.seq))

    def _as_new(self, inbox: MemoryInbox, number: int, now: datetime) -> Notification:
        inbox.last_seq += 1
        new = msgspec.structs.replace(
            inbox.archived.pop(number),
            id=next(self._ids),
            seq=inbox.last_seq,
            is_read=False,
            created_at=now,
        )
        self._events[new.id] = self._events[number]
        return inbox.put_back(new)

    async def expire_archived(self, most: int) -> Sequence[ExpiredNotifications]:
        """As `Triage.expire_archived`."""
        return self._expire(most, [(user, each.archived) for user, each in self._inboxes.items()])

    def _expire(
        self, most: int, places: Iterable[tuple[UUID, dict[int, Notification]]]
    ) -> Sequence[ExpiredNotifications]:
        self._check()
        expired = sorted(self._expired(places), key=lambda each: each[:3])
        ids: defaultdict[UUID, list[int]] = defaultdict(list)
        for _, user, notification, place in expired[:most]:
            del place[notification]
            ids[user].append(notification)
        return [
            ExpiredNotifications(user, sorted(each), self._inboxes[user].changed())
            for user, each in ids.items()
        ]

    def _expired(
        self, places: Iterable[tuple[UUID, dict[int, Notification]]]
    ) -> Iterator[tuple[datetime, UUID, int, dict[int, Notification]]]:
        now = moment(self._now())
        for user, place in places:
            for each in place.values():
                until = None if each.details is None else each.details.expires_at
                if until is not None and until <= now:
                    yield until, user, each.id, place

    def _inbox(self, user: UUID) -> MemoryInbox:
        self._check()
        return self._inboxes.get(user) or MemoryInbox()

    def _check(self) -> None:
        if self.unavailable:
            raise Unavailable("postgres", "made unavailable by the test")


def _matches(wanted: NotificationFilter, notification: Notification) -> bool:
    details, code = notification.details or NOTHING, notification.template_code
    category = details.category in (wanted.categories or ()) if details.category else None
    severity = details.severity in (wanted.severities or ()) if details.severity else None
    if category is None:
        category = code in wanted.category_codes
    if severity is None:
        severity = (code in wanted.severity_codes) is not wanted.severity_of_others
    return (wanted.categories is None or category) and (wanted.severities is None or severity)


def _page(
    found: Sequence[Notification], limit: int, before: int | None, skip: int, most_bytes: int | None
) -> list[Notification]:
    page = [each for each in found if before is None or each.seq < before][skip : skip + limit]
    return page[: fitting(page, most_bytes) + 1] if most_bytes else page
