"""Notifications in the form that clients of other services read, and the query that pages through them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta
from sanic import Request

from app.api import schemas
from app.api.notifications import MAX_NOTIFICATION_ROWS, Window
from app.api.parameters import bad_parameter, given, number
from app.domain.channels import INAPP
from app.domain.notifications import Notification
from app.texts.i18n import N_

PAGED_QUERY = {
    **schemas.LIST_QUERY,
    "skip": {
        "type": "integer",
        "minimum": 0,
        "maximum": MAX_NOTIFICATION_ROWS,
        "description": "how many of the newest to skip, also as `offset`; paging with `before` is cheaper",
    },
    "page": {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_NOTIFICATION_ROWS,
        "description": "the page of `limit` notifications, also as `page_size`, `per_page` or `size`",
    },
    "unread_only": {"type": "boolean", "description": "the same as `unread`"},
}
_LIMITS = ("limit", "page_size", "per_page", "size")
_SKIPS = ("skip", "offset")
_FLAGS = {"true": True, "1": True, "yes": True, "on": True}
_FLAGS |= {"false": False, "0": False, "no": False, "off": False}
"""As other frameworks read a flag, in any case: Python clients send True."""


def window(request: Request) -> Window:
    """What part of the list the query asks for, under the names that other services had."""
    limit = _first_number(request, _LIMITS, 1)
    skip = _first_number(request, _SKIPS, 0)
    if skip is None:
        rows = limit or MAX_NOTIFICATION_ROWS
        skip = ((number(request, "page", 1, MAX_NOTIFICATION_ROWS // rows + 1) or 1) - 1) * rows
    unread, unread_only = _flag(request, "unread"), _flag(request, "unread_only")
    return Window(limit, skip, unread or unread_only)


def _first_number(request: Request, names: Sequence[str], least: int) -> int | None:
    numbers = [number(request, name, least, MAX_NOTIFICATION_ROWS) for name in names]
    return next((each for each in numbers if each is not None), None)


def _flag(request: Request, name: str) -> bool:
    values = given(request, name)
    if not values:
        return False
    if len(values) == 1 and values[0].lower() in _FLAGS:
        return _FLAGS[values[0].lower()]
    raise bad_parameter(N_("`%(name)s` must be true or false."), name=name)


class OldNotification(Notification, frozen=True, kw_only=True):
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
    fields = msgspec.structs.asdict(notification) | {"details": None}
    return OldNotification(**fields, user_id=notification.receiver, type=type_, message=notification.content)
