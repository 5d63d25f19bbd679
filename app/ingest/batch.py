"""A batch of messages on its way through the pipeline."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from app.domain.effects import Effects
from app.domain.errors import InvalidEvent
from app.domain.events import Event
from app.domain.planning import Wish


class Message(NamedTuple):
    """One message as a source received it. `position_id` names its place in the source, for ever."""

    source: str
    position_id: str
    value: bytes | None
    origin: Any
    """The source's own record, for dead-lettering."""
    event_type: str | None = None
    """What the source knows the type to be, where messages don't say it themselves."""
    happened_at: datetime | None = None
    """When it happened, as far as the source knows."""
    sender: str | None = None
    """Which service sent it, where the source knows."""


class Rejected(NamedTuple):
    """A message that can never be handled, and why."""

    message: Message
    error: InvalidEvent


class Ready(msgspec.Struct, frozen=True, gc=False):
    """An event whose effects are known: only to be written."""

    message: Message
    event: Event
    wish: Wish

    @property
    def effects(self) -> Effects:
        return self.wish.effects


class Waiting(NamedTuple):
    """An event that can't be handled before its group is known."""

    message: Message
    event: Event
    group_id: UUID


class Batch(NamedTuple):
    ready: list[Ready]
    waiting: list[Waiting]
    rejected: list[Rejected]


def by_group(waiting: Iterable[Waiting]) -> Iterable[list[Waiting]]:
    """Those that wait for the same group together."""
    groups: defaultdict[UUID, list[Waiting]] = defaultdict(list)
    for item in waiting:
        groups[item.group_id].append(item)
    return groups.values()
