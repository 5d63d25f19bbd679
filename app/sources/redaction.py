"""Taking secrets out of what is kept for people to look at."""

from __future__ import annotations

import msgspec

REMOVED = "[removed]"


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
    kept = ("email", "action", "event_id")
    return msgspec.json.encode(
        {key: value if key in kept and isinstance(value, str) else REMOVED for key, value in body.items()}
    )
