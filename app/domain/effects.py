"""The effects of an event, as its handler returns them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from app.domain.deliveries import DeliveryDraft
from app.domain.notifications import NotificationDraft


class Text(NamedTuple):
    """The texts of a notification."""

    title: str
    content: str


class Effects(NamedTuple):
    """What the hub does for an event.

    `category` and `urgent` override the handler's. With a `send_at` in the future, all of it happens then.
    """

    notification: NotificationDraft | None = None
    disconnect: UUID | None = None
    deliveries: Sequence[DeliveryDraft] = ()
    category: str | None = None
    urgent: bool | None = None
    send_at: datetime | None = None
