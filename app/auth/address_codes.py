"""The codes by which people confirm addresses: six digits, of which the database has a keyed hash only."""

from __future__ import annotations

import hmac
import secrets
from uuid import UUID

from app.auth.secrets import SecretBox
from app.domain.confirmations import CODE_DIGITS_COUNT

_PURPOSE = b"notification hub: codes of addresses"


class AddressCodes:
    """Makes and compares them. The database doesn't contain the keys, so nobody who reads it can guess a
    code.
    """

    def __init__(self, box: SecretBox) -> None:
        self._keys = box.signing_keys(_PURPOSE)

    def make(self) -> str:
        """A new code."""
        return f"{secrets.randbelow(10**CODE_DIGITS_COUNT):0{CODE_DIGITS_COUNT}d}"

    def hashed(self, address_id: UUID, code: str) -> bytes:
        """The hash of the code of this address: that of another one differs."""
        return _hash(self._keys[0], address_id, code)

    def fits(self, address_id: UUID, code: str, code_hash: bytes) -> bool:
        """Whether it is the code that `hashed` was given, by any of the keys. It always takes as long."""
        found = [hmac.compare_digest(_hash(key, address_id, code), code_hash) for key in self._keys]
        return any(found)


def _hash(key: bytes, address_id: UUID, code: str) -> bytes:
    return hmac.digest(key, address_id.bytes + code.encode(errors="replace"), "sha256")
