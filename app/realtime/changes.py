"""Commands of a user to their inbox: stored, then sent to all their devices with the counters after it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from uuid import UUID
from weakref import WeakValueDictionary

from msgspec import Raw

from app.domain.amendments import Amended
from app.domain.errors import Unavailable
from app.domain.notifications import ExpiredNotifications, InboxCounters, Notification
from app.realtime.bus import Bus
from app.realtime.protocol import detailed_json
from app.realtime.session_frames import (
    AllArchived,
    AllDeleted,
    AllRead,
    AllSeen,
    Moved,
    NotificationArchived,
    NotificationDeleted,
    NotificationRead,
    NotificationRetracted,
    NotificationSnoozed,
    NotificationUnarchived,
    NotificationUnread,
    NotificationUpdated,
    OfAll,
    session_frame,
)
from app.store.ports import Inboxes, Triage
from handlers.registry import details_json

LOOK_AT_TIMES_SECONDS = 1.0
MAX_DUE_ROWS = 500  # of one transaction, whose inboxes are locked until its end
Changed = tuple[Notification, InboxCounters]


class InboxCommands:
    """Each call raises `Unavailable` when Postgres doesn't answer. The commands of one user on this node run
    one after the other, so that the last counters that devices get are the latest.
    """

    def __init__(self, store: Inboxes, triage: Triage, bus: Bus) -> None:
        self._store = store
        self._triage = triage
        self._bus = bus
        self._turns: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    async def read(self, notification: int, user: UUID) -> Changed | None:
        """Mark a notification as read. Returns it and the counters; None when the inbox lacks that id."""
        async with self._turn(user):
            changed = await self._store.mark_read(notification, user)
            if changed is not None:
                self._bus.send_frame(user, session_frame(NotificationRead(notification, *changed[1])))
            return changed

    async def read_all(self, user: UUID, up_to: int | None) -> tuple[int, InboxCounters]:
        """Mark all as read up to and with this `seq`, or all there are. Returns the last `seq` that is read,
        and the counters. Later notifications are unread, whatever `up_to` was.
        """
        return await self._change_all(AllRead, self._store.mark_all_read, user, up_to)

    async def seen_all(self, user: UUID, up_to: int | None) -> tuple[int, InboxCounters]:
        """Note that the user saw all up to and with this `seq`, or all there are. Returns as `read_all`."""
        return await self._change_all(AllSeen, self._store.mark_all_seen, user, up_to)

    async def archive_all(self, user: UUID, up_to: int | None) -> tuple[int, InboxCounters]:
        """Archive all of the inbox up to and with this `seq`, or all there are. Returns as `read_all`."""
        return await self._change_all(AllArchived, self._triage.archive_all, user, up_to)

    async def delete_all(self, user: UUID, up_to: int | None) -> tuple[int, InboxCounters]:
        """Delete all of the inbox up to and with this `seq`, or all there are. Returns as `read_all`."""
        return await self._change_all(AllDeleted, self._store.delete_all, user, up_to)

    async def _change_all(
        self,
        frame: type[OfAll],
        change: Callable[[UUID, int | None], Awaitable[tuple[int, InboxCounters]]],
        user: UUID,
        up_to: int | None,
    ) -> tuple[int, InboxCounters]:
        async with self._turn(user):
            until, count = await change(user, up_to)
            self._bus.send_frame(user, session_frame(frame(until, *count)))
            return until, count

    async def delete(self, notification: int, user: UUID) -> InboxCounters | None:
        """Delete a notification. Returns the counters without it; None when there was none with that id."""
        async with self._turn(user):
            count = await self._store.delete(notification, user)
            if count is not None:
                self._bus.send_frame(user, session_frame(NotificationDeleted(notification, *count)))
            return count

    async def unread(self, notification: int, user: UUID) -> Changed | None:
        """Mark a notification of the inbox as unread. Returns it and the counters; None if there is none."""
        return await self._move(
            NotificationUnread, user, partial(self._store.mark_unread, notification, user)
        )

    async def archive(self, notification: int, user: UUID) -> Changed | None:
        """Move a notification from the inbox to the archive. Returns as `unread`."""
        return await self._move(NotificationArchived, user, partial(self._triage.archive, notification, user))

    async def unarchive(self, notification: int, user: UUID) -> Changed | None:
        """Put a notification that is archived or snoozed back into the inbox. Returns as `unread`."""
        async with self._turn(user):
            changed = await self._triage.unarchive(notification, user)
            if changed is None or changed[0].id == notification:
                return self._moved(NotificationUnarchived, user, changed)
            self._bus.send_frame(user, session_frame(NotificationDeleted(notification, *changed[1])))
            self._bus.publish([changed[0]])
            return changed

    async def snooze(self, notification: int, user: UUID, until: datetime) -> Changed | None:
        """Move a notification out of the inbox until a time. Returns as `unread`."""
        snooze = partial(self._triage.snooze, notification, user, until)
        return await self._move(NotificationSnoozed, user, snooze)

    async def _move(
        self, frame: type[Moved], user: UUID, change: Callable[[], Awaitable[Changed | None]]
    ) -> Changed | None:
        async with self._turn(user):
            return self._moved(frame, user, await change())

    def _moved(self, frame: type[Moved], user: UUID, changed: Changed | None) -> Changed | None:
        if changed is not None:
            notification, counters = changed
            self._bus.send_frame(user, session_frame(frame(notification.id, *counters, _shown(notification))))
        return changed

    async def look_at_times(self) -> None:
        """Delete all whose time is over, and put those whose snooze has ended into their inboxes. While
        Postgres doesn't answer, or an inbox is locked, that waits.
        """
        with suppress(Unavailable):
            if not await self._triage.is_anything_due():
                return  # each of what follows takes a transaction
            for expire in (self._store.expire, self._triage.expire_archived):
                await self._expire(expire)
            await self._wake()
            await self._triage.move_swept(MAX_DUE_ROWS)

    async def _wake(self) -> None:
        while woken := await self._triage.wake(MAX_DUE_ROWS):
            self._bus.publish(woken)
            if len(woken) < MAX_DUE_ROWS:
                return

    async def _expire(self, expire: Callable[[int], Awaitable[Sequence[ExpiredNotifications]]]) -> None:
        while True:
            expired = await expire(MAX_DUE_ROWS)
            for user, ids, counters in expired:
                for each in ids:
                    self._bus.send_frame(user, session_frame(NotificationDeleted(each, *counters)))
            if sum(len(each.ids) for each in expired) < MAX_DUE_ROWS:
                return

    def _turn(self, user: UUID) -> asyncio.Lock:
        return self._turns.setdefault(user, asyncio.Lock())


def amended_frame(amended: Amended) -> bytes:
    """What a publisher's change is to the devices of the receiver."""
    number, _, counters, notification, place = amended
    if notification is None:
        return session_frame(NotificationRetracted(number, *counters))
    return session_frame(NotificationUpdated(number, *counters, _shown(notification), place))


def _shown(notification: Notification) -> Raw:
    return Raw(detailed_json(notification, details_json(notification)))
