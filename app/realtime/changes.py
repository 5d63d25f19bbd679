"""Commands of a user to their inbox: stored, then sent to all their devices with the counters after it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from uuid import UUID
from weakref import WeakValueDictionary

from app.domain.errors import Unavailable
from app.domain.notifications import InboxCounters, Notification
from app.realtime.bus import Bus
from app.realtime.session_frames import AllRead, NotificationDeleted, NotificationRead, session_frame
from app.store.ports import Inboxes

EXPIRE_EVERY_SECONDS = 1.0
MAX_EXPIRED_ROWS = 500  # of one transaction, whose inboxes are locked until its end


class InboxCommands:
    """Each call raises `Unavailable` when Postgres doesn't answer. The commands of one user on this node run
    one after the other, so that the last counters that devices get are the latest.
    """

    def __init__(self, store: Inboxes, bus: Bus) -> None:
        self._store = store
        self._bus = bus
        self._turns: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    async def read(self, notification: int, user: UUID) -> tuple[Notification, InboxCounters] | None:
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
        async with self._turn(user):
            until, count = await self._store.mark_all_read(user, up_to)
            self._bus.send_frame(user, session_frame(AllRead(until, *count)))
            return until, count

    async def delete(self, notification: int, user: UUID) -> InboxCounters | None:
        """Delete a notification. Returns the counters without it; None when there was none with that id."""
        async with self._turn(user):
            count = await self._store.delete(notification, user)
            if count is not None:
                self._bus.send_frame(user, session_frame(NotificationDeleted(notification, *count)))
            return count

    async def expire(self) -> None:
        """Delete all whose time is over; while Postgres doesn't answer, or an inbox is locked, that waits."""
        with suppress(Unavailable):
            while True:
                expired = await self._store.expire(MAX_EXPIRED_ROWS)
                for user, ids, counters in expired:
                    for each in ids:
                        self._bus.send_frame(user, session_frame(NotificationDeleted(each, *counters)))
                if sum(len(each.ids) for each in expired) < MAX_EXPIRED_ROWS:
                    return

    def _turn(self, user: UUID) -> asyncio.Lock:
        return self._turns.setdefault(user, asyncio.Lock())
