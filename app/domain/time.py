"""Time as the rest passes it around: a clock is a function, a point in time is in UTC."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Now = Callable[[], float]
"""Unix seconds."""


EARLIEST_EVENT = datetime(2020, 1, 1, tzinfo=UTC)
"""An event that says it is older has no timestamp, or one in another unit."""


def moment(unix_seconds: float) -> datetime:
    """The same in UTC."""
    return datetime.fromtimestamp(unix_seconds, UTC)


def event_time(unix_seconds: float) -> datetime | None:
    """When an event happened, from a timestamp that its publisher or broker gave it.

    None, which stands for now, if that can't be: -1 and 0 for "no timestamp", seconds where milliseconds are
    due, microseconds. One in the future is given as it is; whoever computes with it takes now instead.
    """
    try:
        happened_at = moment(unix_seconds)
    except (ValueError, OverflowError, OSError):
        return None
    return happened_at if happened_at >= EARLIEST_EVENT else None
