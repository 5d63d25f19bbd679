"""Hands events for later to the pipeline when their time has come."""

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

SCHEDULE_POLL_SECONDS = 1.0  # seconds; so late may an event be
MAX_EVENTS_PER_ROUND = 1000
LEASE_SECONDS = (
    60.0  # seconds until others may try what a node has taken; twice is harmless, by the event's id
)


class Scheduler:
    """Hands over what is due, a round a call; several nodes share the work."""

    def __init__(self, store: ScheduledEvents, batcher: Batcher) -> None:
        self._store = store
        self._batcher = batcher

    async def hand_over_due(self) -> None:
        """Hand over all that is due. A cancelled round leaves events to another node, after the lease;
        while Postgres doesn't answer, nothing is handed over.
        """
        try:
            while await self._hand_over_some():
                pass
        except Unavailable as error:
            log.warning("schedule_unreachable", extra={"why": str(error)})

    async def _hand_over_some(self) -> bool:
        """Hand over one claim; whether there may be more."""
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
            else:  # a bug, as the intake's log has it: it is tried again after the lease
                log.error("schedule_delayed", extra={"event_id": each.event_id})
        if sent:
            await self._store.finish(sent, ScheduledState.SENT)


def due_message(due: Due) -> SourceMessage:
    """The message of an event whose time has come."""
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
