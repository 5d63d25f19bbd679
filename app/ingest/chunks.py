"""Large events and their chunks: which events are too large for one transaction, and how they are divided. No
I/O.

A receiver's chunk follows from its id alone. So an event that is divided again, after a crash or with a newer
answer about its group, has each receiver in the same chunk, and a chunk that was written is known by its key.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import groupby
from uuid import UUID

from msgspec.structs import replace

from app.domain.deliveries import DeliveryDraft
from app.domain.effects import Effects
from app.domain.events import Event
from app.domain.identity import CHUNKS_PER_EVENT, chunk_names, scoped_id
from app.ingest.batch import PreparedEvent

MAX_ROWS_AT_ONCE = 500
"""An event with more rows is parked and written in chunks, so that other events do not wait for its
transaction.
"""
ROWS_PER_TRANSACTION = 250
"""Rows of the chunks that are written together."""
_NOBODY = UUID(int=0)


def is_large(item: PreparedEvent) -> bool:
    """Whether the event has too many rows for one transaction."""
    return item.rows > MAX_ROWS_AT_ONCE


def large_apart(events: Sequence[PreparedEvent]) -> Iterator[tuple[Sequence[PreparedEvent], bool]]:
    """The events in order: those between large ones together, each large one by itself."""
    for large, part in groupby(events, is_large):
        if large:
            yield from (([item], True) for item in part)
        else:
            yield [*part], False


def chunk_keys(item: PreparedEvent) -> list[str]:
    """The deduplication keys of the event's chunks: `<event_id>#<n>/<chunks>`."""
    event_id, sender = item.event.event_id, item.identity.sender
    return chunk_names(event_id if sender is None else scoped_id(event_id, sender))


def divide(item: PreparedEvent) -> list[PreparedEvent]:
    """The chunks of an event that have receivers or deliveries, each as a separate event."""
    request = item.request
    draft = request.effects.notification
    receivers: defaultdict[int, list[UUID]] = defaultdict(list)
    for receiver in draft.receivers if draft else ():
        receivers[receiver.int % CHUNKS_PER_EVENT].append(receiver)
    deliveries: defaultdict[int, list[DeliveryDraft]] = defaultdict(list)
    for each in request.effects.deliveries:
        deliveries[_chunk_of(each)].append(each)
    in_locale = cache(
        request.in_locale
    )  # so that the handler runs once per locale, not once per chunk and locale

    def chunk(number: int, key: str) -> PreparedEvent:
        effects = replace(
            request.effects,
            notification=replace(draft, receivers=receivers[number]) if draft and receivers[number] else None,
            deliveries=deliveries[number],
        )
        own = replace(request, effects=effects, in_locale=_chunk_in_locale(in_locale, number))
        event = Event(key, item.event.event_type, item.event.body)
        return replace(item, event=event, request=own, chunk_of=item.event.event_id)

    keys = chunk_keys(item)
    return [chunk(number, keys[number]) for number in sorted(receivers.keys() | deliveries.keys())]


def remainder(item: PreparedEvent) -> PreparedEvent:
    """The event without its effects, which its chunks contain. It records the event's id."""
    return replace(item, request=replace(item.request, effects=Effects()))


def transactions(chunks: Sequence[PreparedEvent]) -> Iterator[list[PreparedEvent]]:
    """The chunks in order, as many at a time as fit into one transaction."""
    part: list[PreparedEvent] = []
    rows = 0
    for chunk in chunks:
        part.append(chunk)
        rows += chunk.rows
        if rows >= ROWS_PER_TRANSACTION:
            yield part
            part, rows = [], 0
    if part:
        yield part


def _chunk_in_locale(in_locale: Callable[[str], Effects], number: int) -> Callable[[str], Effects]:
    def chunk_in_locale(locale: str) -> Effects:
        effects = in_locale(locale)
        return replace(effects, deliveries=[each for each in effects.deliveries if _chunk_of(each) == number])

    return chunk_in_locale


def _chunk_of(delivery: DeliveryDraft) -> int:
    return (delivery.user_id or _NOBODY).int % CHUNKS_PER_EVENT
