"""Audiences of events, and the broadcasts to them. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Meta

from app.domain.amendments import Amendment


class AudienceFilter(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Those of an audience whose profile says one of these. Who has set no language has the hub's default;
    who has set no time zone is in none.
    """

    locale: tuple[str, ...] = ()
    time_zone: tuple[str, ...] = ()


class BroadcastAudience(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Whom a broadcast is for: the followers of a topic, or everyone whom the hub knows."""

    topic: str | None = None
    everyone: bool = False
    filter: AudienceFilter | None = None


class BroadcastState(StrEnum):
    """How far a broadcast is. The last three are final."""

    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"
    """Its event can't be processed any more; `reason` says why."""


class Broadcast(msgspec.Struct, frozen=True):
    """An event for an audience, and how far it is. Its `id` is that of the event."""

    id: Annotated[str, Meta(examples=["release-4.2"])]
    event_type: Annotated[str, Meta(examples=["message"])]
    audience: BroadcastAudience
    state: BroadcastState
    reason: str | None
    people: Annotated[int, Meta(ge=0, description="in the audience, as counted at the beginning")] | None
    passed: Annotated[int, Meta(ge=0, description="of them, for whom it was decided")]
    notified: Annotated[int, Meta(ge=0, description="of them, who got a notification")]
    deliveries: Annotated[int, Meta(ge=0, description="mails, SMS and web pushes that were planned")]
    deferred: Annotated[
        int,
        Meta(
            ge=0,
            description="people with a locked inbox, or named in an update: they follow at the end",
        ),
    ]
    created_at: Annotated[datetime, Meta(tz=True)]
    finished_at: Annotated[datetime, Meta(tz=True)] | None


class BroadcastWork(NamedTuple):
    """A broadcast that a node has leased: its event, and what comes next."""

    event_id: str
    event_type: str
    source: str
    sender: str | None
    body: bytes
    happened_at: datetime | None
    accepted_at: datetime
    audience: BroadcastAudience
    pages: int
    cursor: UUID
    """The last person who was looked at."""
    exhausted: bool
    """Whether all were; then those in `deferred` are left."""
    deferred: Sequence[UUID]
    counted: bool
    """Whether the people in its audience were counted."""
    amendments: Sequence[Amendment] = ()
    """What its publisher has changed since it was accepted: of those who come next."""
    amended: int = 0
    """How often."""


class AudiencePage(NamedTuple):
    """A page of an audience, by their ids: those who match the filter."""

    users: Sequence[UUID]
    cursor: UUID
    """The last person who was looked at."""
    exhausted: bool
    """Whether there are no more."""
