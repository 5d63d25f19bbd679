"""The values that pass through the pipeline: messages, prepared and parked events, batches."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from app.domain.audiences import BroadcastAudience
from app.domain.effects import Effects
from app.domain.errors import InvalidEvent
from app.domain.events import DefaultType, Event
from app.domain.identity import UNKNOWN, EventIdentity
from app.domain.planning import PlanRequest
from app.store.broadcasts import PageRecord


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
    """The event type that the source implies, for messages that do not contain one."""
    happened_at: datetime | None = None
    """When the event happened, if the source knows."""
    sender: str | None = None
    """The service that sent it, if the source knows."""
    default_type: DefaultType | None = None
    """The event type to use if the message contains none."""
    unreadable: InvalidEvent | None = None
    """Why the source cannot read the value; None if it can."""
    order_key: bytes | None = None
    """Messages with the same key keep their order (the key of a Kafka record)."""
    attempts: int = 0
    """How often it was dead-lettered and replayed before."""
    labels: Callable[[SourceMessage], bytes | None] | None = None
    """What its source needs to dead-letter it later (`Source.dead_letter`), for parked messages."""
    parked_id: int | None = None
    """The id of the parked event that the message comes from, if any."""
    event_id: str | None = None
    """The id of its event, if already determined."""
    identity: EventIdentity | None = None
    """What is recorded with that id, if already determined."""
    publisher_key: bool = False
    """Whether the publisher chose `dedup_key` (an AMQP message_id): other messages may have the same one by
    mistake.
    """
    separate: bool = False
    """Whether an operator replayed it as a separate event although another event has its id."""
    redelivered: bool = False
    """Whether its source has delivered it before, possibly to a node that died."""
    position: str | None = None
    """Its position, for sources that redeliver records without marking them."""


class Rejected(NamedTuple):
    """A message that can never be processed, and the reason."""

    message: SourceMessage
    error: InvalidEvent


class PreparedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event whose effects are known and that is ready to be written."""

    message: SourceMessage
    event: Event
    request: PlanRequest
    group_id: UUID | None = None
    """The group that it needed the user service's answer for."""
    identity: EventIdentity = UNKNOWN
    chunk_of: str | None = None
    """The id of the large event that it is a chunk of (`app.ingest.chunks`), or of the broadcast that it is a
    page of, if any.
    """
    audience: BroadcastAudience | None = None
    """Whom it is for, in place of receivers: its effects are those for one person, `NOBODY`."""
    page: PageRecord | None = None
    """What it makes of its broadcast, if it is a page of one (`app.ingest.pages`)."""

    @property
    def effects(self) -> Effects:
        """The effects of the event, as its handler computed them."""
        return self.request.effects

    @property
    def rows(self) -> int:
        """The maximum number of rows that it is stored as."""
        draft = self.request.effects.notification
        return len(draft.receivers if draft else ()) + len(self.request.effects.deliveries)


class ParkedEvent(NamedTuple):
    """An event that needs the user service's answer about its group, or that is large.

    `fresh`: the answer must be newer than the event, and not from the cache. `optional`: if the first attempt
    gets no answer, the event is handled without it. `order_group`: the group that its receivers are notified
    about, if that is known. `large`: whether it is parked to be written in chunks.
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
    """Prepared messages: what to write, in the order of the messages, and what was rejected."""

    events: list[PreparedEvent | ParkedEvent]
    rejected: list[Rejected]

    @property
    def ready(self) -> list[PreparedEvent]:
        """The events whose effects are known."""
        return [item for item in self.events if isinstance(item, PreparedEvent)]

    @property
    def parked(self) -> list[ParkedEvent]:
        """The events that need an answer about their group."""
        return [item for item in self.events if isinstance(item, ParkedEvent)]
