"""Short signed names of deliveries, for addresses that come back from outside: return paths, opened mails."""

from __future__ import annotations

import hmac
from base64 import b32decode, b32encode
from hashlib import sha256
from uuid import UUID

from app.auth.secrets import SecretBox

TOKEN_CHARS = 42
RETURN_PATH, OPENED = b"notification hub: return paths", b"notification hub: opened mails"
"""What a token is for. One for the one isn't valid for the other."""
_ID_BYTES, _SIGNATURE_BYTES = 16, 10


class DeliveryTokens:
    """Makes and reads them, for one purpose.

    They consist of a-z and 2-7, as mail servers may change the case of an address. The signature has 80 bits:
    it can be guessed only by asking the hub.
    """

    def __init__(self, box: SecretBox, purpose: bytes) -> None:
        self._keys = box.signing_keys(purpose)

    def make(self, delivery: UUID) -> str:
        """The token, of `TOKEN_CHARS` characters."""
        signed = delivery.bytes + _signature(self._keys[0], delivery.bytes)
        return b32encode(signed).decode().rstrip("=").lower()

    def read(self, token: str) -> UUID | None:
        """The delivery; None if no key of the box signed it."""
        if len(token) != TOKEN_CHARS or not token.isascii():
            return None
        try:
            content = b32decode(token.upper() + "=" * (-TOKEN_CHARS % 8))
        except ValueError:
            return None
        found, given = content[:_ID_BYTES], content[_ID_BYTES:]
        # all are computed, whichever fits
        fits = [hmac.compare_digest(_signature(key, found), given) for key in self._keys]
        return UUID(bytes=found) if any(fits) else None


def _signature(key: bytes, content: bytes) -> bytes:
    return hmac.new(key, content, sha256).digest()[:_SIGNATURE_BYTES]
