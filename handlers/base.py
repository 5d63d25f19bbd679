"""What a handler is, and what nearly all handlers share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import Enum
from functools import cached_property
from types import new_class
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

import msgspec
from msgspec import Struct

from app.domain import exact_json
from app.domain.details import Details, Severity, fields_json
from app.domain.effects import Effects, Text
from app.domain.errors import InvalidEvent
from app.domain.notifications import MAX_GROUP_NAME_CHARS, MAX_TITLE_CHARS, Group, NotificationDraft
from app.domain.preferences import CATEGORIES
from app.domain.user_ids import UUIDS_ONLY, UserIds
from app.texts.i18n import Translatable, render
from app.texts.shortening import shortened
from handlers.details import actor_named, usable_url
from handlers.fields import Receivers, each_once, in_words
from handlers.tolerant import read

MAX_DATA_BYTES = 16 * 1024
AUDIENCE, RECEIVERS = "audience", "receivers"
"""The fields that say whom an event is for."""


class Audience(Enum):
    """Who is notified when the event names no receivers."""

    RECEIVERS = "nobody: the event must name its receivers"
    GROUP = "all members of the group"
    HEAD_CHEF = "the head chef of the group"


S = TypeVar("S", bound=Struct)
M = TypeVar("M", bound=Struct)
D = TypeVar("D", bound=Struct)


class BaseMessageHandler(ABC, Generic[M]):
    """Handles one event type: validates the message and returns its effects. No I/O.

    The pipeline calls `parse`, then `group_needed`, then `handle` with that group.
    """

    event_type: str
    message_type: type[M]
    category: ClassVar[str]
    """The category of its preferences: see `app.domain.preferences.CATEGORIES`."""
    urgent: ClassVar[bool] = False
    """Whether it is delivered even in a person's quiet hours."""
    only_from: ClassVar[str | None] = None
    """The only source it is accepted from, if other sources are open to services that mustn't send it."""
    addressed_by: ClassVar[Sequence[str]] = ()
    """The fields that say whom it is for, the one with users' ids first. None: it can't have an audience."""
    offers: ClassVar[Sequence[str]] = ()
    """The channels by which all whom it notifies in-app are offered a message too (`DeliveryDraft.offered`).
    If a notification has no trace of that message beside it, it was off by default: no row says so.
    """
    required_in_other_spellings: ClassVar[bool] = False
    """Whether required fields may be numbers in texts and texts in numbers, as optional ones may."""
    user_ids: UserIds = UUIDS_ONLY
    """What reads the ids of users."""
    severity: ClassVar[Severity] = "info"
    icon: ClassVar[str] = "bell"
    actor_field: ClassVar[str | None] = None
    """The field of `data` with the name of who did it."""
    url_field: ClassVar[str | None] = None
    """The field of `data` with the URL that a notification leads to."""

    def parse(self, body: Mapping[str, Any]) -> M:
        """Check the message. Raises `InvalidEvent` (reason `bad_field`) naming the field."""
        return self.checked(body, self.message_type)

    def for_one(self, body: Mapping[str, Any], user: UUID) -> dict[str, Any]:
        """The message for one user, of one that is for an audience. Raises `InvalidEvent`."""
        if not self.addressed_by:
            raise InvalidEvent(
                "bad_field",
                f"{self.event_type}: `audience` is not accepted: it is about one person",
            )
        for name in self.addressed_by:
            if body.get(name):
                raise InvalidEvent(
                    "bad_field",
                    f"{self.event_type}: `audience` and `{name}` are both given; send one",
                )
        left_out = (AUDIENCE, *self.addressed_by)
        first = self.addressed_by[0]
        own = {name: value for name, value in body.items() if name not in left_out}
        return own | {first: [str(user)] if first == RECEIVERS else str(user)}

    def group_needed(self, message: M) -> UUID | None:
        """The group to ask the user service for before `handle`, or None."""
        return None

    def needs_fresh_group(self, message: M) -> bool:
        """Whether a cached group isn't enough, as the event itself changes who is in the group."""
        return False

    def can_do_without_group(self, message: M) -> bool:
        """Whether `handle` also takes the message with no group, while the user service doesn't answer."""
        return False

    @abstractmethod
    def handle(self, message: M, body: Mapping[str, Any], group: Group | None, locale: str) -> Effects:
        """Compute the effects of the message. Raises `InvalidEvent` if it can't have any."""

    def details(self, raw_data: bytes) -> Details:
        """What a notification of this type carries, unless its publisher says otherwise. It is computed when
        a notification is shown, and not stored.
        """
        data: dict[str, Any] = {}
        if self.actor_field or self.url_field:
            with suppress(msgspec.MsgspecError, RecursionError):
                data = msgspec.json.decode(raw_data, type=dict[str, Any])
        return Details(
            category=self.category,
            severity=self.severity,
            url=usable_url(data.get(self.url_field or "")),
            icon=self.icon,
            actor=actor_named(data.get(self.actor_field or "")),
        )

    @cached_property
    def details_json(self) -> bytes | None:
        """The fields of `details` in JSON, without braces, if they are the same whatever the data."""
        if self.actor_field is not None or self.url_field is not None:
            return None
        return fields_json(self.details(b"{}"))

    def checked(self, body: Mapping[str, Any], form: type[S]) -> S:
        """The fields of `body` that `form` has, without unusable optional ones. Raises as `parse`."""
        try:
            return self.converted(body, form)
        except msgspec.ValidationError as error:
            raise InvalidEvent("bad_field", f"{self.event_type}: {in_words(error)}") from None

    def converted(self, body: Mapping[str, Any], form: type[S]) -> S:
        """The same. Raises `msgspec.ValidationError`."""
        return read(body, form, self.user_ids, required_too=self.required_in_other_spellings)


class NotificationHandler(BaseMessageHandler[M], Generic[M, D]):
    """An event that creates notifications in inboxes.

    A subclass sets `data_type`, `title` and `content`; `params` and `count` where its texts need more.
    """

    data_type: type[D]
    title: ClassVar[Translatable]
    content: ClassVar[Translatable]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        category = getattr(cls, "category", None)
        if category is not None and category not in CATEGORIES:
            raise TypeError(
                f"{cls.__name__}: category {category!r} must be one of {', '.join(CATEGORIES)}; "
                "add a new one to CATEGORIES in app/domain/preferences.py"
            )

    @cached_property
    def template_code(self) -> str:
        """The event type in capitals, as stored."""
        return self.event_type.upper()

    def text(
        self, raw_data: bytes, group_name: str, locale: str, receiver: UUID | None = None, title: str = ""
    ) -> Text:
        """Title and content in `locale`, made again from what is stored.

        The receiver and the stored title choose among the texts, where the event type has several.
        Raises `msgspec.ValidationError` where the data has a form which is no longer handled.
        """
        data = msgspec.convert(exact_json.decode(raw_data), dict[str, Any])
        data.pop("group_name", None)  # it is stored beside, and may be of any form here
        return self._text(self.converted(data, self.data_type), group_name, locale)

    def params(self, data: D, locale: str) -> dict[str, object]:
        """The values that title and content name, but for `group_name`."""
        return msgspec.structs.asdict(data)

    def count(self, data: D) -> int | None:
        """The number that chooses the plural form, where the texts have one."""
        return None

    def no_receivers(self) -> InvalidEvent:
        """Why an event that has to name its receivers, and doesn't, is refused."""
        return InvalidEvent("no_receivers", f"{self.event_type}: `receivers` is required")

    def _draft(
        self,
        data: D,
        receivers: Sequence[UUID],
        raw_data: str,
        locale: str,
        group_id: UUID | None = None,
        group_name: str | None = None,
    ) -> NotificationDraft:
        if group_name is not None:
            group_name = shortened(group_name, MAX_GROUP_NAME_CHARS)
        text = self._text(data, group_name or "", locale)
        return NotificationDraft(
            group_id=group_id,
            group_name=group_name,
            receivers=receivers,
            template_code=self.template_code,
            raw_data=raw_data,
            title=text.title,
            content=text.content,
        )

    def _text(self, data: D, group_name: str, locale: str) -> Text:
        params = self.params(data, locale)
        params["group_name"] = group_name
        count = self.count(data)
        title = shortened(render(locale, self.title, params, count), MAX_TITLE_CHARS)
        return Text(title, render(locale, self.content, params, count))


class GroupData(Struct):
    """What `data` of every group event may carry."""

    group_name: str | None = None


def named(data: GroupData) -> str | None:
    """The group's name, if the event has one that isn't blank."""
    return (data.group_name or "").strip() or None


G = TypeVar("G", bound=GroupData)


class GroupMessage(Struct, Generic[G]):
    """The envelope of an event about a group."""

    group_id: UUID
    data: G
    receivers: Receivers | None = None
    receiver_is_head_chef: bool = False


_ENVELOPE = {"event_id", "event_type", *GroupMessage.__struct_fields__}


class GroupEventHandler(NotificationHandler[GroupMessage[G], G], Generic[G]):
    """An event about a group. It notifies its receivers, the group's members or its head chef.

    A subclass also sets `audience` where that isn't the receivers alone.
    """

    addressed_by = (RECEIVERS, "receiver_is_head_chef")

    audience: ClassVar[Audience] = Audience.RECEIVERS

    def __init__(self) -> None:
        # A separate class: msgspec looks up a generic alias by its hash, which takes as long as the rest.
        self.message_type = new_class(("Message"), (GroupMessage[self.data_type],))  # type: ignore[name-defined]
        if not any(field.required for field in msgspec.structs.fields(self.data_type)):
            data = ("data", self.data_type, msgspec.field(default_factory=self.data_type))
            self.message_type = msgspec.defstruct(("Message"), [data], bases=(self.message_type,))  # type: ignore[assignment]

    def group_needed(self, message: GroupMessage[G]) -> UUID | None:
        """The group, if its name or its members are missing in the event."""
        if not message.receivers and self._audience(message) is Audience.RECEIVERS:
            raise self.no_receivers()
        return None if message.receivers and named(message.data) else message.group_id

    def handle(
        self, message: GroupMessage[G], body: Mapping[str, Any], group: Group | None, locale: str
    ) -> Effects:
        """Notify the receivers, else the audience in the group."""
        group_name = named(message.data) or (group.name if group else "")
        receivers = self._receivers(message, group)
        raw_data = kept(_data(body))
        draft = self._draft(message.data, receivers, raw_data, locale, message.group_id, group_name)
        return Effects(draft)

    def _audience(self, message: GroupMessage[G]) -> Audience:
        return Audience.HEAD_CHEF if message.receiver_is_head_chef else self.audience

    def _receivers(self, message: GroupMessage[G], group: Group | None) -> Sequence[UUID]:
        if message.receivers:
            return each_once(message.receivers)
        if group is None:
            raise AssertionError(f"{self.event_type} was handled without the group it needs")
        receivers = group.head_chefs if self._audience(message) is Audience.HEAD_CHEF else group.members
        if not receivers:
            raise InvalidEvent(
                "no_receivers", f"group {message.group_id} has {_NOBODY[self._audience(message)]}"
            )
        return receivers


_NOBODY = {Audience.GROUP: "no members", Audience.HEAD_CHEF: "no head chef"}


def data_of(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """`data` as it was sent; empty if it is no object, which event types without required data allow."""
    data = body.get("data")
    return data if isinstance(data, dict) else {}


def _data(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """`data` with the envelope's unknown fields."""
    data = data_of(body)
    if body.keys() <= _ENVELOPE:
        return data
    return {key: value for key, value in body.items() if key not in _ENVELOPE} | dict(data)


def kept(fields: Mapping[str, Any]) -> str:
    """The fields as they are stored. Raises `InvalidEvent` (data_too_large)."""
    encoded = exact_json.encode(fields)
    if len(encoded) > MAX_DATA_BYTES:
        raise InvalidEvent(
            "data_too_large", f"`data` has {len(encoded)} bytes; the limit is {MAX_DATA_BYTES}"
        )
    return encoded.decode()
