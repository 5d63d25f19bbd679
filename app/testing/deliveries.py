"""Deliveries in memory: recorded, and never sent."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec

from app.domain.amendments import Amendment
from app.domain.deliveries import Attempt, Delivery, Status, delivery_id
from app.domain.delivery_events import DeliveryEvent
from app.domain.digests import DIGEST_TEMPLATE, DigestDue
from app.domain.time import Now, moment
from app.domain.waiting import RecentDeliveries
from app.store.amendments import RETRACTED
from app.store.records import DeliveryRecord, EventRecord


class MemoryDelivery(Delivery, frozen=True):
    """A delivery with what its message shows; `secret` as the pipeline encrypted it."""

    event_at: datetime
    data: Mapping[str, Any]
    secret: bytes | None
    replaces: str | None


class MemoryDeliveries:
    """`DeliveryLog` without Postgres; `MemoryStore` adds the deliveries. Nothing sends them."""

    def __init__(self, check: Callable[[], None], now: Now) -> None:
        """`check` raises while the store is unavailable."""
        self._rows: dict[UUID, MemoryDelivery] = {}
        self._digests: dict[str, tuple[UUID, DigestDue]] = {}
        self._now = now
        self._check = check

    @property
    def rows(self) -> list[MemoryDelivery]:
        """All of them, in the order of recording."""
        return [*self._rows.values()]

    def add(self, entry: EventRecord, now: datetime) -> None:
        """Record the event's deliveries; one that is there already stays as it is."""
        for record in entry.deliveries:
            made = _delivery(entry, record, now, len(self._rows) + 1)
            if made.id not in self._rows:
                self._rows[made.id] = made
                if record.hold is not None and record.hold.digest is not None:
                    self._join(made, record, record.hold.digest, now)
        self._replace({record.draft.replaces for record in entry.deliveries} - {None}, now)

    async def open_digests(self, keys: Collection[str]) -> Mapping[str, DigestDue]:
        """As `app.store.waiting`. Nothing is sent here, so all digests stay open."""
        self._check()
        return {key: due for key, (_, due) in self._digests.items() if key in keys}

    async def recent(self, wanted: Sequence[RecentDeliveries]) -> Sequence[int]:
        """See `app.domain.waiting.WaitingDeliveries`."""
        self._check()
        return [len({*self._events_of(each)}) for each in wanted]

    def _events_of(self, wanted: RecentDeliveries) -> Iterator[str]:
        since = moment(self._now() - wanted.seconds)
        for row in self._rows.values():
            theirs = (row.user_id, row.category, row.channel) == wanted[:3]
            sent = row.digest_id is None and row.status not in (Status.SUPPRESSED, Status.EXPIRED)
            if theirs and sent and row.created_at > since:
                yield row.event_id

    def _join(self, row: MemoryDelivery, record: DeliveryRecord, key: str, now: datetime) -> None:
        """Hold a delivery in the digest with this key, which is made if it is the first."""
        assert record.hold is not None
        due = DigestDue(record.hold.due or now, record.hold.latest)
        digest, before = self._digests.get(key, (uuid4(), due))
        due = before.joined(due)
        self._digests[key] = digest, due
        self._rows[digest] = msgspec.structs.replace(
            row,
            id=digest,
            digest_id=digest,
            event_id=f"digest:{digest}",
            template=DIGEST_TEMPLATE,
            data={},
            reason=None,
            next_attempt_at=due.at,
        )
        for each in [row, *self._rows.values()]:
            if each.id == row.id or (each.digest_id == digest and each.status is Status.HELD):
                self._rows[each.id] = msgspec.structs.replace(
                    each, status=Status.HELD, digest_id=digest, next_attempt_at=due.at
                )

    async def find(self, limit: int, before: UUID | None = None, **wanted: object) -> list[Delivery]:
        """As `DeliveryLog.find`."""
        self._check()
        found: list[Delivery] = sorted(self._rows.values(), key=_place, reverse=True)
        if before is not None:
            older = before in self._rows
            found = [row for row in found if older and _place(row) < _place(self._rows[before])]
        return [row for row in found if all(_matches(row, *each) for each in wanted.items())][:limit]

    async def get(self, delivery: UUID) -> tuple[Delivery, list[Attempt]] | None:
        """As `DeliveryLog.get`."""
        self._check()
        return (self._rows[delivery], []) if delivery in self._rows else None

    async def events(self, delivery: UUID) -> list[DeliveryEvent]:
        """None: no provider has them."""
        self._check()
        return []

    async def resend(self, delivery: UUID, *, force: bool = False) -> bool:
        """False: nothing is sent here, so nothing can be sent again."""
        self._check()
        return False

    def retract(self, amendment: Amendment, now: datetime) -> None:
        """Suppress what is pending of a retracted event, or thread."""
        for row in [*self._rows.values()]:
            theirs = not amendment.receivers or row.user_id in amendment.receivers
            thread = row.data.get("details", {}).get("thread_key") if amendment.thread_key else None
            meant = (
                row.event_id == amendment.original if amendment.original else thread == amendment.thread_key
            )
            if row.status in (Status.PENDING, Status.HELD) and theirs and meant:
                self._suppress(row, RETRACTED, now)

    def _suppress(self, row: MemoryDelivery, reason: str, now: datetime) -> None:
        self._rows[row.id] = msgspec.structs.replace(
            row,
            status=Status.SUPPRESSED,
            reason=reason,
            secret=None,
            next_attempt_at=None,
            finished_at=now,
        )

    def _replace(self, groups: Iterable[str | None], now: datetime) -> None:
        """Suppress every pending code that has a newer one."""
        for group in groups:
            codes = [row for row in self._rows.values() if row.replaces == group]
            codes.sort(key=lambda row: row.event_at)  # stable: of equal ones the last recorded is the newest
            for row in codes[:-1]:
                if row.status is Status.PENDING:
                    self._suppress(row, "a newer code replaced it", now)


def _delivery(entry: EventRecord, record: DeliveryRecord, now: datetime, number: int) -> MemoryDelivery:
    draft = record.draft
    event_at = min(entry.happened_at or now, now)
    event_id = entry.chunk_of or entry.event_id
    valid_for = draft.seconds_valid(event_at)
    return MemoryDelivery(
        id=delivery_id(event_id, draft),
        number=number,
        event_id=event_id,
        user_id=draft.user_id,
        foreign_user_id=draft.foreign_user_id,
        channel=draft.channel,
        template=draft.template,
        address=draft.address,
        locale=draft.locale,
        status=Status.SUPPRESSED if record.suppressed else Status.PENDING,
        reason=record.reason,
        attempts=0,
        next_attempt_at=None if record.suppressed else record.due_at or now,
        error_code=None,
        error=None,
        provider_id=None,
        created_at=now,
        expires_at=None if valid_for is None else event_at + timedelta(seconds=valid_for),
        finished_at=now if record.suppressed else None,
        category=record.category,
        segments=None,
        digest_id=None,
        event_at=event_at,
        data=draft.data,
        secret=record.secret,
        replaces=draft.replaces,
    )


def _place(row: Delivery) -> tuple[datetime, UUID]:
    return row.created_at, row.id


def _matches(row: Delivery, name: str, value: Any) -> bool:
    match name:
        case "since":
            return bool(row.created_at >= value)
        case "until":
            return bool(row.created_at < value)
        case _:
            return bool(getattr(row, name) == value)
