"""Comparing connections with their inboxes: it finds whatever the bus lost."""

from __future__ import annotations

import asyncio
import logging

from app.domain.errors import Unavailable
from app.realtime.catch_up import CatchUp
from app.realtime.connection import Connection
from app.realtime.cursor import DROP, FETCH
from app.realtime.manager import WebSocketManager
from app.realtime.membership import Membership
from app.runtime.backoff import Backoff
from app.runtime.services import Background
from app.store.inboxes import InboxStore

log = logging.getLogger("hub.reconciler")

TICK_SECONDS = 2.0  # seconds between comparisons while Redis is down
# Ticks between comparisons while it is not: nodes may be cut off from Redis without knowing it.
CONNECTED_TICK_COUNT = 8
MAX_INBOXES_PER_QUERY = 2000  # inboxes
GRACE_SECONDS = 0.3  # seconds that a push may take after its commit
RETRY_BACKOFF = Backoff(first=1.5, cap=2.0)  # while Postgres doesn't answer


class Reconciler:
    """Finds connections that miss notifications, and starts their catch-up: on request, and periodically.

    A comparison is one query for some thousands of connections, by primary key.
    """

    def __init__(
        self, manager: WebSocketManager, store: InboxStore, catch_up: CatchUp, membership: Membership
    ) -> None:
        self._manager = manager
        self._store = store
        self._catch_up = catch_up
        self._membership = membership
        self._asked = asyncio.Event()
        self._background = Background(self._run, name="reconciler")
        self._failures = 0
        """In a row."""

    async def start(self) -> None:
        """Begin to compare."""
        await self._background.start()

    async def stop(self) -> None:
        """End a comparison that is under way."""
        await self._background.stop()

    def soon(self) -> None:
        """Compare all connections now; retried until Postgres answers."""
        self._asked.set()

    async def _run(self) -> None:
        ticks = 0
        while True:
            try:
                await asyncio.wait_for(self._asked.wait(), TICK_SECONDS)
            except TimeoutError:
                ticks += 1
            if not self._asked.is_set() and self._membership.joined and ticks < CONNECTED_TICK_COUNT:
                continue
            ticks = 0
            self._asked.clear()
            await self._try_to_compare()

    async def _try_to_compare(self) -> None:
        try:
            await self._compare()
        except Unavailable as error:
            log.warning("not_reconciled", extra={"why": str(error)})
            await asyncio.sleep(RETRY_BACKOFF.delay(self._failures))
            self._failures += 1
            self._asked.set()
        except Exception:  # the next comparison may succeed
            log.exception("reconciling_failed")
        else:
            self._failures = 0

    async def _compare(self) -> None:
        missing: list[tuple[Connection, int]] = []
        users = list(self._manager.users)
        for start in range(0, len(users), MAX_INBOXES_PER_QUERY):
            for user, last_seq in await self._store.last_seqs(users[start : start + MAX_INBOXES_PER_QUERY]):
                connections = self._manager.of(user)
                missing += ((each, last_seq) for each in connections if each.cursor.lacks(last_seq))
        if missing:
            await asyncio.sleep(GRACE_SECONDS)
        found = sum(self._fetch(connection, last_seq) for connection, last_seq in missing)
        if found:
            log.info("reconciled", extra={"connections": found})

    def _fetch(self, connection: Connection, last_seq: int) -> bool:
        """Start the catch-up of a connection. Returns whether it still misses something."""
        step = connection.cursor.compared(last_seq)
        if step is FETCH:
            self._catch_up.start(connection)
        return step is not DROP
