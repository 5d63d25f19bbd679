"""Timestamps from outside: what is plausible, and what means now."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.domain.time import event_time

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
