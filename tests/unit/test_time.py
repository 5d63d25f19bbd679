"""Timestamps from outside: what is plausible, and what means now."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.domain.time import event_time, read_timestamp

MS = 1_795_271_827_357
"""A record's timestamp."""


def test_a_plausible_time_is_taken() -> None:
    assert event_time(MS / 1000) == datetime(2026, 11, 21, 14, 37, 7, 357_000, UTC)


@pytest.mark.parametrize(
    "timestamp_ms",
    [-1, 0, 1, MS // 1000, MS * 1000, MS * 10**6, 10**12, -(10**18), 2**63 - 1, float("nan"), float("inf")],
)
def test_any_other_means_now(timestamp_ms: float) -> None:
    assert event_time(timestamp_ms / 1000) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (MS // 1000, MS // 1000),
        (MS / 1000, MS / 1000),
        (MS, MS / 1000),
        (MS * 1000, MS / 1000),
        (MS * 10**6, MS / 1000),
        (str(MS), MS / 1000),
        ("2026-11-21T14:37:07.357Z", MS / 1000),
        ("2026-11-21 21:37:07.357+07:00", MS / 1000),
        ("2026-11-21T14:37:07.357", MS / 1000),
    ],
)
def test_a_timestamp_is_read_in_the_forms_that_publishers_write(value: object, expected: float) -> None:
    assert read_timestamp(value) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "now",
        0,
        -1,
        86_400,
        True,
        [MS],
        {},
        float("nan"),
        "inf",
        10**400,
        10**30,
        "1969-12-31T23:59:59Z",
    ],
)
def test_what_is_no_plausible_time_is_none(value: object) -> None:
    assert read_timestamp(value) is None
