"""Time as the rest passes it around: a clock is a function, a point in time is in UTC."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache

Now = Callable[[], float]
"""Unix seconds."""


EARLIEST_EVENT = datetime(2020, 1, 1, tzinfo=UTC)
"""An event that says it is older has no timestamp, or one in another unit."""


_LATEST = datetime(2200, 1, 1, tzinfo=UTC)
_UNITS = (1.0, 1e3, 1e6, 1e9)  # a second in seconds, milliseconds, microseconds, nanoseconds


def moment(unix_seconds: float) -> datetime:
    """The same in UTC."""
    return datetime.fromtimestamp(unix_seconds, UTC)


@lru_cache(maxsize=16)  # the records of a batch often share their millisecond
def event_time(unix_seconds: float) -> datetime | None:
    """When an event happened, from a timestamp that its publisher or broker gave it.

    None, which stands for now, if that can't be: -1 and 0 for "no timestamp", seconds where milliseconds are
    due, microseconds. One in the future is given as it is; for calculations it is replaced by the current
    time.
    """
    try:
        happened_at = moment(unix_seconds)
    except (ValueError, OverflowError, OSError):
        return None
    return happened_at if happened_at >= EARLIEST_EVENT else None


def read_timestamp(value: object) -> float | None:
    """Unix seconds of a timestamp that a publisher wrote, or None if it can't be read as a plausible time.

    A number is in seconds, or in the unit in which it is plausible; a text holds a number or ISO 8601, in UTC
    where it names no offset.
    """
    if isinstance(value, str):
        try:
            return read_timestamp(float(value))
        except ValueError:
            return _read_iso(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        candidates = [value / unit for unit in _UNITS]
    except OverflowError:
        return None
    earliest, latest = EARLIEST_EVENT.timestamp(), _LATEST.timestamp()
    return next((seconds for seconds in candidates if earliest <= seconds < latest), None)


def _read_iso(text: str) -> float | None:
    try:
        read = datetime.fromisoformat(text.strip())
        seconds = (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return seconds if event_time(seconds) else None
