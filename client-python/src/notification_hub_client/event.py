"""The base of the event classes in `events.py`, and their form as JSON."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

Json = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened. With an `event_id`, an event that is published again is processed once."""

    event_type: ClassVar[str | None]
    """None for events whose Kafka topic says their type."""
    topic: ClassVar[str] = "notifications"
    """The name of its Kafka topic in `Topics`."""
    data_fields: ClassVar[frozenset[str]] = frozenset()
    """The fields that are in the object `data`."""
    has_data: ClassVar[bool] = False
    constants: ClassVar[Json] = {}
    """Fields that are the same in each event of the type."""

    event_id: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The event as the hub reads it, without fields that are None.

        Raises:
            ValueError: for a timestamp without a time zone.
        """
        kind = {} if self.event_type is None else {"event_type": self.event_type}
        found: dict[str, Any] = {**kind, **self.constants}
        data: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                place = data if field.name in self.data_fields else found
                place[field.name] = to_json(value)
        return {**found, "data": data} if self.has_data else found


@dataclass(frozen=True, kw_only=True)
class PublicEvent(Event):
    """An event that any transport accepts; others are accepted from Kafka only."""


@dataclass(frozen=True, kw_only=True)
class Attachment:
    """A file of a mail: its bytes with a name, or the path of a file in the hub's folder of attachments."""

    content: bytes | None = None
    path: str | None = None
    name: str | None = None
    content_type: str | None = None


@dataclass(frozen=True, kw_only=True)
class Action:
    """A button of a notification. Without `url` the page that shows it handles it, by `id`."""

    id: str
    label: str
    url: str | None = None


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who did what a notification is about, and the address of a picture of them."""

    name: str
    avatar: str | None = None


def to_json(value: Any) -> Any:
    """A value of a field as JSON has it."""
    match value:
        case datetime():
            if value.tzinfo is None:
                raise ValueError(
                    f"{value.isoformat()} has no time zone; use an aware datetime, such as datetime.now(UTC)"
                )
            return value.isoformat()
        case UUID():
            return str(value)
        case bytes():
            return base64.b64encode(value).decode()
        case Attachment() | Action() | Actor():
            return {name: to_json(each) for name, each in vars(value).items() if each is not None}
        case Mapping():
            return {name: to_json(each) for name, each in value.items()}
        case str():
            return value
        case Sequence():
            return [to_json(each) for each in value]
    return value


def body_of(event: Event | Json) -> dict[str, Any]:
    """The JSON object of an event class, or of an event that the caller wrote as a mapping."""
    return event.to_dict() if isinstance(event, Event) else {name: to_json(v) for name, v in event.items()}
