"""The hub in memory: the real pipeline, planner and handlers, on fakes."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from itertools import count
from typing import Any
from uuid import UUID

import msgspec

from app.domain.errors import InvalidEvent
from app.domain.events import DefaultType
from app.domain.notifications import Notification
from app.domain.planning import Planner
from app.domain.preferences import Evaluator
from app.domain.time import Now
from app.ingest.batch import Rejected, SourceMessage
from app.ingest.broadcasts import BroadcastPorts, BroadcastWorker
from app.ingest.parked import ParkedPorts, ParkedWorker
from app.ingest.pipeline import Pipeline, PipelinePorts
from app.ingest.scheduler import due_message
from app.store.scheduled import ScheduledState
from app.testing.bus import MemoryBus
from app.testing.groups import MemoryGroups
from app.testing.store import MemoryDelivery, MemoryStore
from handlers.base import BaseMessageHandler
from handlers.registry import HANDLERS, with_aliases

LEASE_SECONDS = 60.0


class _DeadLetters:
    def __init__(self, rejected: list[Rejected]) -> None:
        self._rejected = rejected

    async def dead_letter(self, message: SourceMessage, labels: bytes, error: InvalidEvent) -> None:
        self._rejected.append(Rejected(message, error))


class MemoryHub:
    """A hub for tests of event types: publish events, then look at their effects.

    It needs no services. An event goes through the code that it goes through in production, up to the store
    and the bus. Deliveries are recorded and not sent; their secrets stay readable, as JSON.

    Attributes:
        store: Notifications, deliveries and scheduled events.
        bus: Publications; `bus.connect(user)` connects a client.
        groups: The groups of the user service, empty at first.
        people: Profiles and choices, empty at first.
        rejected: Every event that was rejected, with the error that its dead letter would carry.
    """

    def __init__(
        self,
        handlers: Mapping[str, BaseMessageHandler[Any]] = HANDLERS,
        *,
        locale: str = "en",
        off: Collection[str] = (),
        now: Now = time.time,
        groups: MemoryGroups | None = None,
    ) -> None:
        """Make an empty hub.

        Args:
            handlers: The event types it knows, by name; their aliases are added.
            locale: The locale of people who have set none.
            off: Choices that are off by default, such as "inventory.email".
            now: The clock, in unix seconds; `advance` adds to it.
            groups: The groups of the user service; none by default.
        """
        self._ahead = 0.0
        self._clock = now
        self.store = MemoryStore(self._now, locale)
        self.bus = MemoryBus(self._now)
        self.groups = groups or MemoryGroups()
        self.people = self.store.people
        self.rejected: list[Rejected] = []
        self._numbers = count(1)
        planner = Planner(self.people, Evaluator(off), locale, self._now)
        self._pipeline = Pipeline(
            with_aliases(handlers),
            PipelinePorts(self.groups, planner, self.store, self.store, self.bus),
            locale,
            msgspec.json.encode,
            self._now,
        )
        work = BroadcastPorts(self.store.broadcasts, self.store.audiences)
        self._broadcasts = BroadcastWorker(self._pipeline, work, 0.0, self._now)
        ports = ParkedPorts(self.store.parked, self.groups, lambda _: _DeadLetters(self.rejected))
        self._parked = ParkedWorker(self._pipeline, ports)

    async def publish(
        self,
        event: Mapping[str, Any] | bytes,
        *,
        source: str = "kafka",
        event_type: str | None = None,
        default_type: DefaultType | None = None,
    ) -> InvalidEvent | None:
        """Process one event to its end.

        Args:
            event: The event, or a message as the source received it.
            source: The transport it comes from; some event types accept one only.
            event_type: The type, where the transport knows it and the message does not say it.
            default_type: The type of messages that don't say theirs.

        Returns:
            Why the event was rejected; None if it was processed, now or before, or is parked, as its group is
            not known.
        """
        body = event if isinstance(event, bytes) else msgspec.json.encode(event)
        position = f"memory:{next(self._numbers)}"
        message = SourceMessage(
            source, position, body, None, event_type, default_type=default_type, labels=lambda _: b""
        )
        return await self._process(message)

    async def advance(self, seconds: float) -> None:
        """Set the clock forward, then process the scheduled events that are due, and retry parked ones."""
        self._ahead += seconds
        scheduled = self.store.scheduled
        while due := await scheduled.claim(1, LEASE_SECONDS):
            event = due[0]
            error = await self._process(due_message(event))
            status = ScheduledState.FAILED if error else ScheduledState.SENT
            await scheduled.finish([event.event_id], status, None if error is None else str(error))
        await self._parked.resolve_due()
        await self._broadcasts.work_due()

    def inbox(self, user_id: UUID) -> list[Notification]:
        """The user's notifications in rising `seq`."""
        return self.store.inbox(user_id)

    def pushed(self, user_id: UUID) -> list[Notification]:
        """The notifications that were pushed to the user's connections, if there were any."""
        return self.bus.pushed(user_id)

    @property
    def deliveries(self) -> list[MemoryDelivery]:
        """All deliveries (email, SMS), in the order of recording."""
        return self.store.deliveries.rows

    async def _process(self, message: SourceMessage) -> InvalidEvent | None:
        batch = self._pipeline.prepare([message])
        rejected = [*batch.rejected, *await self._pipeline.write(batch.events)]
        before = len(self.rejected)
        self.rejected += rejected
        await self._parked.resolve_due()
        await self._broadcasts.work_due()
        return self.rejected[before].error if len(self.rejected) > before else None

    def _now(self) -> float:
        return self._clock() + self._ahead
