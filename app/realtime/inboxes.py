"""Reads of inboxes for connections: all that are requested during one read share the next."""

from __future__ import annotations

import asyncio
import logging
from typing import NamedTuple
from uuid import UUID

from app.domain.errors import StoreFailed, Unavailable
from app.runtime.tasks import end
from app.store.inboxes import InboxState
from app.store.ports import InboxStates

log = logging.getLogger("hub.inboxes")

MAX_READERS_PER_QUERY = 100  # connections
PAGE_ROWS = 500  # missed notifications of one answer


class _Wanted(NamedTuple):
    user_id: UUID
    after: int | None
    answer: asyncio.Future[InboxState]


class InboxReader:
    """One read at a time on a node: a thundering herd of reconnects takes one Postgres connection."""

    def __init__(self, store: InboxStates) -> None:
        self._store = store
        self._wanted: list[_Wanted] = []
        self._reading: asyncio.Task[None] | None = None

    async def read(self, user_id: UUID, after: int | None = None) -> InboxState:
        """How the inbox stands now; with `after`, the next `PAGE_ROWS` notifications that follow that `seq`.

        Raises `Unavailable`.
        """
        answer: asyncio.Future[InboxState] = asyncio.get_running_loop().create_future()
        self._wanted.append(_Wanted(user_id, after, answer))
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_all(), name="inbox reader")
        return await answer

    async def close(self) -> None:
        """End the read under way and cancel all that wait."""
        await end(self._reading)
        for wanted in self._wanted:
            wanted.answer.cancel()

    async def _read_all(self) -> None:
        while self._wanted:
            now, self._wanted = self._wanted[:MAX_READERS_PER_QUERY], self._wanted[MAX_READERS_PER_QUERY:]
            try:
                states = await self._store.states([(w.user_id, w.after) for w in now], PAGE_ROWS)
            except Exception as error:  # whatever it was, no caller is left waiting
                if not isinstance(error, Unavailable):
                    log.exception("inboxes_unread", extra={"inboxes": len(now)})
                failed = isinstance(error, StoreFailed)
                for wanted in now:
                    if not wanted.answer.done():
                        wanted.answer.set_exception(
                            error if failed else Unavailable("postgres", "can't read the inbox")
                        )
                continue
            for wanted, state in zip(now, states, strict=True):
                if not wanted.answer.done():
                    wanted.answer.set_result(state)
