"""Writes large events in a separate lane, a few chunks a transaction (decision 037)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from app.domain.errors import InboxesLocked
from app.domain.identity import Relation
from app.ingest.batch import PreparedEvent, Rejected
from app.ingest.chunks import chunk_keys, divide, remainder, transactions
from app.ingest.identify import conflict
from app.ingest.pipeline import MAX_ROWS_PER_TRANSACTION, Pipeline

MAX_PAUSE_SECONDS = 0.2


class LargeEvents:
    """Writes large parked events: one at a time on a node, alternating with all other batches."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._turn = asyncio.Lock()

    async def write(self, item: PreparedEvent) -> list[Rejected]:
        """Store and push the chunks of the event that are not stored yet. Returns the event if Postgres
        cannot store it.

        The event's id is recorded with the last chunk, in the transaction that deletes its parked row. Raises
        `InboxesLocked` when everything is stored except the chunks whose receivers' inboxes are locked by
        others.
        """
        async with self._turn:
            return await self._write(item)

    async def _write(self, item: PreparedEvent) -> list[Rejected]:
        event_id, keys = item.event.event_id, chunk_keys(item)
        recorded = await self._pipeline.recorded([event_id, *keys])
        relation = {each: item.identity.relation_to(found) for each, found in recorded.items()}
        if Relation.OTHER in relation.values():
            return [self._pipeline.reject(item.message, conflict(event_id))]
        whole = relation.get(event_id) is Relation.SAME
        left = [] if whole else [each for each in divide(item) if each.event.event_id not in recorded]
        parts = [*transactions(left)] or [[]]
        locked: InboxesLocked | None = None
        for number, part in enumerate(parts, 1):
            last = number == len(parts) and locked is None
            try:
                rejected = await self._pipeline.write(
                    [*part, remainder(item)] if last else part, MAX_ROWS_PER_TRANSACTION
                )
            except InboxesLocked as error:
                locked = error
                rejected = await self._write_free(part, error)
            if rejected:
                return rejected[:1]
            await self._yield_to_others()
        if locked is not None:
            raise locked
        return []

    async def _yield_to_others(self) -> None:
        """Pause between chunks: other batches get at least half of the time."""
        await asyncio.sleep(min(self._pipeline.last_batch(), MAX_PAUSE_SECONDS))

    async def _write_free(self, part: Sequence[PreparedEvent], locked: InboxesLocked) -> list[Rejected]:
        """Write the chunks that need none of the locked inboxes."""
        while free := [each for each in part if not _reaches(each, locked)]:
            if len(free) == len(part):
                raise locked
            part = free
            try:
                return await self._pipeline.write(part, MAX_ROWS_PER_TRANSACTION)
            except InboxesLocked as error:
                locked = error
        return []


def _reaches(chunk: PreparedEvent, locked: InboxesLocked) -> bool:
    draft = chunk.effects.notification
    return draft is not None and not locked.users.isdisjoint(draft.receivers)
