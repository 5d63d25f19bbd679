"""Devices: browsers that take web push (the Push API's subscriptions). No I/O."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode
from binascii import Error as Base64Error
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Annotated, NamedTuple, Protocol
from uuid import UUID

import msgspec
from msgspec import Meta

from app.domain.user_ids import parse_uuid

AUTH_BYTES = 16
PUBLIC_KEY_BYTES = 65  # an uncompressed point of P-256
_P256_PRIME, _P256_B = (  # the curve (FIPS 186-5): y² = x³ - 3x + b modulo the prime
    2**256 - 2**224 + 2**192 + 2**96 - 1,
    0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
)


class Subscription(NamedTuple):
    """Where a browser's push service takes messages for it, and the keys to encrypt them with (RFC 8291)."""

    endpoint: str
    """A secret: whoever knows it may send to the push service."""
    public_key: bytes
    auth: bytes

    @property
    def device_id(self) -> UUID:
        """Derived from the endpoint: a browser that registers again is the same device."""
        return UUID(bytes=hashlib.sha256(self.endpoint.encode()).digest()[:16], version=5)


class Device(msgspec.Struct, frozen=True):
    """A browser of a user that takes web push."""

    id: UUID
    endpoint: Annotated[str, Meta(examples=["https://push.example.com/send/dpH5lCsTSSM"])]
    created_at: Annotated[datetime, Meta(tz=True)]
    seen_at: Annotated[datetime, Meta(tz=True, description="when it was last registered")]


class Devices(Protocol):
    """Which devices users have: `app.store.devices` in production."""

    async def of_users(self, users: Collection[UUID]) -> Mapping[UUID, Sequence[UUID]]:
        """The ids of the devices of those of `users` who have any.

        Raises:
            Unavailable: The store does not answer.
        """


def device_id(text: str) -> UUID:
    """Read the id of a device. Raises `ValueError`, with words that don't repeat it, when it is none."""
    found = parse_uuid(text)
    if found is None:
        raise ValueError("it must be the id of a device, a UUID")
    return found


def public_key(text: str) -> bytes:
    """Read the key `p256dh` of a subscription. Raises `ValueError` unless it is a point of P-256."""
    key = _base64url(text)
    x, y = int.from_bytes(key[1:33], "big"), int.from_bytes(key[33:], "big")
    on_curve = (y * y - (x * x * x - 3 * x + _P256_B)) % _P256_PRIME == 0
    if len(key) != PUBLIC_KEY_BYTES or key[0] != 4 or max(x, y) >= _P256_PRIME or not on_curve:
        raise ValueError("it must be an uncompressed point of P-256 (65 bytes) in base64url")
    return key


def auth_secret(text: str) -> bytes:
    """Read the key `auth` of a subscription. Raises `ValueError` unless it has 16 bytes."""
    secret = _base64url(text)
    if len(secret) != AUTH_BYTES:
        raise ValueError(f"it must be {AUTH_BYTES} bytes in base64url")
    return secret


def _base64url(text: str) -> bytes:
    """Empty if it is none. Padding may be left out; the letters of plain base64 count, too."""
    try:
        plain = text.rstrip("=").replace("+", "-").replace("/", "_")
        if not plain.isascii() or not plain.replace("-", "").replace("_", "").isalnum():
            return b""
        return urlsafe_b64decode(plain + "=" * (-len(plain) % 4))
    except (Base64Error, ValueError):
        return b""
