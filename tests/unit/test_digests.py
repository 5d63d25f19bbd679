"""When digests are due, against clocks that are looked at minute by minute, and how windows are written."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.domain.digests import (
    WEEKDAYS,
    AtTime,
    DigestDue,
    DigestRule,
    Fixed,
    Hourly,
    Sliding,
    Throttle,
    digest_key,
    joins,
    read_choice,
    read_duration,
    read_rule,
    read_throttle,
    read_window,
    shown_duration,
    windows,
)
from tests.unit.test_quiet_hours import BERLIN, ZONES, near_a_change, whenever

MINUTE = timedelta(minutes=1)
clocks = st.builds(time, st.integers(0, 23), st.integers(0, 59))


def first_showing(day_of: datetime, at: time, zone: ZoneInfo) -> datetime:
    """The first minute of a local day whose clock shows `at` or more; of the next day if there is none."""
    minute = day_of
    local = minute.astimezone(zone)
    day = local.date()
    while local.date() == day and local.time() < at:
        minute += MINUTE
        local = minute.astimezone(zone)
    return minute


def begins(moment: datetime, zone: ZoneInfo) -> datetime:
    """The first minute of the local day of a moment."""
    minute = moment.replace(second=0, microsecond=0)
    day = minute.astimezone(zone).date()
    while (minute - MINUTE).astimezone(zone).date() == day:
        minute -= MINUTE
    return minute


@given(near_a_change | whenever, clocks, st.none() | st.integers(0, 6), st.sampled_from(ZONES))
@example(datetime(2026, 3, 28, 12, tzinfo=UTC), time(2, 30), None, BERLIN)  # skipped
@example(datetime(2026, 10, 25, 0, 15, tzinfo=UTC), time(2, 30), None, BERLIN)  # shown twice: the first
@example(datetime(2026, 10, 25, 0, 45, tzinfo=UTC), time(2, 30), None, BERLIN)  # between the two
def test_a_daily_digest_is_due_once_a_day_at_its_time(
    now: datetime, at: time, weekday: int | None, name: str
) -> None:
    zone = ZoneInfo(name)
    due = AtTime(at, weekday).due(now, zone)
    assert due.latest is None
    assert now < due.at <= now + timedelta(days=8 if weekday is not None else 2, hours=1)
    if weekday is None and name != "Pacific/Apia":  # it skipped a day: see below
        today = begins(now, zone)
        expected = first_showing(today, at, zone)
        if expected <= now:
            tomorrow = begins(first_showing(today, time.max, zone) + timedelta(hours=2), zone)
            expected = first_showing(tomorrow, at, zone)
        assert due.at == expected
    shown = due.at.astimezone(zone)
    skipped = (due.at - MINUTE).astimezone(zone).utcoffset() != shown.utcoffset()
    assert skipped or shown.time() == at
    if weekday is not None and not skipped:
        assert shown.weekday() == weekday


@given(near_a_change | whenever, clocks, st.sampled_from(ZONES))
def test_one_after_the_other_they_are_a_day_apart(now: datetime, at: time, name: str) -> None:
    zone, days = ZoneInfo(name), []
    for _ in range(4):
        now = AtTime(at).due(now, zone).at
        days.append(now.astimezone(zone).date())
    if name != "Pacific/Apia":
        expected = [days[0] + timedelta(days=number) for number in range(4)]
        late = [day + timedelta(days=1) for day in expected]  # a skipped hour may end on the next day
        assert all(day in pair for day, *pair in zip(days, expected, late, strict=True))
    assert days == sorted(days)


def test_a_day_that_a_zone_skips_has_its_digest_when_it_is_over() -> None:
    apia = ZoneInfo("Pacific/Apia")
    before = datetime(2011, 12, 30, 9, tzinfo=UTC)  # the last hour of the 29th
    assert AtTime(time(18)).due(before, apia).at == datetime(2011, 12, 30, 10, tzinfo=UTC)
    assert AtTime(time(18), 4).due(before, apia).at == datetime(2011, 12, 30, 10, tzinfo=UTC), "a Friday"


@given(near_a_change | whenever, st.sampled_from(ZONES))
def test_an_hourly_digest_is_due_at_the_next_full_hour_of_the_clocks(now: datetime, name: str) -> None:
    zone = ZoneInfo(name)
    minute = now.replace(second=0, microsecond=0) + MINUTE
    while minute.astimezone(zone).minute != 0:
        minute += MINUTE
    assert Hourly().due(now, zone) == DigestDue(minute)


@given(st.lists(st.integers(0, 3600), min_size=1, max_size=20), st.integers(1, 600), st.integers(1, 6))
def test_a_sliding_window_ends_after_a_gap_or_its_most(offsets: list[int], gap: int, times: int) -> None:
    """Whatever comes, the digest is due a gap after its last message, or `most` after its first."""
    start, zone = datetime(2026, 1, 1, tzinfo=UTC), ZoneInfo("UTC")
    window = Sliding(gap, gap * times)
    due, members = None, []
    for offset in sorted(offsets):
        at = start + timedelta(seconds=offset)
        if due is not None and at >= due.at:
            due, members = None, []
        joining = window.due(at, zone)
        due = joining if due is None else due.joined(joining)
        members.append(at)
        last = min(members[0] + timedelta(seconds=window.most), members[-1] + timedelta(seconds=gap))
        assert due.at == last


@given(st.lists(st.integers(0, 3600), min_size=1, max_size=20), st.integers(1, 600))
def test_a_fixed_window_begins_with_its_first_message(offsets: list[int], seconds: int) -> None:
    start, zone = datetime(2026, 1, 1, tzinfo=UTC), ZoneInfo("UTC")
    dues = [Fixed(seconds).due(start + timedelta(seconds=each), zone) for each in sorted(offsets)]
    joined = dues[0]
    for each in dues[1:]:
        joined = joined.joined(each)
    assert joined == dues[0]


def test_who_chooses_an_earlier_digest_waits_no_longer() -> None:
    week, hour = datetime(2026, 1, 8, tzinfo=UTC), datetime(2026, 1, 1, 1, tzinfo=UTC)
    assert DigestDue(week).joined(DigestDue(hour)) == DigestDue(hour)
    assert DigestDue(hour).joined(DigestDue(week)) == DigestDue(hour)


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("immediate", None),
        ("Hourly", Hourly()),
        ("every 15m", Fixed(900)),
        ("every 2 h", Fixed(7200)),
        ("sliding 10m", Sliding(600, 3600)),
        ("sliding 10m up to 1h", Sliding(600, 3600)),
        ("sliding 10m up to 10m", Sliding(600, 600)),
        ("daily at 18:00", AtTime(time(18))),
        ("daily at 8:05", AtTime(time(8, 5))),
        ("weekly on Monday at 09:00", AtTime(time(9), 0)),
        ("  weekly  on sunday at 00:00", AtTime(time(0), 6)),
    ],
)
def test_windows_are_read(text: str, window: object) -> None:
    assert read_window(text) == window


@pytest.mark.parametrize(
    "text",
    [
        *("", "never", "daily", "daily at 24:00", "daily at 18", "daily at 18:60", "weekly at 09:00"),
        *("weekly on mon at 09:00", "every", "every 0m", "every 40d", "every 15", "every -5m", "every ٣m"),
        *("sliding", "sliding 1h up to 10m", "hourly at 5", "daily at 18:00 UTC", "every 15m 20s"),
    ],
)
def test_what_is_no_window_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(ValueError):
        read_window(text)
    with pytest.raises(ValueError, match="immediate, hourly"):
        read_choice(text)


def test_people_choose_fewer_windows_which_are_stored_in_one_spelling() -> None:
    assert read_choice("Daily at 8:05") == "daily at 08:05"
    assert read_choice("weekly on MONDAY at 9:00") == "weekly on monday at 09:00"
    assert [read_choice(each) for each in ("hourly", "immediate")] == ["hourly", "immediate"]
    for text in ("every 15m", "sliding 10m"):
        with pytest.raises(ValueError):
            read_choice(text)


@given(clocks, st.none() | st.sampled_from(WEEKDAYS))
def test_a_choice_is_read_as_it_is_stored(at: time, day: str | None) -> None:
    text = f"daily at {at:%H:%M}" if day is None else f"weekly on {day} at {at:%H:%M}"
    assert read_choice(text) == text
    assert windows({"food.email": text, "food.sms": "gone"}) == {"food.email": read_window(text)}


def test_rules_have_keys_and_throttles() -> None:
    assert read_rule("every 15m by Group") == DigestRule(Fixed(900), "group")
    assert read_rule("daily at 18:00") == DigestRule(AtTime(time(18)), "category")
    assert read_throttle("3 in 1h") == Throttle(3, 3600)
    assert DigestRule(throttle=Throttle(3, 60)).overflow == Fixed(60)
    assert DigestRule(Hourly(), throttle=Throttle(3, 60)).overflow == Hourly()
    for wrong in ("every 15m by person", "every 15m by "):
        with pytest.raises(ValueError, match="category, group, thread"):
            read_rule(wrong)
    for wrong in ("0 in 1h", "3", "three in 1h", "3 in", "1001 in 1h", "-1 in 1h", "3 in 1y"):
        with pytest.raises(ValueError):
            read_throttle(wrong)


@given(st.integers(1, 31 * 24 * 3600))
def test_a_duration_is_shown_as_it_is_written(seconds: int) -> None:
    assert read_duration(shown_duration(seconds)) == seconds


def test_the_parts_of_a_key_do_not_run_into_each_other() -> None:
    keys = [digest_key(*parts) for parts in (("ab", "c"), ("a", "bc"), ("abc",), ("abc", None), ("abc", ""))]
    assert len({*keys}) == len(keys)


def test_a_person_reads_the_time_of_their_own_clocks() -> None:
    due = datetime(2026, 7, 1, 11, tzinfo=UTC)
    assert joins(due, ZoneInfo("Asia/Ho_Chi_Minh")) == (
        "joins the digest of 18:00 on 2026-07-01 (Asia/Ho_Chi_Minh)"
    )
