"""What services send over HTTP in tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any


def inapp(user: str, **more: Any) -> dict[str, Any]:
    """A message to a user."""
    return {"type": "inapp", "user_id": user, "title": "Hello", "message": "How are you?", **more}


def in_seconds(seconds: float) -> str:
    """A time from now, as `send_at` and `expires_at` take it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
