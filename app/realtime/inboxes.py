"""Reads of inboxes for connections: all that are requested during one read share the next."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from uuid import UUID

from app.domain.errors import StoreFailed, Unavailable
from app.runtime.shared_calls import SharedCalls
from app.store.inboxes import InboxState
from app.store.ports import InboxStates

log = logging.getLogger("hub.inboxes")

MAX_READERS_PER_QUERY = 100  # connections
PAGE_ROWS = 500  # missed notifications of one answer


class InboxReader:
    """One read at a time on a node: a thundering herd of reconnects takes one Postgres connection."""

    def __init__(self, store: InboxStates) -> None:
        self._store = store
        self._reads = SharedCalls(self._states, MAX_READERS_PER_QUERY, name="inbox reader")

    async def read(self, user_id: UUID, after: int | None = None) -> InboxState:
        """How the inbox stands now; with `after`, the next `PAGE_ROWS` notifications that follow that `seq`.

        Raises `Unavailable`.
        """
        return await self._reads.ask((user_id, after))

    async def close(self) -> None:
        """End the read under way and cancel all that wait."""
        await self._reads.close()

    async def _states(self, wanted: Sequence[tuple[UUID, int | None]]) -> Sequence[InboxState]:
        try:
            return await self._store.states(wanted, PAGE_ROWS)
        except StoreFailed:
            raise
        except Exception as error:
            if not isinstance(error, Unavailable):
                log.exception("inboxes_unread", extra={"inboxes": len(wanted)})
            raise Unavailable("postgres", "can't read the inbox") from None
