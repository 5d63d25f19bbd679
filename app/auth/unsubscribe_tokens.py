"""The tokens in unsubscribe links: who no longer wants which category, encrypted with a separate key."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import SecretStr

from app.auth.secrets import SecretBox

MAX_AGE_DAYS = 400
"""Days that a link works. Laws ask for at least 30 (CAN-SPAM); people also unsubscribe by old mail."""
MAX_TOKEN_CHARS = 1000
_PURPOSE = b"notification hub: unsubscribe links"


class Unsubscription(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person, or a bare address, and the category and channel that it concerns. `locale` is the mail's."""

    category: str
    channel: str
    user_id: UUID | None = None
    address: str | None = None
    locale: str | None = None


class UnsubscribeTokens:
    """Makes and reads them. A link holds no address that a log, or whoever sees the link, could read."""

    def __init__(self, keys: Sequence[SecretStr], box: SecretBox) -> None:
        """`keys` are those of UNSUBSCRIBE_KEYS; without them the keys are derived from those of `box`."""
        own = [Fernet(key.get_secret_value()) for key in keys]
        self._fernet = MultiFernet(own) if own else box.for_purpose(_PURPOSE)

    def make(self, unsubscription: Unsubscription) -> str:
        """The token, of URL-safe characters."""
        return self._fernet.encrypt(msgspec.json.encode(unsubscription)).decode().rstrip("=")

    def read(self, token: str) -> Unsubscription | None:
        """What `make` was given; None if it made no such token, or made it too long ago."""
        if len(token) > MAX_TOKEN_CHARS or not token.isascii():
            return None
        try:
            padded = token.encode() + b"=" * (-len(token) % 4)
            content = self._fernet.decrypt(padded, ttl=MAX_AGE_DAYS * 24 * 3600)
            return msgspec.json.decode(content, type=Unsubscription)
        except (InvalidToken, msgspec.MsgspecError):
            return None
