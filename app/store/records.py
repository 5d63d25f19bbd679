"""What a batch writer is given, and what it answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from app.domain.amendments import Amended, Amendment
from app.domain.deliveries import DeliveryDraft, Hold, Withheld
from app.domain.digests import Throttle
from app.domain.identity import UNKNOWN, EventIdentity
from app.domain.notifications import Notification, NotificationDraft
from app.store.broadcasts import BroadcastDraft, PageRecord
from app.store.parked import ParkedDraft


class DeliveryRecord(NamedTuple):
    """A delivery to record: with its secret encrypted, and from when on it is due, or why it isn't at all."""

    draft: DeliveryDraft
    secret: bytes | None = None
    due_at: datetime | None = None
    """None: at once."""
    reason: str | None = None
    suppressed: bool = False
    category: str | None = None
    """That of the event, by which its receiver can switch it off."""
    hold: Hold | None = None
    """What it waits for besides `due_at`."""
    throttle: Throttle | None = None
    """It is written only as long as this lets it through."""


class ScheduledEvent(NamedTuple):
    """When an event is to happen that comes too early, and the event itself."""

    send_at: datetime
    body: bytes
    sender: str | None = None


class EventRecord(msgspec.Struct, frozen=True, gc=False):
    """An event to record, with its notifications and deliveries. No receiver is in two of the `drafts`."""

    event_id: str
    drafts: Sequence[NotificationDraft] = ()
    deliveries: Sequence[DeliveryRecord] = ()
    happened_at: datetime | None = None
    """When the event happened, as far as its source knows."""
    later: ScheduledEvent | None = None
    """Then nothing is recorded but this."""
    parked: ParkedDraft | None = None
    """Then it is parked instead, if it needs an answer or others that it has to follow are parked."""
    identity: EventIdentity = UNKNOWN
    due: bool = False
    """Whether it was scheduled, and its time has come."""
    chunk_of: str | None = None
    """Of a chunk of a large event: that event's id. What is recorded with it belongs to that event."""
    withheld: Sequence[Withheld] = ()
    """Whom it doesn't notify, and why."""
    broadcast: BroadcastDraft | None = None
    """Of an event for an audience: nothing else is recorded of it."""
    page: PageRecord | None = None
    """Of a page of a broadcast: what it makes of that."""
    amendment: Amendment | None = None
    """What it changes of notifications of before. Such an event is written by itself."""


class WriteResult(NamedTuple):
    """`new`: ids of the events this call recorded. `notifications`: what was inserted, in rising `seq` for
    each receiver. `parked`: ids of the events that are parked, now or before. `conflicts`: ids of those whose
    id an event with other content has; nothing is recorded of them. The others are `repeated`, they changed
    nothing: with what was recorded of them before. No event is in two of these. `amended`: what a change of
    notifications of before did.
    """

    new: Collection[str]
    notifications: list[Notification]
    parked: Collection[str] = frozenset()
    repeated: Mapping[str, EventIdentity] = MappingProxyType({})
    conflicts: Collection[str] = frozenset()
    amended: Sequence[Amended] = ()
