"""Parked events in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from uuid import UUID

from app.domain.time import Now
from app.store.parked import Lanes, ParkedDraft, ParkedEventRecord, ParkedState, ParkedStatus


@dataclass
class _ParkedRow:
    record: ParkedEventRecord
    position: str
    order_key: bytes | None
    parked_at: float
    deadline: float
    due_at: float
    leased_until: float = 0.0
    finished: bool = False
    reason: str | None = None


class MemoryParkedEvents:
    """`ParkedEvents` without Postgres; `MemoryStore` parks the events."""

    def __init__(self, check: Callable[[], None], now: Now) -> None:
        """`check` raises while the store is unavailable."""
        self._rows: dict[int, _ParkedRow] = {}
        self._numbers = count(1)
        self._check = check
        self._now = now

    def park(self, drafts: Sequence[tuple[str, ParkedDraft]]) -> set[str]:
        """Park those that have to be; the ids of all that are parked."""
        known: dict[UUID | bytes, UUID] = {}
        for row in self._open():
            group_id = None if row.record.optional else row.record.group_id
            known |= dict.fromkeys(filter(None, (group_id, row.order_key)), row.record.lane)
        lanes = Lanes(known)
        parked = set()
        for event_id, draft in drafts:
            if (lane := lanes.lane_of(draft)) is not None:
                parked.add(event_id)
                self._add(event_id, draft, lane, lanes.order_key_of(draft))
        for row in self._open():
            if (lane := lanes.joined.get(row.record.lane)) is not None:
                row.record = row.record._replace(lane=lane)
        return parked

    def _add(self, event_id: str, draft: ParkedDraft, lane: UUID, order_key: bytes | None) -> None:
        if any(row.position == draft.position for row in self._rows.values()):
            return
        now, number = self._now(), next(self._numbers)
        record = ParkedEventRecord(
            number,
            lane,
            draft.group_id,
            event_id,
            draft.event_type,
            draft.source,
            draft.dedup_key,
            draft.sender,
            draft.happened_at,
            draft.body,
            draft.labels(),
            0,
            draft.fresh,
            draft.optional,
            overdue=False,
            fingerprint=draft.fingerprint,
        )
        self._rows[number] = _ParkedRow(record, draft.position, order_key, now, now + draft.retry_for, now)

    def unpark(self, events: Collection[int]) -> None:
        """Remove events that are stored."""
        for event in events:
            self._rows.pop(event, None)

    async def claim(
        self, most: int, lanes: int, lease: float, *, asking: bool
    ) -> Sequence[ParkedEventRecord]:
        """As `ParkedEvents.claim`."""
        self._check()
        now = self._now()
        heads: dict[UUID, _ParkedRow] = {}
        for row in self._open():
            heads.setdefault(row.record.lane, row)
        due = [
            lane
            for lane, head in sorted(
                heads.items(), key=lambda each: (each[1].record.group_id is not None, each[1].due_at)
            )
            if head.leased_until <= now
            and min(head.due_at, head.deadline) <= now
            and (asking or head.record.group_id is None or head.record.optional or head.deadline <= now)
        ][:lanes]
        claimed = [row for row in self._open() if row.record.lane in due]
        claimed.sort(key=lambda row: heads[row.record.lane].record.group_id is not None)
        claimed = claimed[:most]
        for row in claimed:
            row.leased_until = now + lease
        return [row.record._replace(overdue=row.deadline <= now) for row in claimed]

    async def retry(self, event: int, reason: str, after: float) -> None:
        """As `ParkedEvents.retry`."""
        self._check()
        if row := self._rows.get(event):
            row.due_at, row.leased_until = self._now() + after, 0.0
            row.record = row.record._replace(attempts=row.record.attempts + 1)

    async def release(self, events: Collection[int]) -> None:
        """As `ParkedEvents.release`."""
        self._check()
        for event in events:
            if row := self._rows.get(event):
                row.leased_until = 0.0

    async def renew(self, events: Collection[int], lease: float) -> None:
        """As `ParkedEvents.renew`."""
        self._check()
        for event in events:
            if (row := self._rows.get(event)) and row.leased_until:
                row.leased_until = self._now() + lease

    async def finish(self, events: Collection[int], reason: str) -> None:
        """As `ParkedEvents.finish`."""
        self._check()
        for event in events:
            if row := self._rows.get(event):
                row.finished, row.reason = True, reason
                row.record = row.record._replace(body=b"", labels=None)

    async def find(self, dedup_key: str) -> ParkedStatus | None:
        """As `ParkedEvents.find`."""
        self._check()
        for row in self._rows.values():
            if row.position == f"{dedup_key}#0":
                return ParkedStatus(row.reason, row.record.sender)
        return None

    async def state(self) -> ParkedState:
        """As `ParkedEvents.state`."""
        self._check()
        since = [row.parked_at for row in self._open()]
        return ParkedState(len(since), self._now() - min(since) if since else 0.0)

    async def next_due(self) -> float | None:
        """As `ParkedEvents.next_due`."""
        self._check()
        heads: dict[UUID, _ParkedRow] = {}
        for row in self._open():
            heads.setdefault(row.record.lane, row)
        due = [max(min(row.due_at, row.deadline), row.leased_until) for row in heads.values()]
        return max(0.0, min(due) - self._now()) if due else None

    def _open(self) -> Iterator[_ParkedRow]:
        """In the order of parking."""
        return (row for row in self._rows.values() if not row.finished)
