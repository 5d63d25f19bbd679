"""Identifies events: the id of a message, and what distinguishes a repeat from a conflict (decision 030)."""

from __future__ import annotations

from app.domain.errors import InvalidEvent
from app.domain.events import Event, decode, usable_event_id
from app.domain.identity import CONFLICT, UNKNOWN, EventIdentity, fingerprint, separate_id
from app.domain.notifications import event_hash
from app.ingest.batch import ParkedEvent, PreparedEvent, SourceMessage


def identify(message: SourceMessage) -> tuple[Event, EventIdentity]:
    """Decode the message. Raises `InvalidEvent`."""
    if message.unreadable is not None:
        raise message.unreadable
    event = decode(message.value, message.dedup_key, message.event_type, message.default_type)
    event_id, identity = message.event_id or event.event_id, message.identity
    if identity is None:
        identity = UNKNOWN
        if message.publisher_key or usable_event_id(event.body.get("event_id")) is not None:
            identity = EventIdentity(fingerprint(event.event_type, event.body), message.sender)
            if message.separate and message.event_id is None:
                event_id = separate_id(event_id, identity.fingerprint)
            if message.position is not None:
                identity = identity._replace(position=event_hash(message.position))
        elif message.sender is not None:
            identity = EventIdentity(sender=message.sender)
    if event_id != event.event_id:
        event = Event(event_id, event.event_type, event.body)
    return event, identity


def may_be_unpushed(item: PreparedEvent, recorded: EventIdentity) -> bool:
    """Whether a repeated event is the recorded message, delivered again. Only then a node may have died
    between its commit and its push. Any other repeat is a copy, which has no effect.
    """
    message = item.message
    if message.redelivered or message.position is None:
        return message.redelivered
    return message.position == item.event.event_id or recorded.position == event_hash(message.position)


def repeats(item: PreparedEvent | ParkedEvent, earlier: PreparedEvent | ParkedEvent) -> bool:
    """Whether two messages with the same id have the same content and sender."""
    mine, theirs = item.identity, earlier.identity
    return (mine.fingerprint, mine.sender) == (theirs.fingerprint, theirs.sender)


def conflict(event_id: str) -> InvalidEvent:
    """The error for an event whose id was used for different content."""
    return InvalidEvent(
        CONFLICT,
        f"event_id {event_id[:200]!r} was already used with different content, which is unchanged; use a "
        f"new id",
    )
