"""Rate limits for the event loop, so that bursts don't delay pushes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from math import ceil
from time import monotonic
from typing import NamedTuple

TICK_SECONDS = 0.001  # seconds: timers know nothing finer
MAX_IDLE_PER_TURN = 50  # members without work that are skipped in one turn: finding that out costs time too


class AdmissionQueue:
    """A queue that admits its members at a steady rate (a token bucket that queues).

    Without it, a thousand simultaneous requests are processed in the same turns of the loop, and a push,
    which takes about thirty turns, waits for all of them in each.
    """

    def __init__(self, each: float, most: int) -> None:
        """Admit one member every `each` seconds; `most` is the burst, and the limit of one turn."""
        self._each = each
        self._most = most
        self._room: float = most
        self._counted_at = 0.0
        self._line: deque[Callable[[], bool | None]] = deque()
        self._going = False

    def __len__(self) -> int:
        """The number of members that wait."""
        return len(self._line)

    def take(self, go: Callable[[], bool | None]) -> None:
        """Call `go` when it is admitted: now, if the queue is empty and the rate allows. If `go` returns
        False it had nothing to do, and the next member is admitted in its place.
        """
        self._line.append(go)
        if not self._going:
            self._go_on()

    async def turn(self) -> None:
        """Wait until the caller is admitted, for at least one turn of the loop."""
        mine = asyncio.get_running_loop().create_future()

        def come() -> bool:
            if mine.done():  # the waiting task was cancelled
                return False
            mine.set_result(None)
            return True

        self.take(come)
        await asyncio.sleep(0)  # work that takes longer than `each` would otherwise never yield
        await mine

    def _go_on(self) -> None:
        now = monotonic()
        self._room = min(self._most, self._room + (now - self._counted_at) / self._each)
        self._counted_at = now
        self._going = True
        idle = 0
        try:
            while self._line and self._room >= 1 and idle < MAX_IDLE_PER_TURN:
                self._room -= 1
                if self._line.popleft()() is False:
                    self._room += 1
                    idle += 1
        finally:
            self._going = bool(self._line)
            if self._going:
                asyncio.get_running_loop().call_later(TICK_SECONDS, self._go_on)


class ByteBudget:
    """A number of bytes that many share."""

    def __init__(self, most: int) -> None:
        self.left = most

    def take(self, size: int) -> bool:
        """Whether so many were left, and are the caller's until it calls `give_back`."""
        if size > self.left:
            return False
        self.left -= size
        return True

    def give_back(self, size: int) -> None:
        """Return bytes that were taken."""
        self.left += size


class Quota(NamedTuple):
    """What is left of a bucket after a request."""

    remaining: int
    reset_seconds: int
    """Until the bucket is full."""
    retry_after: int
    """Seconds until the next request is allowed; 0 if this one was."""


class TokenBuckets:
    """A token bucket for each key: a sustained rate, and bursts."""

    def __init__(self, rate: float, burst: int, max_keys: int = 100_000) -> None:
        """`rate` is in requests a second, `burst` in requests. Of more than `max_keys` that aren't full, the
        oldest are forgotten.
        """
        self._rate = rate
        self.burst = burst
        self._max_keys = max_keys
        self._full_at: dict[object, float] = {}

    def look(self, key: object) -> Quota:
        """The quota if a request were counted now, which isn't."""
        now = monotonic()
        return self._quota(max(now, self._full_at.get(key, 0.0)) + 1 / self._rate - now)

    def take(self, key: object) -> Quota:
        """Count a request, if it is allowed."""
        now = monotonic()
        full_at = max(now, self._full_at.get(key, 0.0)) + 1 / self._rate
        quota = self._quota(full_at - now)
        if not quota.retry_after:
            self._full_at.pop(key, None)
            self._full_at[key] = full_at
            if len(self._full_at) > self._max_keys:
                self._forget(now)
        return quota

    def _quota(self, filling: float) -> Quota:
        """The quota when the bucket takes so many seconds to be full."""
        missing = filling * self._rate - self.burst
        if missing > 1e-6:  # of the next token
            return Quota(0, ceil(filling - 1 / self._rate), max(1, ceil(missing / self._rate)))
        return Quota(int(1e-6 - missing), ceil(filling), 0)

    def _forget(self, now: float) -> None:
        self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now}
        while len(self._full_at) > self._max_keys:
            del self._full_at[next(iter(self._full_at))]
