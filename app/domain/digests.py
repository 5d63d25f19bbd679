"""Digests: when several messages become one, and in which words people and operators say so. No I/O."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from app.domain.channels import EMAIL, SMS
from app.domain.local_time import when_clocks_show

IMMEDIATE = "immediate"
DigestKey = Literal["category", "group", "thread"]
DIGEST_CHANNELS = (EMAIL, SMS)
"""Web push has the topic of a thread for this."""
DIGEST_TEMPLATE = "digest"
"""Of a digest, and of a single notification by mail or SMS. No message of a service may name it."""
DIGEST_KEYS: tuple[DigestKey, ...] = ("category", "group", "thread")
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MAX_WINDOW_SECONDS = 31 * 24 * 3600
MAX_GAPS_COUNT = 6
"""How often a sliding window may be extended, unless it says for how long."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600}
_DURATION = re.compile(r"([1-9][0-9]{0,6}) ?([smhd])")
_CLOCK = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")
_QUARTER = timedelta(minutes=15)
_MAX_QUARTERS_COUNT = 8


class DigestDue(NamedTuple):
    """When a digest is sent, in UTC. A later message may postpone it until `latest`; None: none may."""

    at: datetime
    latest: datetime | None = None

    def joined(self, later: DigestDue) -> DigestDue:
        """When the digest is sent once a message has joined that alone would be due `later`."""
        if self.latest is None or later.latest is None:
            return DigestDue(min(self.at, later.at), self.latest)
        return DigestDue(min(self.latest, max(self.at, later.at)), self.latest)


class Hourly(NamedTuple):
    """At each full hour on the clocks of a zone."""

    def due(self, now: datetime, zone: ZoneInfo) -> DigestDue:
        """The first such moment after `now`."""
        quarter = datetime.fromtimestamp(now.timestamp() // 900 * 900, UTC)
        for _ in range(_MAX_QUARTERS_COUNT):
            quarter += _QUARTER
            shown = quarter.astimezone(zone)
            if shown.minute == shown.second == 0:
                return DigestDue(quarter)
        return DigestDue(now + timedelta(hours=1))  # an offset of before the 1970s

    def slot(self, begins: datetime, due: datetime) -> str:
        """As of `AtTime`."""
        return f"{due.timestamp():.0f}"


class Fixed(NamedTuple):
    """So many seconds from the first message on."""

    seconds: int

    def due(self, now: datetime, zone: ZoneInfo) -> DigestDue:
        """When a digest that begins now is sent."""
        return DigestDue(now + timedelta(seconds=self.seconds))

    def slot(self, begins: datetime, due: datetime) -> str:
        """As of `AtTime`: no two are further apart than the window is long."""
        return f"{self.seconds} {begins.timestamp() // self.seconds:.0f}"


class Sliding(NamedTuple):
    """When no message came for `gap` seconds, `most` seconds after the first one at the latest."""

    gap: int
    most: int

    def due(self, now: datetime, zone: ZoneInfo) -> DigestDue:
        """When a digest that begins now is sent if nothing else joins it."""
        return DigestDue(now + timedelta(seconds=self.gap), now + timedelta(seconds=self.most))

    def slot(self, begins: datetime, due: datetime) -> str:
        """As of `AtTime`: no two are further apart than the gap."""
        return f"{self.gap} {begins.timestamp() // self.gap:.0f}"


class AtTime(NamedTuple):
    """Every day, or on a day of the week (0 is Monday), at a time on the clocks of a zone.

    Once on each of these days: at the first of two moments that the clocks show alike, and, if they skip the
    time, when they are set past it.
    """

    at: time
    weekday: int | None = None

    def due(self, now: datetime, zone: ZoneInfo) -> DigestDue:
        """The first such moment after `now`."""
        today = now.astimezone(zone).date()
        days = (today + timedelta(days=number) for number in range(-1, 9))
        moments = (
            when_clocks_show(datetime.combine(day, self.at, zone))
            for day in days
            if self.weekday in (None, day.weekday())
        )
        return DigestDue(next(moment for moment in moments if moment > now))

    def slot(self, begins: datetime, due: datetime) -> str:
        """What messages have in common that begin to wait at different times, in the future, and can share a
        digest: it is due after each of these moments. `due` is when a digest is that begins at `begins`.
        """
        return f"{due.timestamp():.0f}"


Window = Hourly | Fixed | Sliding | AtTime


class Throttle(NamedTuple):
    """At most so many messages at once within a time; the rest join one digest."""

    most: int
    seconds: int


class DigestRule(NamedTuple):
    """What an operator set for messages of a category over a channel.

    Without `window` messages are sent at once, as far as `throttle` lets them.
    """

    window: Window | None = None
    key: DigestKey = "category"
    throttle: Throttle | None = None

    def chosen(self, window: Window | None) -> DigestRule:
        """The same for a person who has chosen a window, or none. The throttle stays if it is none."""
        return self._replace(window=window, throttle=self.throttle if window is None else None)

    @property
    def overflow(self) -> Window:
        """The window of what the throttle doesn't let through."""
        if self.window is not None or self.throttle is None:
            assert self.window is not None, "a rule has one of the two"
            return self.window
        return Fixed(self.throttle.seconds)


NO_RULE = DigestRule()
_WINDOWS = "hourly, daily at 18:00, weekly on monday at 09:00, every 15m, or sliding 10m up to 1h"
_CHOICES = "immediate, hourly, daily at 18:00, or weekly on monday at 09:00"


def read_window(text: str) -> Window | None:
    """Read a window; None stands for `immediate`. Raises `ValueError`."""
    words = text.lower().split()
    match words:
        case ["immediate"]:
            return None
        case ["hourly"]:
            return Hourly()
        case ["every", *rest]:
            return Fixed(read_duration(" ".join(rest)))
        case ["sliding", gap]:
            seconds = read_duration(gap)
            return Sliding(seconds, min(seconds * MAX_GAPS_COUNT, MAX_WINDOW_SECONDS))
        case ["sliding", gap, "up", "to", most] if read_duration(most) >= read_duration(gap):
            return Sliding(read_duration(gap), read_duration(most))
        case ["daily", "at", clock]:
            return AtTime(_time(clock))
        case ["weekly", "on", day, "at", clock] if day in WEEKDAYS:
            return AtTime(_time(clock), WEEKDAYS.index(day))
    raise ValueError(f"{text!r} is no window of a digest; use {_WINDOWS}")


def read_choice(text: str) -> str:
    """What a person chose, as it is stored. Raises `ValueError`."""
    try:
        window = read_window(text)
    except ValueError:
        raise ValueError(f"it must be {_CHOICES}") from None
    match window:
        case None:
            return IMMEDIATE
        case Hourly():
            return "hourly"
        case AtTime(at, None):
            return f"daily at {at:%H:%M}"
        case AtTime(at, weekday):
            return f"weekly on {WEEKDAYS[weekday or 0]} at {at:%H:%M}"
    raise ValueError(f"it must be {_CHOICES}")


def read_rule(text: str) -> DigestRule:
    """Read a window with an optional key, such as `every 15m by group`. Raises `ValueError`."""
    window, by, key = text.partition(" by ")
    found = next((each for each in DIGEST_KEYS if each == key.strip().lower()), None)
    if by and found is None:
        raise ValueError(f"{key.strip()!r} is no key of a digest; use {', '.join(DIGEST_KEYS)}")
    return DigestRule(read_window(window), found or "category")


def read_throttle(text: str) -> Throttle:
    """Read a throttle, such as `3 in 1h`. Raises `ValueError`."""
    most, _, within = text.partition(" in ")
    if not (most.strip().isascii() and most.strip().isdigit() and 0 < int(most) <= 1000):
        raise ValueError(f"{text!r} is no throttle; use a number from 1 to 1000 and a time, such as 3 in 1h")
    return Throttle(int(most), read_duration(within))


def read_duration(text: str) -> int:
    """Read seconds, such as 90s, 15m, 2h or 1d. Raises `ValueError`."""
    found = _DURATION.fullmatch(text.strip().lower())
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < seconds <= MAX_WINDOW_SECONDS:
        raise ValueError(f"{text!r} is no duration; use one from 1s to 31d, such as 90s, 15m, 2h or 1d")
    return seconds


def shown_duration(seconds: int) -> str:
    """The duration as settings have it."""
    unit = next(unit for unit in reversed(_UNITS) if seconds % _UNITS[unit] == 0)
    return f"{seconds // _UNITS[unit]}{unit}"


def joins(due: datetime, zone: ZoneInfo) -> str:
    """Why a message waits that joins a digest."""
    local = due.astimezone(zone)
    return f"joins the digest of {local:%H:%M} on {local:%Y-%m-%d} ({zone.key})"


def digest_key(*parts: str | None) -> str:
    """What the messages of one digest have in common: the same parts, the same text."""
    told = "\0".join("" if part is None else f"={part}" for part in parts)
    return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()


def windows(choices: Mapping[str, str]) -> dict[str, Window | None]:
    """The windows of what a person chose. What can't be read (any more) is left out."""
    found: dict[str, Window | None] = {}
    for choice, text in choices.items():
        try:
            found[choice] = read_window(text)
        except ValueError:
            continue
    return found


def _time(text: str) -> time:
    found = _CLOCK.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no time of day; use one such as 18:00")
    return time(int(found[1]), int(found[2]))
