"""Outbound webhooks: the kinds of events, and the signature (Standard Webhooks). No I/O."""

from __future__ import annotations

import hmac
import secrets
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from uuid import UUID

KINDS = (
    "delivery.sent",
    "delivery.delivered",
    "delivery.failed",
    "notification.read",
    "notification.archived",
    "person.unsubscribed",
)
"""What endpoints may ask for."""
UNSUBSCRIBED = KINDS[-1]
SECRET_BYTES = 32
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64
SECRET_PREFIX = "whsec_"  # noqa: S105 - no secret


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
