"""Which events are parked, and how."""

from __future__ import annotations

import asyncio
from collections.abc import Set
from functools import partial
from hashlib import sha256
from uuid import UUID

from app.domain.planning import Plan
from app.ingest.batch import ParkedEvent, PreparedEvent
from app.store.parked import ParkedDraft

RETRY_DEADLINE_SECONDS = 600.0  # seconds
MAX_ORDER_KEY_BYTES = 64  # a longer key of a Kafka record is parked as its hash
_GROUP = b"group:"
"""Before the id of a group, in place of an order key."""


class Parking:
    """Whether this node knows of parked events, and the signal that there are new ones.

    The signal replaces polling for events that this node parked.
    """

    def __init__(self) -> None:
        self.any = False
        self.news = False
        """Whether this node has parked an event since parked events were last claimed."""
        self.changed = asyncio.Event()

    def parked(self) -> None:
        """Record that this node has parked an event."""
        self.any = self.news = True
        self.changed.set()


def behind(item: PreparedEvent, ordered: bool) -> ParkedDraft | None:
    """How to park an event behind older ones; None if it waits for none.

    An event that needs a group comes after others that need it, even if its own answer was cached. An event
    with an order key comes after those with the same key, any other one after large events of its group.
    Logouts and one-time codes are never parked.
    """
    if item.group_id is None and not (ordered and (item.message.order_key or _order_group(item))):
        return None
    return draft_of(item, needs_answer=False) if may_be_parked(item) else None


def may_be_parked(item: PreparedEvent) -> bool:
    """Whether the event can be parked: it is neither a logout nor a one-time code, and neither parked already
    nor a page of a broadcast.
    """
    effects = item.effects
    secrets = any(each.secret is not None for each in effects.deliveries)
    waits_already = item.message.parked_id is not None or item.page is not None
    return not waits_already and effects.disconnect is None and not secrets


def reaches(plan: Plan, users: Set[UUID]) -> bool:
    """Whether one of the users would be notified."""
    return any(not users.isdisjoint(draft.receivers) for draft in plan.notifications)


def large(item: PreparedEvent) -> ParkedEvent:
    """The event as a parked event that is written in chunks."""
    return ParkedEvent(
        item.message,
        item.event,
        item.group_id,
        identity=item.identity,
        order_group=_order_group(item),
        large=True,
    )


def draft_of(item: PreparedEvent | ParkedEvent, *, needs_answer: bool) -> ParkedDraft:
    """How to park an event; None if it need not be parked."""
    message = item.message
    key, follows = message.order_key, None
    if key is None and (group := _order_group(item)) is not None:
        follows = _GROUP + group.bytes
        key = follows if isinstance(item, ParkedEvent) and item.large else None
    return ParkedDraft(
        item.group_id,
        key if key is None or len(key) <= MAX_ORDER_KEY_BYTES else sha256(key).digest(),
        message.source,
        message.dedup_key,
        message.attempts,
        item.event.event_type,
        message.sender,
        message.happened_at,
        message.value or b"",
        partial(message.labels, message) if message.labels is not None else lambda: None,
        needs_answer,
        RETRY_DEADLINE_SECONDS,
        isinstance(item, ParkedEvent) and item.fresh,
        isinstance(item, ParkedEvent) and item.optional,
        follows,
        item.identity.fingerprint,
    )


def _order_group(item: PreparedEvent | ParkedEvent) -> UUID | None:
    """The group whose order the event keeps if it has no order key."""
    if isinstance(item, ParkedEvent):
        return item.order_group or item.group_id
    draft = item.effects.notification
    return item.group_id if draft is None else draft.group_id or item.group_id
