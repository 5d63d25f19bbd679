"""Encryption of secrets at rest: one-time codes until they are sent."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from app.domain.errors import ConfigurationError

_KEY_BYTES = 32


class SecretBox:
    """Encrypts with the first key of DELIVERY_KEYS, decrypts with any of them (Fernet: AES-128-CBC and HMAC).

    Without that setting the key is derived from a secret that all nodes share and the database doesn't
    contain: JWT_SECRET, or DATABASE_URL with its password. Once DELIVERY_KEYS is set the derived key still
    decrypts, so codes that wait to be sent survive the change. Raises `ConfigurationError` when there is no
    secret.
    """

    def __init__(
        self, delivery_keys: Sequence[SecretStr], jwt_secret: SecretStr | None, database_url: SecretStr
    ) -> None:
        keys = [key.get_secret_value().encode() for key in delivery_keys]
        derived = _derived(jwt_secret, database_url)
        if derived is not None:
            keys.append(derived)
        if not keys:
            raise ConfigurationError(
                "DELIVERY_KEYS is not set, and there is no other secret to derive a key for one-time codes "
                "from (JWT_SECRET, a password in DATABASE_URL). Set it to the output of "
                "cryptography.fernet.Fernet.generate_key()."
            )
        self._keys = keys
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    def for_purpose(self, purpose: bytes) -> MultiFernet:
        """Keys for something else, derived from those of the box."""
        secrets = map(base64.urlsafe_b64decode, self._keys)
        return MultiFernet([Fernet(_expanded(secret, purpose)) for secret in secrets])

    def signing_keys(self, purpose: bytes) -> list[bytes]:
        """Keys of HMAC for something else, derived from those of the box; the first signs."""
        return [_expanded(base64.urlsafe_b64decode(key), purpose) for key in self._keys]

    def encrypt(self, secret: Mapping[str, Any]) -> bytes:
        """Encrypt a secret (Fernet: AES-128-CBC with HMAC-SHA-256)."""
        return self._fernet.encrypt(msgspec.json.encode(secret))

    def decrypt(self, token: bytes) -> dict[str, Any] | None:
        """Decrypt what `encrypt` returned; None when no key fits."""
        try:
            return msgspec.json.decode(self._fernet.decrypt(token), type=dict[str, Any])
        except InvalidToken:
            return None


def _derived(jwt_secret: SecretStr | None, database_url: SecretStr) -> bytes | None:
    secret = jwt_secret
    if secret is None and make_url(database_url.get_secret_value()).password:
        secret = database_url
    if secret is None:
        return None
    return _expanded(secret.get_secret_value().encode(), b"notification hub: deliveries")


def _expanded(secret: bytes, purpose: bytes) -> bytes:
    derivation = HKDF(SHA256(), _KEY_BYTES, salt=None, info=purpose)
    return base64.urlsafe_b64encode(derivation.derive(secret))
