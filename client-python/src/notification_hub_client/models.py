"""What the hub answers. Fields that this version does not know are ignored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from notification_hub_client.event import Action, Actor


@dataclass(frozen=True, kw_only=True)
class Notification:
    """One notification of one inbox. `seq` counts 1, 2, 3 … in the inbox."""

    id: int
    seq: int
    receiver: UUID
    created_at: datetime
    template_code: str
    title: str
    content: str
    is_read: bool
    group_id: UUID | None = None
    group_name: str | None = None
    raw_data: Mapping[str, Any] = field(default_factory=dict)
    category: str | None = None
    severity: str = "info"
    """`info`, `success`, `warning` or `critical`."""
    url: str | None = None
    """Where it leads: an http(s) URL, or a path that begins with one `/`."""
    actions: Sequence[Action] = ()
    icon: str | None = None
    """The name of an icon, or the URL of an image."""
    image: str | None = None
    actor: Actor | None = None
    thread_key: str | None = None
    expires_at: datetime | None = None
    snoozed_until: datetime | None = None
    """When it returns to the inbox, as a new notification."""

    @property
    def event_type(self) -> str:
        """The type of the event that it is about, such as `group_user_added`."""
        return self.template_code.lower()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read one as REST and WebSocket have it."""
        group_id, actor = data.get("group_id"), data.get("actor")
        return cls(
            id=data["id"],
            seq=data["seq"],
            receiver=UUID(data["receiver"]),
            created_at=datetime.fromisoformat(data["created_at"]),
            template_code=data["template_code"],
            title=data["title"],
            content=data["content"],
            is_read=data["is_read"],
            group_id=UUID(group_id) if group_id else None,
            group_name=data.get("group_name"),
            raw_data=data.get("raw_data") or {},
            category=data.get("category"),
            severity=data.get("severity", "info"),
            url=data.get("url"),
            actions=[
                Action(id=each["id"], label=each["label"], url=each.get("url"))
                for each in data.get("actions", ())
            ],
            icon=data.get("icon"),
            image=data.get("image"),
            actor=Actor(name=actor["name"], avatar=actor.get("avatar")) if actor else None,
            thread_key=data.get("thread_key"),
            expires_at=moment(data.get("expires_at")),
            snoozed_until=moment(data.get("snoozed_until")),
        )


@dataclass(frozen=True)
class InboxCounters:
    """The number of unread notifications at one moment.

    Of two counters, the one with the higher `rev`, or else the higher `last_seq`, is newer.
    """

    unread: int
    last_seq: int
    rev: int
    unseen: int = 0
    """Of the unread those with a `seq` above `seen_up_to`: no list that shows them was opened yet."""
    seen_up_to: int = 0

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read those of a frame."""
        seen = (data.get("unseen", 0), data.get("seen_up_to", 0))
        return cls(data["unread"], data["last_seq"], data["rev"], *seen)

    @classmethod
    def from_header(cls, header: str) -> Self:
        """Read the header `Inbox-Count`, such as `unread=2, last_seq=41, rev=13`."""
        parts = (part.strip().split("=", 1) for part in header.split(","))
        return cls.from_json({name: int(value) for name, value in parts})


@dataclass(frozen=True)
class Page:
    """A part of an inbox, newest first. `next_path` leads to the next page; None on the last one."""

    notifications: Sequence[Notification]
    next_path: str | None = None


@dataclass(frozen=True)
class AllMarkedRead:
    """Everything up to the `seq` `up_to` is read; `unread` newer notifications are not."""

    up_to: int
    unread: int


@dataclass(frozen=True)
class AllChanged:
    """Everything up to the `seq` `up_to` was changed; the counters after that."""

    up_to: int
    counters: InboxCounters


@dataclass(frozen=True)
class SentEvent:
    """The result of publishing one event.

    `status` is `accepted`, or in a bulk result also `rejected` (see `code`, `detail`) or `unknown`: it may
    still be stored. Publish it again with `id` as its `event_id`; it is then processed once.
    """

    id: str
    status: str
    follow: str = ""
    code: str = ""
    detail: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read an answer of POST /notifications."""
        names = ("follow", "code", "detail")
        return cls(data["id"], data["status"], *(data.get(name, "") for name in names))


@dataclass(frozen=True)
class BulkResult:
    """The result of each event, in the order of the call."""

    accepted: int
    rejected: int
    unknown: int
    results: Sequence[SentEvent]

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read an answer of POST /notifications/bulk."""
        results = [SentEvent.from_json(each) for each in data["results"]]
        return cls(data["accepted"], data["rejected"], data["unknown"], results)


@dataclass(frozen=True)
class Delivery:
    """One mail, SMS or other message of an event."""

    id: UUID
    channel: str
    status: str
    reason: str | None = None


@dataclass(frozen=True)
class EventStatus:
    """The state of an event: `scheduled`, `parked`, `processed`, `cancelled` or `failed`."""

    id: str
    status: str
    deliveries: Sequence[Delivery] = ()
    send_at: datetime | None = None
    reason: str | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read an answer of GET /notifications/{event_id}."""
        deliveries = [
            Delivery(UUID(each["id"]), each["channel"], each["status"], each.get("reason"))
            for each in data.get("deliveries", ())
        ]
        send_at = moment(data.get("send_at"))
        return cls(data["id"], data["status"], deliveries, send_at, data.get("reason"))


@dataclass(frozen=True)
class Outcome:
    """What would happen for one receiver on one channel: `send`, `wait`, `suppress` or `simulate`."""

    channel: str
    verdict: str
    reason: str
    user_id: UUID | None = None
    address: str | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class DryRun:
    """What publishing the event would do. Nothing was stored or sent."""

    event_id: str
    already_processed: bool
    outcomes: Sequence[Outcome]
    send_at: datetime | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read an answer of POST /notifications/dry-run."""
        outcomes = [
            Outcome(
                each["channel"],
                each["verdict"],
                each["reason"],
                UUID(each["user_id"]) if each.get("user_id") else None,
                each.get("address"),
                moment(each.get("until")),
            )
            for each in data["outcomes"]
        ]
        return cls(data["event_id"], data["already_processed"], outcomes, moment(data.get("send_at")))


def moment(text: str | None) -> datetime | None:
    """An RFC 3339 timestamp."""
    return None if text is None else datetime.fromisoformat(text)
