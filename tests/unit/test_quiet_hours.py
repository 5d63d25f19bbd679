"""Quiet hours against a clock that is looked at every minute, in zones that set theirs in odd ways."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from app.domain.quiet_hours import QuietHours

MINUTE = timedelta(minutes=1)
BERLIN = "Europe/Berlin"
# half-hour steps, a skipped day, a changed offset at midnight, no changes, the ordinary
ZONES = (
    *("Australia/Lord_Howe", "Pacific/Apia", "America/Santiago", "Africa/Cairo", "Asia/Ho_Chi_Minh"),
    *(BERLIN, "America/New_York", "Asia/Kathmandu", "Asia/Tehran", "America/Sao_Paulo", "UTC"),
)
# close to where clocks are set, and anywhere else
CHANGES = (
    *(datetime(2026, 3, 29, 1), datetime(2026, 10, 25, 1), datetime(2026, 3, 8, 7), datetime(2026, 11, 1, 6)),
    *(datetime(2011, 12, 30, 10), datetime(2026, 4, 4, 15), datetime(2026, 10, 3, 15, 30)),
    *(datetime(2026, 9, 6, 4), datetime(2026, 4, 5, 3), datetime(2018, 11, 4, 3), datetime(2018, 2, 18, 2)),
)
minutes = st.builds(time, st.integers(0, 23), st.integers(0, 59))
near_a_change = st.builds(
    lambda change, distance: change.replace(tzinfo=UTC) + distance * MINUTE,
    st.sampled_from(CHANGES),
    st.integers(-1500, 1500),
)
whenever = st.builds(
    lambda distance: datetime(2026, 1, 1, tzinfo=UTC) + distance * MINUTE, st.integers(0, 525_600)
)


def shown(moment: datetime, zone: str) -> time:
    return moment.astimezone(ZoneInfo(zone)).time()


def quiet(moment: datetime, begins: time, ends: time, zone: str) -> bool:
    """Minute by minute through the day from `begins`: does the clock's time come before `ends`?"""
    clock = shown(moment, zone)
    since_begin = (clock.hour * 60 + clock.minute - begins.hour * 60 - begins.minute) % 1440
    length = (ends.hour * 60 + ends.minute - begins.hour * 60 - begins.minute) % 1440
    return since_begin < length


@given(near_a_change | whenever, minutes, minutes, st.sampled_from(ZONES))
@example(datetime(2026, 3, 29, 0, 30, tzinfo=UTC), time(22), time(2, 30), BERLIN)  # the end is skipped
@example(datetime(2026, 10, 25, 1, 15, tzinfo=UTC), time(22), time(2, 30), BERLIN)  # the end comes twice
@example(datetime(2011, 12, 30, 8, tzinfo=UTC), time(20), time(7), "Pacific/Apia")  # the day is skipped
def test_they_end_at_the_first_minute_whose_clock_shows_none(
    now: datetime, begins: time, ends: time, zone: str
) -> None:
    assume(begins != ends)
    expected = None
    if quiet(now, begins, ends, zone):
        expected = now
        while quiet(expected, begins, ends, zone):
            expected += MINUTE
    assert QuietHours(begins, ends, ZoneInfo(zone)).until(now) == expected


@pytest.mark.parametrize(
    ("now", "until"),
    [
        (datetime(2026, 7, 1, 19, 59, tzinfo=UTC), None),
        (datetime(2026, 7, 1, 20, 0, tzinfo=UTC), datetime(2026, 7, 2, 5, tzinfo=UTC)),
        (datetime(2026, 7, 2, 4, 59, 59, 999_999, tzinfo=UTC), datetime(2026, 7, 2, 5, tzinfo=UTC)),
        (datetime(2026, 7, 2, 5, tzinfo=UTC), None),
        (datetime(2026, 12, 1, 22, tzinfo=UTC), datetime(2026, 12, 2, 6, tzinfo=UTC)),  # winter time
    ],
)
def test_from_ten_to_seven_in_berlin(now: datetime, until: datetime | None) -> None:
    assert QuietHours(time(22), time(7), ZoneInfo(BERLIN)).until(now) == until


def test_none_when_they_begin_when_they_end() -> None:
    assert QuietHours(time(7), time(7), ZoneInfo("UTC")).until(datetime(2026, 1, 1, 7, tzinfo=UTC)) is None
