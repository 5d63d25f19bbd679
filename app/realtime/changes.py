"""What a user does to their inbox: stored, then told to all their devices with the exact unread count."""

from __future__ import annotations

import asyncio
from uuid import UUID
from weakref import WeakValueDictionary

from app.notifications import Notification
from app.realtime.bus import Bus
from app.realtime.session_frames import AllRead, NotificationDeleted, NotificationRead, session_frame
from app.store.notifications import NotificationStore


class Changes:
    """Each call raises `Unavailable` when Postgres doesn't answer. The changes of one user on this node come
    one after the other, so that the last count that is told is the last there was.
    """

    def __init__(self, store: NotificationStore, bus: Bus) -> None:
        self._store = store
        self._bus = bus
        self._turns: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    async def read(self, notification: UUID, user: UUID) -> Notification | None:
        """The notification, now read; None when there is none with that id in the inbox."""
        async with self._turn(user):
            changed = await self._store.mark_read(notification, user)
            if changed is None:
                return None
            found, unread = changed
            self._bus.tell(user, session_frame(NotificationRead(found.id, unread)))
            return found

    async def read_all(self, user: UUID, up_to: int | None) -> tuple[int, int]:
        """All are read up to and with this `seq`, or all there are; that `seq`, and how many are unread."""
        async with self._turn(user):
            until, unread = await self._store.mark_all_read(user, up_to)
            self._bus.tell(user, session_frame(AllRead(until, unread)))
            return until, unread

    async def delete(self, notification: UUID, user: UUID) -> bool:
        """Whether there was a notification with that id in the inbox; it is gone now."""
        async with self._turn(user):
            unread = await self._store.delete(notification, user)
            if unread is None:
                return False
            self._bus.tell(user, session_frame(NotificationDeleted(notification, unread)))
            return True

    def _turn(self, user: UUID) -> asyncio.Lock:
        return self._turns.setdefault(user, asyncio.Lock())
