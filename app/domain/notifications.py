"""The values the hub passes on: a notification, its draft before receivers have rows, and a group."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Meta

from app.domain.details import Details

MAX_NOTIFICATION_ID = 2**53 - 1
"""JavaScript and other readers of JSON numbers round integers above it."""
MAX_GROUP_NAME_CHARS = MAX_TITLE_CHARS = 255
MAX_TEMPLATE_CODE_CHARS = 100
DETAILS_BYTES = 2048
"""What the details of a notification count as where a page is bounded: most are far smaller."""
ArchivePlace = Literal["archived", "snoozed"]
"""Where a notification is that is in no inbox. One that is snoozed comes back."""
NotificationId = Annotated[
    int,
    Meta(ge=1, le=MAX_NOTIFICATION_ID, extra_json_schema={"format": "int64"}),
]


class Notification(msgspec.Struct, frozen=True, omit_defaults=True):
    """The notification of one receiver. Encoded without `details` it has the documented fields, as plain
    clients read it; `notification_form` is the form with all that it carries.
    """

    id: NotificationId
    group_id: UUID | None
    group_name: Annotated[str, Meta(max_length=MAX_GROUP_NAME_CHARS, examples=["Family Group"])] | None
    receiver: Annotated[UUID, Meta(examples=["456e7890-e89b-12d3-a456-426614174001"])]
    created_at: Annotated[datetime, Meta(tz=True, description="UTC, ends in Z")]
    template_code: Annotated[str, Meta(max_length=MAX_TEMPLATE_CODE_CHARS, examples=["GROUP_USER_ADDED"])]
    raw_data: Annotated[
        msgspec.Raw,
        Meta(
            description="the event's data",
            examples=[{"requester_username": "john_doe"}],
            extra_json_schema={"type": "object", "additionalProperties": True},
        ),
    ]
    is_read: bool
    title: Annotated[
        str, Meta(max_length=MAX_TITLE_CHARS, examples=["Chào mừng bạn gia nhập nhóm Family Group!"])
    ]
    content: str
    seq: Annotated[
        int,
        Meta(ge=1, description="counts 1, 2, 3 … in the inbox", extra_json_schema={"format": "int64"}),
    ]
    details: Details | None = None
    """What its publisher set of them."""
    snoozed_until: Annotated[datetime, Meta(tz=True, description="of one that is snoozed")] | None = None

    @property
    def event_type(self) -> str:
        """The type of the event, such as `group_user_added`."""
        return self.template_code.lower()

    @property
    def size(self) -> int:
        """Bytes of its data and its content, which bound a page; `DETAILS_BYTES` more if it has details."""
        shown = 0 if self.details is None else DETAILS_BYTES
        return len(bytes(self.raw_data)) + len(self.content.encode()) + shown


def fitting(newest_first: Sequence[Notification], most_bytes: int) -> int:
    """How many of these fit into so many bytes, but one at least."""
    left = most_bytes
    for number, notification in enumerate(newest_first):
        left -= notification.size
        if left < 0:
            return max(1, number)
    return len(newest_first)


class InboxCounters(NamedTuple):
    """How many notifications of an inbox were unread at a moment, and which moment that was.

    `rev` counts the user's changes, `last_seq` the notifications: neither ever decreases, so of two
    counters the one with the higher `rev`, or else the higher `last_seq`, is newer. A notification with a
    `seq` above `last_seq` isn't counted yet. `unseen` of the unread ones have a `seq` above `seen_up_to`.
    """

    unread: int
    last_seq: int
    rev: int
    unseen: int = 0
    seen_up_to: int = 0


class NotificationFilter(NamedTuple):
    """Which notifications a list shows: those whose category, and whose severity, is one of these.

    Few notifications say theirs; the others have those of their event types, by `template_code`.
    """

    categories: Sequence[str] | None = None
    """None: all."""
    category_codes: Sequence[str] = ()
    severities: Sequence[str] | None = None
    severity_codes: Sequence[str] = ()
    severity_of_others: bool = False
    """Whether it is all but `severity_codes`: also types that are no longer handled."""


class ListWindow(NamedTuple):
    """Which part of a list: at most so many, below which `seq`, only unread ones, of the inbox or of a place
    beside it.
    """

    limit: int
    before: int | None = None
    unread: bool = False
    place: ArchivePlace | None = None


class FilteredPage(NamedTuple):
    """Part of a filtered list, newest first, and the `seq` below which the next begins; None if none does."""

    notifications: Sequence[Notification]
    before: int | None


class FilteredCount(NamedTuple):
    """How many unread notifications a filter lets through."""

    unread: int
    unseen: int
    exact: bool
    """False if the inbox has more unread notifications than were looked at."""


class ExpiredNotifications(NamedTuple):
    """Notifications of an inbox that were deleted as their time was over, by id, and the counters then."""

    receiver: UUID
    ids: Sequence[int]
    counters: InboxCounters


class PersonalText(NamedTuple):
    """The texts of one receiver, where they differ from those of the others."""

    receiver: UUID
    title: str
    content: str


class NotificationDraft(msgspec.Struct, frozen=True):
    """One event's notification before it is fanned out: equal for all receivers, but for `personal`.

    `receivers` holds each receiver once, in the publisher's order. `raw_data` is a JSON object as text. Texts
    are no longer than those of a notification.
    """

    group_id: UUID | None
    group_name: str | None
    receivers: Sequence[UUID]
    template_code: str
    raw_data: str
    title: str
    content: str
    personal: PersonalText | None = None
    details: Details | None = None

    def by_text(self) -> Sequence[NotificationDraft]:
        """Drafts whose receivers all read the same texts."""
        if self.personal is None:
            return (self,)
        receiver, title, content = self.personal
        shared = msgspec.structs.replace(
            self, receivers=[each for each in self.receivers if each != receiver], personal=None
        )
        own = msgspec.structs.replace(self, receivers=[receiver], title=title, content=content, personal=None)
        return [
            *([shared] if shared.receivers else ()),
            *([own] if receiver in self.receivers else ()),
        ]


class Group(msgspec.Struct, frozen=True):
    """A group as the user service lists it."""

    name: str
    members: tuple[UUID, ...]
    head_chefs: tuple[UUID, ...]


def event_hash(event_id: str) -> int:
    """Compute 64 bits of a hash of `event_id`, signed, as a bigint.

    A stored notification has it, so that a redelivered event finds its notifications again (026). It must
    not change between releases.
    """
    return int.from_bytes(hashlib.blake2b(event_id.encode(), digest_size=8).digest(), "big", signed=True)


def notification_form() -> type[msgspec.Struct]:
    """The form of a notification with its details, as descriptions of the API show it."""
    fields = [field for field in msgspec.structs.fields(Notification) if field.name != "details"]
    documented = [(field.encode_name, field.type) for field in fields if field.required]
    others = [(field.encode_name, field.type, field.default) for field in fields if not field.required]
    details = [(field.encode_name, field.type, field.default) for field in msgspec.structs.fields(Details)]
    return msgspec.defstruct(
        "Notification",
        [*documented, *details, *others],
        omit_defaults=True,
        namespace={"__doc__": "The notification of one receiver, in the form that clients read."},
    )
