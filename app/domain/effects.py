"""What follows from an event, as its handler says it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from app.domain.deliveries import DeliveryDraft
from app.domain.notifications import NotificationDraft


class Text(NamedTuple):
    """What a person reads."""

    title: str
    content: str


class Effects(NamedTuple):
    """What an event asks of the hub. `category` and `urgent` are the handler's unless the event says more.

    With `send_at`, if that is to come, all of it happens then.
    """

    notification: NotificationDraft | None = None
    disconnect: UUID | None = None
    deliveries: Sequence[DeliveryDraft] = ()
    category: str | None = None
    urgent: bool | None = None
    send_at: datetime | None = None
