"""What a publisher changes of notifications that it published before: updates and retractions (052)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple
from uuid import UUID

import msgspec

from app.domain.details import NOTHING, Details, over
from app.domain.notifications import InboxCounters, Notification

NO_SUCH_EVENT = "no_such_event"
"""The reason of a change to an event that its publisher never sent, or that isn't processed yet."""
Place = Literal["inbox", "archived", "snoozed"]


class Texts(NamedTuple):
    """The new title and content; None: as they are."""

    title: str | None
    content: str | None


class Update(msgspec.Struct, frozen=True):
    """What is new. What isn't given stays."""

    texts: Mapping[str, Texts] = {}
    """By locale; those of the empty one are for all others. None: the texts stay."""
    template_code: str | None = None
    """Of the new texts."""
    raw_data: str | None = None
    group_name: str | None = None
    details: Details | None = None
    without_actions: bool = False
    unread: bool = False


class Amendment(msgspec.Struct, frozen=True):
    """An update, or without one a retraction, of the notifications of an event or a thread."""

    original: str | None = None
    """The id of the event, or None: it is the thread."""
    thread_key: str | None = None
    receivers: Sequence[UUID] = ()
    """Whose notifications; none: those of all whom the event notified."""
    update: Update | None = None


class Amended(NamedTuple):
    """A notification after its publisher changed it; None if it was retracted."""

    id: int
    receiver: UUID
    counters: InboxCounters
    notification: Notification | None
    place: Place


def updated(update: Update, notification: Notification, locale: str, category: str | None) -> Notification:
    """The notification with what is new.

    Args:
        update: What is new.
        notification: As it was.
        locale: The language that its receiver has chosen; empty if none.
        category: The category that it had. It keeps that if the new texts are of another event type.
    """
    texts = update.texts.get(locale) or update.texts.get("") or Texts(None, None)
    code = update.template_code or notification.template_code
    details = notification.details or NOTHING
    if code != notification.template_code and details.category is None:
        details = msgspec.structs.replace(details, category=category)
    if update.without_actions:
        details = msgspec.structs.replace(details, actions=())
    details = over(details, update.details)
    return msgspec.structs.replace(
        notification,
        title=notification.title if texts.title is None else texts.title,
        content=notification.content if texts.content is None else texts.content,
        template_code=code,
        raw_data=notification.raw_data if update.raw_data is None else msgspec.Raw(update.raw_data.encode()),
        group_name=update.group_name or notification.group_name,
        details=None if details == NOTHING else details,
        is_read=notification.is_read and not update.unread,
    )
