"""Outbound webhooks: the kinds of events, and the signature (Standard Webhooks). No I/O."""

from __future__ import annotations

import hmac
import re
import secrets
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec

KINDS = (
    "delivery.sent",
    "delivery.delivered",
    "delivery.failed",
    "notification.seen",
    "notification.read",
    "notification.clicked",
    "notification.archived",
    "person.unsubscribed",
)
"""What endpoints may ask for."""
UNSUBSCRIBED = KINDS[-1]


class DeliveryReported(msgspec.Struct, forbid_unknown_fields=True):
    """`data` of a delivery's message. `status` says what became of it."""

    delivery_id: UUID
    event_id: str
    user_id: UUID | None
    foreign_user_id: str | None
    channel: str
    category: str | None
    template: str
    status: str
    reason: str | None
    error_code: str | None
    provider_id: str | None


class NotificationReported(msgspec.Struct, forbid_unknown_fields=True):
    """`data` about one notification of a user."""

    notification_id: int
    user_id: UUID
    seq: int


class ReadReported(msgspec.Struct, forbid_unknown_fields=True):
    """`data` of one notification that was read, or of all up to a `seq`."""

    user_id: UUID
    notification_id: int | None = None
    seq: int | None = None
    read_up_to: int | None = None


class SeenReported(msgspec.Struct, forbid_unknown_fields=True):
    """`data` of what a user saw: everything up to a `seq`."""

    user_id: UUID
    seen_up_to: int


class ClickReported(NotificationReported):
    """`data` of a click: on an action, or (null) on the notification's own link."""

    action: str | None


class UnsubscribeReported(msgspec.Struct, forbid_unknown_fields=True):
    """`data` of who unsubscribed: a user, or a masked address."""

    category: str
    channel: str
    user_id: UUID | None = None
    address: str | None = None


DATA: Mapping[str, type[msgspec.Struct]] = {
    **dict.fromkeys(KINDS[:3], DeliveryReported),
    "notification.seen": SeenReported,
    "notification.read": ReadReported,
    "notification.clicked": ClickReported,
    "notification.archived": NotificationReported,
    UNSUBSCRIBED: UnsubscribeReported,
}
"""What `data` is, by kind."""
_PLACE = re.compile(r"([a-z]+):([A-Za-z0-9._-]{1,249})")
SECRET_BYTES = 32
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64
SECRET_PREFIX = "whsec_"  # noqa: S105 - no secret


def record_place(url: str) -> tuple[str, str] | None:
    """The broker and the topic that an endpoint's URL names, as `BROKER:TOPIC`; None if it is another URL."""
    found = _PLACE.fullmatch(url)
    return None if found is None or found[2].strip(".") == "" else (found[1], found[2])


def new_secret() -> str:
    """A new secret, as receivers configure it."""
    return SECRET_PREFIX + b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def secret_key(secret: str) -> bytes:
    """The key that a secret stands for. Raises `ValueError`, whose text doesn't repeat it."""
    try:
        key = b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (Base64Error, ValueError):
        key = b""
    if not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        raise ValueError(f"a secret is {SECRET_PREFIX} and 24 to 64 bytes in base64")
    return key


def message_id(number: UUID) -> str:
    """The id of a message: the same at each attempt, so that receivers recognise a repetition."""
    return f"msg_{number.hex}"


def signature(keys: Sequence[bytes], message: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature`: one signature for each key, as receivers may know an older one."""
    signed = f"{message}.{timestamp}.".encode() + body
    return " ".join(f"v1,{b64encode(hmac.digest(key, signed, 'sha256')).decode()}" for key in keys)
