"""A batch of messages on its way through the pipeline."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from app.domain.effects import Effects
from app.domain.errors import InvalidEvent
from app.domain.events import DefaultType, Event
from app.domain.identity import UNKNOWN, EventIdentity
from app.domain.planning import PlanRequest


class SourceMessage(msgspec.Struct, frozen=True):
    """One message as a source received it.

    `dedup_key` is the same each time the source delivers the message, and no other message has it.
    """

    source: str
    dedup_key: str
    value: bytes | None
    origin: Any
    """The source's own record, for dead-lettering."""
    event_type: str | None = None
    """What the source knows the type to be, where messages don't say it themselves."""
    happened_at: datetime | None = None
    """When it happened, as far as the source knows."""
    sender: str | None = None
    """Which service sent it, where the source knows."""
    default_type: DefaultType | None = None
    """What its type is if it doesn't say so."""
    unreadable: InvalidEvent | None = None
    """Why the source can't read the value, if it can't."""
    order_key: bytes | None = None
    """The source keeps the order of messages with the same one (the key of a Kafka record)."""
    attempts: int = 0
    """How often it was dead-lettered and replayed before."""
    labels: Callable[[SourceMessage], bytes | None] | None = None
    """What its source needs to dead-letter it later (`Source.dead_letter`), if it is parked."""
    parked_id: int | None = None
    """Where it is parked, if it comes from there."""
    event_id: str | None = None
    """Its event's id, if that was decided before."""
    identity: EventIdentity | None = None
    """What is recorded beside that id, if that was decided before too."""
    publisher_key: bool = False
    """Whether the publisher chose `dedup_key` (an AMQP message_id): other messages may have it by mistake."""
    separate: bool = False
    """Whether an operator wants it stored as a separate event, although another one has its id."""
    redelivered: bool = False
    """Whether its source delivered it before, maybe to a node that died."""
    position: str | None = None
    """Where it is in its source, in case that delivers records again without saying so."""


class Rejected(NamedTuple):
    """A message that can never be handled, and why."""

    message: SourceMessage
    error: InvalidEvent


class PreparedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event whose effects are known: only to be written."""

    message: SourceMessage
    event: Event
    request: PlanRequest
    group_id: UUID | None = None
    """The group whose answer it could not do without."""
    identity: EventIdentity = UNKNOWN
    chunk_of: str | None = None
    """The id of the large event that it is a chunk of (`app.ingest.chunks`), if it is one."""

    @property
    def effects(self) -> Effects:
        return self.request.effects

    @property
    def rows(self) -> int:
        """How many rows it is stored as, at most."""
        draft = self.request.effects.notification
        return len(draft.receivers if draft else ()) + len(self.request.effects.deliveries)


class ParkedEvent(NamedTuple):
    """An event that waits for the user service's answer about its group, or that is large.

    `fresh`: the answer must be newer than the event, and not from the cache. `optional`: if there is no
    answer at the first attempt, the event is handled without. `order_group`: the group that its receivers
    are notified about, if that is known. `large`: whether it is parked to be written in chunks.
    """

    message: SourceMessage
    event: Event
    group_id: UUID | None
    fresh: bool = False
    optional: bool = False
    identity: EventIdentity = UNKNOWN
    order_group: UUID | None = None
    large: bool = False


class Batch(NamedTuple):
    """Messages that were prepared: what is to be written, in the order of the messages, and the rest."""

    events: list[PreparedEvent | ParkedEvent]
    rejected: list[Rejected]

    @property
    def ready(self) -> list[PreparedEvent]:
        """The events whose effects are known."""
        return [item for item in self.events if isinstance(item, PreparedEvent)]

    @property
    def parked(self) -> list[ParkedEvent]:
        """The events that need the answer of a group."""
        return [item for item in self.events if isinstance(item, ParkedEvent)]
