"""Removal of secrets from messages that are kept for operators."""

from __future__ import annotations

import re

import msgspec

from app.domain.events import BOM

REMOVED = "[removed]"
_CODE = b"otp_code"
_ESCAPED = re.compile(rb"\\u00([2-7][0-9a-fA-F])")  # JSON may write any letter so


def redact_message(message: bytes) -> bytes:
    """Return the message as a dead letter may hold it: unchanged, or `without_code` if it requests one."""
    plain = message.replace(b"\0", b"")  # UTF-16 and UTF-32, which the hub refuses and others can read
    return without_code(message) if _CODE in _ESCAPED.sub(_character, plain) else message


def without_code(message: bytes) -> bytes:
    """Remove the code from a message that requests one.

    A message that isn't a JSON object is removed whole: the code may be anywhere in it.
    """
    try:
        body = msgspec.json.decode(message.removeprefix(BOM))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return b""
    if not isinstance(body, dict):
        return b""
    code = body.get("otp_code")
    kept = {_KEY.sub(REMOVED, key): _kept(key, value, code) for key, value in body.items()}
    return msgspec.json.encode(kept)


def _character(escaped: re.Match[bytes]) -> bytes:
    return bytes.fromhex(escaped[1].decode())


# The valid values of these fields; a code may be in the wrong one.
_KEPT = {"email": r"[^@\s]+@[^@\s]+", "action": r"[a-z_]+", "event_type": r"[a-z_.]+", "event_id": r".*\D.*"}


_KEY = re.compile(r"^.*[^a-z_.].*$", re.DOTALL)
"""Names that aren't a field's: they may hold a code, too."""


def _kept(key: str, value: object, code: object) -> str:
    form = _KEPT.get(key)
    if not form or not isinstance(value, str) or not re.fullmatch(form, value):
        return REMOVED
    return REMOVED if isinstance(code, str) and code and code in value else value
