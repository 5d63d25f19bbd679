"""Addresses that a delivery can go to: mailboxes and phone numbers."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

import idna

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_ATEXT = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+/=?^_`{|}~-.")
MAX_LOCAL_BYTES, MAX_ADDRESS_BYTES = 64, 254  # bytes (RFC 5321, 4.5.3.1)


class Mailbox(NamedTuple):
    """Where mail goes: `local`@`domain`, the domain in ASCII (IDNA) always.

    So only letters beyond ASCII in `local` need a server, and every one behind it, to know SMTPUTF8.
    """

    local: str
    domain: str

    @property
    def ascii(self) -> bool:
        """Whether the local part is ASCII: other ones need a server with SMTPUTF8 (RFC 6531)."""
        return self.local.isascii()

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"


def mailbox(address: str) -> Mailbox:
    """Read one bare address. Raises `ValueError`, with words that don't repeat it, when it is none."""
    local, at, domain = unicodedata.normalize("NFC", address).rpartition("@")
    if not at:
        raise ValueError("the address must contain @")
    if not local or not all(c in _ATEXT if c.isascii() else c.isprintable() for c in local):
        raise ValueError("the address has invalid characters before the @")
    if local.startswith(".") or local.endswith(".") or ".." in local:
        raise ValueError("the address has a misplaced dot before the @")
    try:
        found = Mailbox(local, idna.encode(domain, uts46=True, std3_rules=True).decode().rstrip("."))
    except UnicodeError:
        raise ValueError("the address has an invalid domain after the @") from None
    if len(local.encode()) > MAX_LOCAL_BYTES or len(str(found).encode()) > MAX_ADDRESS_BYTES:
        raise ValueError("the address exceeds the length limit of mail addresses")
    return found


def phone_number(address: str) -> str:
    """Read one phone number. Raises `ValueError`, with words that don't repeat it, unless it is in E.164."""
    if not _E164.fullmatch(address):
        raise ValueError("a phone number must be in E.164, such as +84912345678")
    return address
