"""The delays between retries."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.runtime.backoff import Backoff


def test_delays_double_from_the_first_up_to_the_cap() -> None:
    assert list(islice(Backoff(0.1, 1.0, jitter=0).delays(), 6)) == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_jitter_takes_up_to_its_share_off_a_delay() -> None:
    assert Backoff(4.0, 8.0, 0.5, draw=lambda: 0.0).delay(0) == 4.0
    assert Backoff(4.0, 8.0, 0.5, draw=lambda: 1.0).delay(0) == 2.0
    assert Backoff(4.0, 8.0, 0.25, draw=lambda: 1.0).delay(1) == 6.0


def test_nodes_that_failed_together_do_not_retry_together() -> None:
    backoff = Backoff(1.0, 1.0)
    assert len({backoff.delay(0) for _ in range(20)}) > 1


def test_each_series_of_failures_begins_with_the_first_delay() -> None:
    backoff = Backoff(0.1, 5.0, jitter=0)
    assert list(islice(backoff.delays(), 2)) == list(islice(backoff.delays(), 2)) == [0.1, 0.2]


@given(st.integers(0, 10**9), st.floats(0, 1), st.floats(0, 1, exclude_max=True))
def test_a_delay_is_never_above_the_cap_nor_below_what_jitter_leaves(
    attempt: int, jitter: float, drawn: float
) -> None:
    delay = Backoff(0.1, 5.0, jitter, lambda: drawn).delay(attempt)
    assert 0.1 * (1 - jitter) <= delay <= 5.0


@pytest.mark.parametrize(("first", "cap", "jitter"), [(0, 1, 0.5), (2, 1, 0.5), (1, 2, -0.1), (1, 2, 1.1)])
def test_values_that_make_no_sense_are_refused(first: float, cap: float, jitter: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        Backoff(first, cap, jitter)
