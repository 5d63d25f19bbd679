"""Passes scheduled events to the pipeline when they are due."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from app.domain.errors import InvalidEvent, Unavailable
from app.ingest.batch import SourceMessage
from app.ingest.batcher import Batcher
from app.ingest.pipeline import SCHEDULE
from app.store.ports import ScheduledEvents
from app.store.scheduled import Due, ScheduledState

log = logging.getLogger("hub.scheduler")

SCHEDULE_POLL_SECONDS = 1.0  # seconds; the maximum delay of an event
MAX_EVENTS_PER_ROUND = 1000
LEASE_SECONDS = (
    60.0  # seconds until other nodes may claim it; processing it twice is harmless, by the event's id
)


class Scheduler:
    """Passes due events on, one round for each call. Several nodes share the work."""

    def __init__(self, store: ScheduledEvents, batcher: Batcher) -> None:
        self._store = store
        self._batcher = batcher

    async def hand_over_due(self) -> None:
        """Pass on all due events. After a cancelled round, another node claims the rest when the lease
        expires. While Postgres does not answer, nothing is passed on.
        """
        try:
            while await self._hand_over_some():
                pass
        except Unavailable as error:
            log.warning("schedule_unreachable", extra={"why": str(error)})

    async def _hand_over_some(self) -> bool:
        """Pass on one claim. Returns whether there may be more."""
        due = await self._store.claim(MAX_EVENTS_PER_ROUND, LEASE_SECONDS)
        await self._hand_over(due)
        return len(due) == MAX_EVENTS_PER_ROUND

    async def _hand_over(self, due: Sequence[Due]) -> None:
        messages = map(due_message, due)
        outcomes = await asyncio.gather(*self._batcher.submit(messages), return_exceptions=True)
        sent = []
        for each, outcome in zip(due, outcomes, strict=True):
            if outcome is None:
                sent.append(each.event_id)
            elif isinstance(outcome, InvalidEvent):
                await self._store.finish([each.event_id], ScheduledState.FAILED, str(outcome))
            else:  # a bug, which the intake has logged; it is retried after the lease
                log.error("schedule_delayed", extra={"event_id": each.event_id})
        if sent:
            await self._store.finish(sent, ScheduledState.SENT)


def due_message(due: Due) -> SourceMessage:
    """The message of a scheduled event that is due."""
    return SourceMessage(
        SCHEDULE,
        due.event_id,
        due.body,
        None,
        None,
        due.send_at,
        due.identity.sender,
        event_id=due.event_id,
        identity=due.identity,
        redelivered=due.again,
    )
