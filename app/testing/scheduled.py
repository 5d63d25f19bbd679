"""Scheduled events in memory."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass

from app.domain.identity import EventIdentity
from app.domain.time import Now, moment
from app.store.records import ScheduledEvent
from app.store.scheduled import Due, Scheduled, ScheduledState


@dataclass
class _Row:
    event: ScheduledEvent
    identity: EventIdentity
    status: ScheduledState = ScheduledState.SCHEDULED
    reason: str | None = None
    leased_until: float = 0.0


class MemoryScheduledEvents:
    """`ScheduledEvents` without Postgres; `MemoryStore` adds the events."""

    def __init__(
        self,
        processed: MutableMapping[str, tuple[float, EventIdentity]],
        check: Callable[[], None],
        now: Now,
    ) -> None:
        """`processed` holds the ids of processed events with times and identities; `check` raises while the
        store is unavailable.
        """
        self._rows: dict[str, _Row] = {}
        self._processed = processed
        self._check = check
        self._now = now

    def add(self, event_id: str, event: ScheduledEvent, identity: EventIdentity) -> None:
        """Schedule the event, unless one with its id failed before."""
        self._rows.setdefault(event_id, _Row(event, identity))

    def identity(self, event_id: str) -> EventIdentity | None:
        """What is recorded of the event beside its id; None if it failed, or there is none."""
        row = self._rows.get(event_id)
        return None if row is None or row.status is ScheduledState.FAILED else row.identity

    async def claim(self, most: int, lease: float) -> Sequence[Due]:
        """As `ScheduledEvents.claim`."""
        self._check()
        now = self._now()
        due = sorted(
            (row.event.send_at, event_id)
            for event_id, row in self._rows.items()
            if row.status is ScheduledState.SCHEDULED
            and row.event.send_at <= moment(now)
            and row.leased_until <= now
        )[:most]
        claimed = []
        for send_at, event_id in due:
            row = self._rows[event_id]
            claimed.append(Due(event_id, row.event.body, send_at, row.identity, row.leased_until > 0.0))
            row.leased_until = now + lease
        return claimed

    async def finish(self, events: Sequence[str], status: ScheduledState, reason: str | None = None) -> None:
        """As `ScheduledEvents.finish`."""
        self._check()
        for event_id in events:
            row = self._rows.get(event_id)
            if row is not None and row.status is ScheduledState.SCHEDULED:
                row.status, row.reason = status, reason
                row.event = row.event._replace(body=b"")

    async def cancel(self, event_id: str, sender: str) -> bool:
        """As `ScheduledEvents.cancel`."""
        found = await self.get(event_id)
        if found is None or found.status is not ScheduledState.SCHEDULED or not found.is_of(sender):
            return False
        if event_id in self._processed:
            return False
        self._processed[event_id] = self._now(), self._rows[event_id].identity
        await self.finish([event_id], ScheduledState.CANCELLED)
        return True

    async def get(self, event_id: str) -> Scheduled | None:
        """As `ScheduledEvents.get`."""
        self._check()
        row = self._rows.get(event_id)
        if row is None:
            return None
        return Scheduled(row.status, row.event.send_at, row.reason, row.event.sender)
