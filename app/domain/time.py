"""Time as the rest passes it around: a clock is a function, a point in time is in UTC."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Now = Callable[[], float]
"""Unix seconds."""


def moment(unix_seconds: float) -> datetime:
    """The same in UTC."""
    return datetime.fromtimestamp(unix_seconds, UTC)
