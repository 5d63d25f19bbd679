"""What a publisher changes of notifications that it published before: updates and retractions (052)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec

from app.domain.details import NOTHING, Details, over
from app.domain.notifications import InboxCounters, Notification, NotificationDraft

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

    def texts_in(self, locale: str) -> Texts:
        """The texts for who has chosen this language; an empty `locale`: none."""
        return self.texts.get(locale) or self.texts.get("") or Texts(None, None)


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
    return msgspec.structs.replace(
        notification,
        **_new(update, notification, locale, category),
        raw_data=notification.raw_data if update.raw_data is None else msgspec.Raw(update.raw_data.encode()),
        is_read=notification.is_read and not update.unread,
    )


def updated_draft(update: Update, draft: NotificationDraft, locale: str, category: str) -> NotificationDraft:
    """The same of a notification that is not written yet: as if it had been, and were updated then."""
    return msgspec.structs.replace(
        draft,
        **_new(update, draft, locale, category),
        raw_data=draft.raw_data if update.raw_data is None else update.raw_data,
        personal=None if update.texts else draft.personal,
    )


def _new(
    update: Update, shown: Notification | NotificationDraft, locale: str, category: str | None
) -> dict[str, Any]:
    texts = update.texts_in(locale)
    code = update.template_code or shown.template_code
    details = shown.details or NOTHING
    if code != shown.template_code and details.category is None:
        details = msgspec.structs.replace(details, category=category)
    if update.without_actions:
        details = msgspec.structs.replace(details, actions=())
    details = over(details, update.details)
    return {
        "title": shown.title if texts.title is None else texts.title,
        "content": shown.content if texts.content is None else texts.content,
        "template_code": code,
        "group_name": update.group_name or shown.group_name,
        "details": None if details == NOTHING else details,
    }


def noted(before: Sequence[Amendment], new: Amendment) -> Sequence[Amendment]:
    """What is to be done to later pages of a broadcast, after what was to be done before: in this order."""
    return [*(each for each in before if not _replaces(new, each)), new]


_LEAVES_MORE = ("details", "template_code")
"""Of these something may be left: parts that aren't given again, and the category of before."""


def _replaces(new: Amendment, old: Amendment) -> bool:
    """Whether nothing is left of the old one after the new one."""
    if new == old:
        return True
    if new.update is None or old.update is None or (new.receivers and new.receivers != old.receivers):
        return False
    given = msgspec.structs.asdict(new.update)
    for name, value in msgspec.structs.asdict(old.update).items():
        if name == "texts":
            for locale in {*value, *new.update.texts}:
                pairs = zip(old.update.texts_in(locale), new.update.texts_in(locale), strict=True)
                if any(earlier is not None and later is None for earlier, later in pairs):
                    return False
        elif value and value != given[name] and (name in _LEAVES_MORE or not given[name]):
            return False
    return True
