"""Taking secrets out of what is kept for people to look at."""

from __future__ import annotations

import re

import msgspec

REMOVED = "[removed]"
_CODE = b"otp_code"
_ESCAPED = re.compile(rb"\\u00([2-7][0-9a-fA-F])")  # JSON may write any letter so


def redact_message(message: bytes) -> bytes:
    """The message as a dead letter may hold it: as it is, or `without_code` if it asks for one."""
    plain = message.replace(b"\0", b"")  # UTF-16 and UTF-32, which the hub refuses and others can read
    return without_code(message) if _CODE in _ESCAPED.sub(_character, plain) else message


def without_code(message: bytes) -> bytes:
    """A message that asks for a one-time code, without the code. What isn't a JSON object is left out whole:
    nobody knows where in it a code stands.
    """
    try:
        body = msgspec.json.decode(message)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return b""
    if not isinstance(body, dict):
        return b""
    code = body.get("otp_code")
    kept = {_KEY.sub(REMOVED, key): _kept(key, value, code) for key, value in body.items()}
    return msgspec.json.encode(kept)


def _character(escaped: re.Match[bytes]) -> bytes:
    return bytes.fromhex(escaped[1].decode())


# What these fields hold when they hold what they should; a code may stand in the wrong one.
_KEPT = {"email": r"[^@\s]+@[^@\s]+", "action": r"[a-z_]+", "event_type": r"[a-z_.]+", "event_id": r".*\D.*"}


_KEY = re.compile(r"^.*[^a-z_.].*$", re.DOTALL)
"""The names of no fields: a code may stand there, too."""


def _kept(key: str, value: object, code: object) -> str:
    form = _KEPT.get(key)
    if not form or not isinstance(value, str) or not re.fullmatch(form, value):
        return REMOVED
    return REMOVED if isinstance(code, str) and code and code in value else value
