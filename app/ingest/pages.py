"""The pages of a broadcast: its event for some of the people in its audience. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from uuid import UUID

from msgspec.structs import replace

from app.domain.audiences import BroadcastWork
from app.domain.effects import Effects
from app.domain.events import Event
from app.domain.identity import UNKNOWN, EventIdentity, page_name
from app.ingest.batch import PreparedEvent, SourceMessage
from app.store.broadcasts import PageRecord


def message_of(work: BroadcastWork) -> SourceMessage:
    """The event of a broadcast, as its source received it."""
    return SourceMessage(
        work.source,
        work.event_id,
        work.body,
        None,
        work.event_type,
        work.happened_at,
        work.sender,
        event_id=work.event_id,
        identity=EventIdentity(sender=work.sender),
    )


def once_per_locale(item: PreparedEvent) -> PreparedEvent:
    """The event, whose handler runs once for each locale, not once for each page and locale."""
    return replace(item, request=replace(item.request, in_locale=cache(item.request.in_locale)))


def page_of(item: PreparedEvent, users: Sequence[UUID], page: PageRecord) -> PreparedEvent:
    """The event for these people. `item` is as prepared, for one person."""
    return replace(
        with_receivers(item, users),
        event=Event(page_key(page), item.event.event_type, item.event.body),
        identity=UNKNOWN,
        chunk_of=page.event_id,
        page=page,
    )


def with_receivers(item: PreparedEvent, users: Sequence[UUID]) -> PreparedEvent:
    """The event, prepared for one person, for these people in place of its audience."""
    request = item.request

    @cache
    def in_locale(locale: str) -> Effects:
        return for_people(request.in_locale(locale), users)

    own = replace(request, effects=for_people(request.effects, users), in_locale=in_locale)
    return replace(item, request=own, audience=None)


def for_people(effects: Effects, users: Sequence[UUID]) -> Effects:
    """The effects for one person, for each of these: nobody asked for a single one of the deliveries."""
    draft = effects.notification
    return replace(
        effects,
        notification=replace(draft, receivers=users) if draft and users else None,
        deliveries=[
            replace(each, user_id=user, offered=True) for user in users for each in effects.deliveries
        ],
        send_at=None,
    )


def page_key(page: PageRecord) -> str:
    """The deduplication key of a page: `<event_id>#page-<n>`."""
    return page_name(page.event_id, page.number)
