"""What a handler is, and what nearly all handlers share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Annotated, Any, ClassVar, Generic, NamedTuple, TypeVar
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from app.deliveries import DeliveryDraft
from app.errors import InvalidEvent
from app.i18n import Message, render
from app.notifications import Group, NotificationDraft

MAX_RECEIVERS = 10_000
MAX_DATA_BYTES = 16 * 1024

Name = Annotated[str, Meta(max_length=500)]
Names = Annotated[list[Name], Meta(max_length=100)]


class Audience(Enum):
    """Who is told when the event names no receivers itself."""

    RECEIVERS = "nobody else: the event has to name them"
    GROUP = "all members of the group"
    HEAD_CHEF = "the head chef of the group"


class Text(NamedTuple):
    """What a person reads."""

    title: str
    content: str


class Effects(NamedTuple):
    """What an event asks of the hub."""

    notification: NotificationDraft | None = None
    disconnect: UUID | None = None
    deliveries: Sequence[DeliveryDraft] = ()


M = TypeVar("M", bound=Struct)


class BaseMessageHandler(ABC, Generic[M]):
    """Handles one event type: checks the message and says what follows from it. No I/O.

    The pipeline calls `parse`, then `group_needed`, then `handle` with that group.
    """

    event_type: str
    message_type: type[M]

    def parse(self, body: Mapping[str, Any]) -> M:
        """Check the message. Raises `InvalidEvent` (reason `bad_field`) naming the field."""
        try:
            return msgspec.convert(body, self.message_type)
        except msgspec.ValidationError as error:
            raise InvalidEvent("bad_field", f"{self.event_type}: {error}") from None

    def group_needed(self, message: M) -> UUID | None:
        """The group to ask the user service for before `handle`, or None."""
        return None

    @abstractmethod
    def handle(self, message: M, body: Mapping[str, Any], group: Group | None, locale: str) -> Effects:
        """What follows from the message. Raises `InvalidEvent` when nothing can."""


class GroupData(Struct):
    """What `data` of every group event may carry."""

    group_name: Name | None = None


D = TypeVar("D", bound=GroupData)


class GroupMessage(Struct, Generic[D]):
    """The envelope of an event about a group."""

    group_id: UUID
    data: D
    receivers: Annotated[list[UUID], Meta(max_length=MAX_RECEIVERS)] | None = None
    receiver_is_head_chef: bool = False


_ENVELOPE = {"event_id", "event_type", *GroupMessage.__struct_fields__}


class GroupEventHandler(BaseMessageHandler[GroupMessage[D]], Generic[D]):
    """An event about a group, told to its receivers, to the group or to its head chef.

    A subclass sets `data_type`, `title` and `content`, and what else differs.
    """

    data_type: type[D]
    audience: ClassVar[Audience] = Audience.RECEIVERS
    title: ClassVar[Message]
    content: ClassVar[Message]

    def __init__(self) -> None:
        self.message_type = GroupMessage[self.data_type]  # type: ignore[name-defined]

    @property
    def template_code(self) -> str:
        return self.event_type.upper()

    def group_needed(self, message: GroupMessage[D]) -> UUID | None:
        if not message.receivers and self._audience(message) is Audience.RECEIVERS:
            raise InvalidEvent("no_receivers", f"{self.event_type}: receivers are missing")
        return message.group_id if not message.receivers or not message.data.group_name else None

    def handle(
        self, message: GroupMessage[D], body: Mapping[str, Any], group: Group | None, locale: str
    ) -> Effects:
        group_name = message.data.group_name or (group.name if group else "")
        raw_data = _raw_data(body)
        text = self._text(message.data, group_name, locale)
        return Effects(
            NotificationDraft(
                group_id=message.group_id,
                group_name=group_name,
                receivers=self._receivers(message, group),
                template_code=self.template_code,
                raw_data=raw_data,
                title=text.title,
                content=text.content,
            )
        )

    def text(self, raw_data: bytes, group_name: str, locale: str) -> Text:
        """Title and content in `locale`, made again from what is stored."""
        data = msgspec.json.decode(raw_data, type=dict[str, Any])
        data.pop("group_name", None)  # it is stored beside, and may be of any form here
        return self._text(msgspec.convert(data, self.data_type), group_name, locale)

    def params(self, data: D, locale: str) -> dict[str, object]:
        """The values that title and content name."""
        return msgspec.structs.asdict(data)

    def count(self, data: D) -> int | None:
        """The number that chooses the plural form, where the texts have one."""
        return None

    def _text(self, data: D, group_name: str, locale: str) -> Text:
        params = self.params(data, locale)
        params["group_name"] = group_name
        count = self.count(data)
        return Text(render(locale, self.title, params, count), render(locale, self.content, params, count))

    def _audience(self, message: GroupMessage[D]) -> Audience:
        return Audience.HEAD_CHEF if message.receiver_is_head_chef else self.audience

    def _receivers(self, message: GroupMessage[D], group: Group | None) -> Sequence[UUID]:
        if message.receivers:
            return (
                message.receivers if len(message.receivers) == 1 else list(dict.fromkeys(message.receivers))
            )
        if group is None:
            raise AssertionError(f"{self.event_type} was handled without the group it needs")
        told = group.head_chefs if self._audience(message) is Audience.HEAD_CHEF else group.members
        if not told:
            raise InvalidEvent(
                "no_receivers", f"group {message.group_id} has {_NOBODY[self._audience(message)]}"
            )
        return told


_NOBODY = {Audience.GROUP: "no members", Audience.HEAD_CHEF: "no head chef"}


def _raw_data(body: Mapping[str, Any]) -> str:
    """`data` with the envelope's unknown fields, as JSON."""
    data: Mapping[str, Any] = body["data"]
    if not body.keys() <= _ENVELOPE:
        data = {key: value for key, value in body.items() if key not in _ENVELOPE} | dict(data)
    encoded = msgspec.json.encode(data)
    if len(encoded) > MAX_DATA_BYTES:
        raise InvalidEvent(
            "data_too_large", f"data has {len(encoded)} bytes, at most {MAX_DATA_BYTES} are kept"
        )
    return encoded.decode()
