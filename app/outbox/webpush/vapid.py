"""VAPID (RFC 8292): the sender of a web push, signed for the push service."""

from __future__ import annotations

import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error

import jwt
from cachetools import TTLCache
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    derive_private_key,
    generate_private_key,
)

from app.domain.errors import ConfigurationError
from app.domain.outbound import origin
from app.domain.time import Now
from app.outbox.webpush.encryption import point

TOKEN_SECONDS = 12 * 3600  # 24 hours at most (RFC 8292, 2)
REUSE_SECONDS = 3600.0
MAX_ORIGINS = 1000
SETTING = "VAPID_PRIVATE_KEY"


class Vapid:
    """Signs requests to push services."""

    def __init__(self, private_key: str, subject: str, now: Now = time.time) -> None:
        """`private_key` is as `new_private_key` returns it, `subject` a mailto: or https: URL.

        Raises `ConfigurationError`.
        """
        self._key = _private_key(private_key)
        self._subject = subject
        self._now = now
        self._tokens: TTLCache[str, str] = TTLCache(MAX_ORIGINS, REUSE_SECONDS)
        self.public_key = _text(point(self._key))
        """What browsers subscribe with (`applicationServerKey`), in base64url."""

    def authorization(self, endpoint: str) -> str:
        """The header `Authorization` of a request to the endpoint. A token is used for `REUSE_SECONDS`."""
        audience = origin(endpoint)
        token = self._tokens.get(audience)
        if token is None:
            claims = {"aud": audience, "exp": int(self._now()) + TOKEN_SECONDS, "sub": self._subject}
            token = self._tokens[audience] = jwt.encode(claims, self._key, algorithm="ES256")
        return f"vapid t={token}, k={self.public_key}"


def new_private_key() -> str:
    """A new key in base64url, as other libraries for web push write it, too."""
    return _text(generate_private_key(SECP256R1()).private_numbers().private_value.to_bytes(32, "big"))


def _private_key(text: str) -> EllipticCurvePrivateKey:
    try:
        secret = urlsafe_b64decode(text.strip().rstrip("=") + "=" * (-len(text.strip().rstrip("=")) % 4))
        if len(secret) != 32:
            raise ValueError
        return derive_private_key(int.from_bytes(secret, "big"), SECP256R1())
    except (Base64Error, ValueError):
        raise ConfigurationError(
            f"{SETTING} is no private key of P-256 (32 bytes in base64url); `python run.py vapid` makes one."
        ) from None


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
