"""Updates and retractions of notifications, by the service that published them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from app.domain.amendments import Amendment, Texts, Update
from app.domain.details import NOTHING, Actions, Actor, Details, DetailUrl, Icon, Image, Severity, ThreadKey
from app.domain.effects import Effects
from app.domain.errors import InvalidEvent
from app.domain.events import MAX_EVENT_ID_CHARS
from app.domain.notifications import MAX_GROUP_NAME_CHARS, MAX_TITLE_CHARS, Group
from app.texts.hygiene import clean, is_visible
from app.texts.i18n import LOCALES, negotiate
from app.texts.shortening import shortened
from handlers.base import BaseMessageHandler, M, NotificationHandler, S, kept
from handlers.details import GIVEN_FIELDS, usable
from handlers.messages import MAX_MESSAGE_CHARS, AnyUserId, Category

MAX_AMENDED_RECEIVERS = 500
EventId = Annotated[str, Meta(min_length=1, max_length=MAX_EVENT_ID_CHARS)]


class Amending(Struct, kw_only=True):
    """Which notifications: those of an event, or those of a thread of some users."""

    original_event_id: EventId | None = None
    thread_key: ThreadKey | None = None
    receivers: Annotated[list[AnyUserId], Meta(max_length=MAX_AMENDED_RECEIVERS)] = []
    user_id: AnyUserId | None = None

    def __post_init__(self) -> None:
        """msgspec passes the text of a ValueError on to the sender."""
        if (self.original_event_id is None) == (self.thread_key is None):
            raise ValueError("either `original_event_id` or `thread_key` is required")
        if self.thread_key is not None and not self.receivers and self.user_id is None:
            raise ValueError("with `thread_key`, `user_id` or `receivers` is required")


class Updating(Amending, kw_only=True):
    """What is new: texts, or a template with its data, and what the notification carries beside them."""

    title: Annotated[str, Meta(max_length=MAX_MESSAGE_CHARS)] | None = None
    message: Annotated[str, Meta(min_length=1, max_length=MAX_MESSAGE_CHARS)] | None = None
    template_code: Annotated[str, Meta(max_length=100)] | None = None
    data: dict[str, Any] | None = None
    locale: Annotated[str, Meta(max_length=35)] | None = None
    category: Category | None = None
    severity: Severity | None = None
    url: DetailUrl | None = None
    actions: Actions | None = None
    icon: Icon | None = None
    image: Image | None = None
    actor: Actor | None = None
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None
    unread: bool = False

    def __post_init__(self) -> None:
        """msgspec passes the text of a ValueError on to the sender."""
        super().__post_init__()
        for name, text in (("title", self.title), ("message", self.message)):
            if text and not is_visible(text):
                raise ValueError(f"`{name}` has no visible character")
        if self.template_code is not None and (self.title, self.message) != (None, None):
            raise ValueError("`template_code` makes the texts: send it, or `title` and `message`")
        if self.locale is not None and not negotiate(self.locale, ""):
            raise ValueError(f"`locale` must be one of {', '.join(LOCALES)}")


class _AmendingHandler(BaseMessageHandler[M]):
    """Nothing that names the notifications, or the texts, is left out: null is as good as absent, and so are
    details that can't be used.
    """

    category = "messages"
    icon = "message"

    def __init__(
        self,
        handler_of: Callable[[str], BaseMessageHandler[Any] | None],
        image_hosts: Collection[str] = (),
    ) -> None:
        """`handler_of` knows the handler of an event type; `image_hosts` are those of images."""
        self._handler_of = handler_of
        self.image_hosts = image_hosts

    def converted(self, body: Mapping[str, Any], form: type[S]) -> S:
        """As `MessageRequested.converted`."""
        given = {name: value for name, value in body.items() if value is not None}
        details = GIVEN_FIELDS - {"thread_key"}
        if not details.isdisjoint(given):
            fields = {name: value for name, value in given.items() if name in details}
            given = {name: value for name, value in given.items() if name not in details}
            given |= usable(fields, self.image_hosts)
            if fields.get("actions") == []:
                given["actions"] = ()
        return msgspec.convert(given, form)

    def _amendment(self, message: Amending, update: Update | None) -> Effects:
        given = [*message.receivers, *([] if message.user_id is None else [message.user_id])]
        receivers: list[UUID] = []
        for each in given:
            user = self.user_ids.read(each)
            if user is None:
                raise self._refused("`receivers` and `user_id` must be ids of users, UUIDs")
            receivers.append(user)
        target = message.original_event_id, message.thread_key, [*dict.fromkeys(receivers)]
        return Effects(amendment=Amendment(*target, update))

    def _refused(self, why: str) -> InvalidEvent:
        return InvalidEvent("bad_field", f"{self.event_type}: {why}")


class RetractionRequested(_AmendingHandler[Amending]):
    """Takes notifications back: they are in no inbox and no archive any more."""

    event_type = "notification_retracted"
    message_type = Amending

    def handle(self, message: Amending, body: Mapping[str, Any], group: Group | None, locale: str) -> Effects:
        """The retraction."""
        return self._amendment(message, None)


class UpdateRequested(_AmendingHandler[Updating]):
    """Puts newer texts, or details, in the place of those of a notification."""

    event_type = "notification_updated"
    message_type = Updating

    def handle(self, message: Updating, body: Mapping[str, Any], group: Group | None, locale: str) -> Effects:
        """The update. Raises `InvalidEvent` if nothing is new."""
        details = Details(
            category=message.category,
            severity=message.severity,
            url=message.url,
            actions=message.actions or (),
            icon=message.icon,
            image=message.image,
            actor=message.actor,
            expires_at=message.expires_at,
        )
        raw_data = None if message.data is None else kept(message.data)
        group_name = (message.data or {}).get("group_name")
        update = Update(
            texts=self._texts(message, (raw_data or "{}").encode(), locale),
            template_code=self._code(message),
            raw_data=raw_data,
            group_name=shortened(group_name, MAX_GROUP_NAME_CHARS) if isinstance(group_name, str) else None,
            details=None if details == NOTHING else details,
            without_actions=message.actions == (),
            unread=message.unread,
        )
        if update == Update():
            raise self._refused("nothing is new; send `title`, `message`, `template_code` or a detail")
        return self._amendment(message, update)

    def _code(self, message: Updating) -> str | None:
        if message.template_code is not None:
            return message.template_code.upper()
        return None if (message.title, message.message) == (None, None) else "MESSAGE"

    def _texts(self, message: Updating, raw_data: bytes, locale: str) -> dict[str, Texts]:
        """Of a template in each language: those that the receivers have chosen."""
        if message.template_code is None:
            if (message.title, message.message) == (None, None):
                return {}
            title = None if message.title is None else shortened(clean(message.title), MAX_TITLE_CHARS)
            return {"": Texts(title, None if message.message is None else clean(message.message))}
        handler = self._handler_of(message.template_code.lower())
        if not isinstance(handler, NotificationHandler):
            raise self._refused("`template_code` must be an event type with texts")
        group_name = (message.data or {}).get("group_name")
        shown = group_name if isinstance(group_name, str) else ""
        spoken = negotiate(message.locale, locale)
        try:
            found = {each: Texts(*handler.text(raw_data, shown, each)) for each in LOCALES}
        except msgspec.ValidationError as error:
            raise self._refused(f"data doesn't fill the template: {error}") from None
        return {"": found[spoken], **found}
