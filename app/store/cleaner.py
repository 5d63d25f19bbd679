"""Forgets what nobody needs any more: ids of events, requests with an Idempotency-Key, events for later,
codes of deliveries that no worker takes, and notifications and deliveries that were kept for long enough.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

from app.domain.errors import Unavailable
from app.store.cleaning import CleaningStore, Kind

log = logging.getLogger("hub.cleaner")

CLEAN_EVERY_SECONDS = 60.0  # seconds
MAX_ROWS_PER_TRANSACTION = 5000  # a longer transaction would delay other writers
MAX_NOTIFICATIONS_PER_TRANSACTION = 500  # rows, whose inboxes are locked until its end
NOTIFICATIONS_PAUSE_SECONDS = 0.01
PAUSE_SECONDS = 0.1  # seconds between two transactions, which others have Postgres to themselves
EXPIRED_FOR = timedelta(
    minutes=5
)  # workers erase a secret at once; one that is left has a channel nobody knows
REQUESTS_KEPT = timedelta(hours=24)


class Cleaner:
    """Removes what is too old, a round a call; of several nodes one at a time."""

    def __init__(self, store: CleaningStore, event_ids_kept: timedelta, retention: timedelta | None) -> None:
        """`retention`: how long notifications and deliveries are kept; None: indefinitely. Inboxes
        continue their `seq`.
        """
        self._store = store
        self._kept = {
            Kind.EVENT_IDS: event_ids_kept,
            Kind.SCHEDULED: event_ids_kept,
            Kind.PARKED: event_ids_kept,
            Kind.BROADCASTS: event_ids_kept,
            Kind.DECISIONS: event_ids_kept,
            Kind.WEBHOOKS: event_ids_kept,
            Kind.REQUESTS: REQUESTS_KEPT,
            Kind.ADDRESSES: REQUESTS_KEPT,
        }
        if retention is not None:
            kinds = (Kind.NOTIFICATIONS, Kind.ARCHIVED, Kind.DELIVERIES)
            self._kept |= dict.fromkeys(kinds, retention)

    async def clean(self) -> None:
        """Remove all that is too old. What a cancelled round leaves is removed by the next one, or by another
        node; while Postgres doesn't answer, nothing is.
        """
        try:
            for kind, kept in self._kept.items():
                await self._remove(kind, kept)
            await self._clear_removed()
            if erased := await self._store.erase_secrets(EXPIRED_FOR):
                log.error("codes_expired_untaken", extra={"rows": erased})
        except Unavailable as error:
            log.warning("cleaning_delayed", extra={"why": str(error)})

    async def _remove(self, kind: Kind, kept: timedelta) -> None:
        """Remove all that is older, unless another node does."""
        most, pause = MAX_ROWS_PER_TRANSACTION, PAUSE_SECONDS
        if kind is Kind.NOTIFICATIONS:
            most, pause = MAX_NOTIFICATIONS_PER_TRANSACTION, NOTIFICATIONS_PAUSE_SECONDS
        rows, removed = 0, most
        while removed == most:
            removed = await self._store.remove(kind, kept, most) or 0
            rows += removed
            await asyncio.sleep(pause)
        if rows:
            log.info("cleaned", extra={"what": kind.name.lower(), "rows": rows})

    async def _clear_removed(self) -> None:
        """Remove what users deleted with all of their inboxes, unless another node does."""
        rows = 0
        while (removed := await self._store.clear_removed(MAX_NOTIFICATIONS_PER_TRANSACTION)) is not None:
            rows += removed
            await asyncio.sleep(NOTIFICATIONS_PAUSE_SECONDS)
        if rows:
            log.info("cleaned", extra={"what": "removed", "rows": rows})
