"""The circuit breaker: what it lets through, whatever calls come, go and fail in whatever order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.runtime.backoff import Backoff
from app.runtime.breaker import Breaker, BreakerState, Call

FAILURES, FIRST, LONGEST = 3, 1.0, 4.0
BACKOFF = Backoff(FIRST, LONGEST, jitter=0)


def opened(at: float = 0.0) -> Breaker:
    breaker = Breaker(FAILURES, BACKOFF)
    for _ in range(FAILURES):
        call = breaker.begin(at)
        assert call is not None
        breaker.failed(call, at)
    return breaker


def test_so_many_failures_in_a_row_open_it_and_one_fewer_do_not() -> None:
    breaker = Breaker(FAILURES, BACKOFF)
    calls = [breaker.begin(0.0) for _ in range(2 * FAILURES)]
    for number, call in enumerate(calls, 1):
        assert call is not None
        if number % FAILURES:
            breaker.failed(call, 0.0)
        else:
            breaker.succeeded(call)
        assert breaker.state(0.0) is BreakerState.CLOSED
    assert opened().state(0.0) is BreakerState.OPEN


def test_after_the_pause_one_call_tries_and_its_success_closes() -> None:
    breaker = opened()
    assert breaker.begin(FIRST * 0.99) is None
    trial = breaker.begin(FIRST)
    assert trial is not None
    assert breaker.begin(FIRST) is None
    breaker.succeeded(trial)
    assert breaker.state(FIRST) is BreakerState.CLOSED
    assert breaker.begin(FIRST) is not None


def test_each_trial_that_fails_doubles_the_pause_up_to_the_longest() -> None:
    breaker, now, pauses = opened(), 0.0, []
    for _ in range(4):
        began = now
        while (trial := breaker.begin(now)) is None:
            now += 0.25
        pauses.append(now - began)
        breaker.failed(trial, now)
    assert pauses == [1.0, 2.0, 4.0, 4.0]


def test_once_closed_the_next_pause_is_the_first_again() -> None:
    breaker = opened()
    for now in (1.0, 3.0):
        trial = breaker.begin(now)
        assert trial is not None
        if now == 1.0:
            breaker.failed(trial, now)
        else:
            breaker.succeeded(trial)
    for _ in range(FAILURES):
        call = breaker.begin(10.0)
        assert call is not None
        breaker.failed(call, 10.0)
    assert breaker.state(10.0 + FIRST) is BreakerState.HALF_OPEN


def test_a_trial_that_nobody_waited_for_leaves_its_place_to_another() -> None:
    breaker = opened()
    trial = breaker.begin(FIRST)
    assert trial is not None
    breaker.abandoned(trial)
    assert breaker.begin(FIRST) is not None


def test_what_was_called_before_it_opened_neither_closes_it_nor_keeps_it_open() -> None:
    breaker = Breaker(FAILURES, BACKOFF)
    calls = [breaker.begin(0.0) for _ in range(FAILURES + 3)]
    early, late, left, *failing = (call for call in calls if call is not None)
    for call in failing:
        breaker.failed(call, 0.0)
    breaker.succeeded(early)
    assert breaker.state(0.5) is BreakerState.OPEN
    trial = breaker.begin(FIRST)
    breaker.failed(late, FIRST)
    breaker.abandoned(left)
    assert breaker.begin(FIRST) is None, "the trial has its place"
    assert trial is not None
    breaker.succeeded(trial)
    assert breaker.state(FIRST) is BreakerState.CLOSED


class AnyOrder(RuleBasedStateMachine):
    """Calls in progress end in any order; time goes on in between."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(FAILURES, BACKOFF)
        self.now = 0.0
        self.under_way: list[Call] = []
        self.trials: list[Call] = []
        self.failed_at = float("-inf")

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0, 5.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def begin(self) -> None:
        before = self.breaker.state(self.now)
        call = self.breaker.begin(self.now)
        if before is BreakerState.CLOSED:
            assert call is not None
        elif before is BreakerState.OPEN:
            assert call is None
        else:
            assert (call is None) == bool(self.trials)
            if call is not None:
                self.trials.append(call)
        if call is not None:
            self.under_way.append(call)

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0, 100), end=st.sampled_from(["succeeded", "failed", "abandoned"]))
    def end(self, which: int, end: str) -> None:
        call = self.under_way.pop(which % len(self.under_way))
        before = self.breaker.state(self.now)
        current = call in self.trials or before is BreakerState.CLOSED
        if end == "succeeded":
            self.breaker.succeeded(call)
        elif end == "failed":
            self.breaker.failed(call, self.now)
            self.failed_at = self.now
        else:
            self.breaker.abandoned(call)
        after = self.breaker.state(self.now)
        if not current:
            assert after is before
        if call in self.trials:
            assert after is {"succeeded": BreakerState.CLOSED, "failed": BreakerState.OPEN}.get(end, before)
            self.trials.remove(call)

    @invariant()
    def never_shut_for_ever(self) -> None:
        """Whatever happened: a pause after the last failure a call may be made, or one is on its way."""
        later = max(self.now, self.failed_at + LONGEST)
        assert self.breaker.state(later) is not BreakerState.OPEN


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


@given(st.lists(st.booleans(), max_size=60))
def test_one_call_after_the_other_it_opens_exactly_after_so_many_failures_in_a_row(
    answers: list[bool],
) -> None:
    breaker, in_a_row = Breaker(FAILURES, BACKOFF), 0
    for answer in answers:
        call = breaker.begin(0.0)
        assert (call is None) == (in_a_row >= FAILURES)
        if call is None:
            return
        if answer:
            breaker.succeeded(call)
            in_a_row = 0
        else:
            breaker.failed(call, 0.0)
            in_a_row += 1
