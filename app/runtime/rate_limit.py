"""Pacing: what may come in any number leaves the event loop to what must not wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic

TICK_SECONDS = 0.001  # seconds: timers know nothing finer
MAX_IDLE_PER_TURN = (
    50  # who had nothing to do: so many in one turn of the loop, as it takes time to find that out
)


class AdmissionQueue:
    """A line in front of the event loop whose members go at a steady pace (a token bucket that queues).

    A thousand requests that came at once would all be worked on in the same turns of the loop, and a push
    would wait for all of them in each of the thirty turns on its own way.
    """

    def __init__(self, each: float, most: int) -> None:
        """One goes every `each` seconds. `most` go at once, after a calm, and in one turn of a busy loop."""
        self._each = each
        self._most = most
        self._room: float = most
        self._counted_at = 0.0
        self._line: deque[Callable[[], bool | None]] = deque()
        self._going = False

    def __len__(self) -> int:
        """How many wait."""
        return len(self._line)

    def take(self, go: Callable[[], bool | None]) -> None:
        """Call `go` when it is its turn: now, if nobody waits and the pace allows. When it says False it had
        nothing to do, and the next goes in its place.
        """
        self._line.append(go)
        if not self._going:
            self._go_on()

    async def turn(self) -> None:
        """Returns when it is the caller's turn, and others had one of the loop's."""
        mine = asyncio.get_running_loop().create_future()

        def come() -> bool:
            if mine.done():  # who waited for it has given up
                return False
            mine.set_result(None)
            return True

        self.take(come)
        await asyncio.sleep(0)  # where one's work takes longer than the pace, it would go on and on
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
