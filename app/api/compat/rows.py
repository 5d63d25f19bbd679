"""Notifications in the form that clients of other services read, and the query that pages through them."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta
from sanic import Request

from app.api import schemas
from app.api.notifications import MAX_NOTIFICATION_ROWS
from app.api.parameters import number
from app.domain.channels import INAPP
from app.domain.notifications import Notification

PAGED_QUERY = {
    **schemas.LIST_QUERY,
    "skip": {
        "type": "integer",
        "minimum": 0,
        "maximum": MAX_NOTIFICATION_ROWS,
        "description": "how many of the newest to leave out; `before` costs less",
    },
}


def skipped(request: Request) -> int:
    """How many of the newest to leave out."""
    return number(request, "skip", 0, MAX_NOTIFICATION_ROWS) or 0


class OldNotification(Notification, frozen=True):
    """A notification, with the names that other services had for some of its fields."""

    user_id: Annotated[UUID, Meta(description="the same as `receiver`")]
    type: Annotated[str, Meta(examples=["group_user_added"])]
    message: Annotated[str, Meta(description="the same as `content`")]


def with_event_type(notification: Notification) -> OldNotification:
    """The notification; its `type` is the event's."""
    return _old(notification, notification.event_type)


def with_channel(notification: Notification) -> OldNotification:
    """The notification; its `type` is the channel: the inbox."""
    return _old(notification, INAPP)


def _old(notification: Notification, type_: str) -> OldNotification:
    fields = msgspec.structs.asdict(notification)
    return OldNotification(**fields, user_id=notification.receiver, type=type_, message=notification.content)
