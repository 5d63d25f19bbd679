"""Rate limits for the event loop, so that bursts don't delay pushes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic

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
