"""How long to pause before a retry: a value that computes delays, and neither sleeps nor counts."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

_MAX_DOUBLINGS = 64  # beyond any cap; a larger power of two would overflow a float at some attempt


@dataclass(frozen=True)
class Backoff:
    """Exponential backoff with jitter: each delay is up to twice the one before, until `cap`.

    Args:
        first: The longest delay before the first retry, in seconds.
        cap: The longest delay of all, in seconds.
        jitter: The share of a delay that is random, 0 to 1: a delay of 4 s with jitter 0.5 takes 2 to 4 s.
            It keeps nodes that failed together from retrying together.
        draw: A random number in [0, 1).
    """

    first: float
    cap: float
    jitter: float = 0.5
    draw: Callable[[], float] = random.random

    def __post_init__(self) -> None:
        if not 0 < self.first <= self.cap:
            raise ValueError(f"first must be above 0 and at most cap, not {self.first} with cap {self.cap}")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter must be from 0 to 1, not {self.jitter}")

    def delay(self, attempt: int) -> float:
        """Compute the seconds to pause after failure number `attempt` in a row, counted from 0."""
        longest = min(self.first * 2.0 ** min(attempt, _MAX_DOUBLINGS), self.cap)
        return longest * (1 - self.jitter * self.draw())

    def delays(self) -> Iterator[float]:
        """Yield the delays of one series of failures, without end: `for delay in backoff.delays(): …`."""
        return map(self.delay, count())
