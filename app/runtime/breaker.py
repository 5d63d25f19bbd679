"""A circuit breaker: whether to call a service that keeps failing. No I/O; the caller passes the time.

Why it is our own: decision 019.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NewType

from app.runtime.backoff import Backoff

Call = NewType("Call", int)


class BreakerState(IntEnum):
    """The numbers are those of the metric."""

    CLOSED = 0
    """All calls are made."""
    HALF_OPEN = 1
    """One call is made, to see whether the service is back."""
    OPEN = 2
    """None is."""


class Breaker:
    """Opens after so many failures in a row. After a pause one call is let through: when it succeeds the
    breaker closes, when it fails it opens for longer, as `backoff` has it.

    Each call that `begin` lets through has to be ended, by `succeeded`, `failed` or `abandoned`. What was
    begun before the breaker last opened or closed tells nothing about now: its end is ignored.
    """

    def __init__(self, failures: int, backoff: Backoff) -> None:
        """`backoff` computes how long it stays open: its attempts are the calls that failed to close it."""
        self._limit = failures
        self._backoff = backoff
        self._failures = self._failed_trials = 0
        self._open_until: float | None = None
        self._era = 0
        self._trying = False

    def state(self, now: float) -> BreakerState:
        """As a call at this time (in seconds, of any clock that never goes back) would meet it."""
        if self._open_until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self._open_until else BreakerState.HALF_OPEN

    def pause(self, now: float) -> float | None:
        """None while it is closed; else the seconds until a call may try to close it."""
        return None if self._open_until is None else max(0.0, self._open_until - now)

    def begin(self, now: float) -> Call | None:
        """A call that may be made now; None: it may not."""
        state = self.state(now)
        if state is BreakerState.OPEN or (state is BreakerState.HALF_OPEN and self._trying):
            return None
        self._trying = state is BreakerState.HALF_OPEN
        return Call(self._era)

    def succeeded(self, call: Call) -> None:
        """The service answered."""
        if call != self._era:
            return
        self._failures = 0
        if self._open_until is not None:
            self._open_until, self._failed_trials = None, 0
            self._next_era()

    def failed(self, call: Call, now: float) -> None:
        """It didn't, or not as it should."""
        if call != self._era:
            return
        self._failures += 1
        if self._open_until is not None:
            self._failed_trials += 1
        elif self._failures < self._limit:
            return
        self._open_until = now + self._backoff.delay(self._failed_trials)
        self._next_era()

    def abandoned(self, call: Call) -> None:
        """Nobody waited for the answer: another call may be the one that tries."""
        if call == self._era:
            self._trying = False

    def _next_era(self) -> None:
        self._era += 1
        self._failures, self._trying = 0, False
