"""What time it is, although a clock may be wrong: this machine's is compared with Postgres' and Redis'."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

from app.domain.errors import Unavailable
from app.domain.time import Now
from app.runtime.metrics import CLOCK_OFF
from app.runtime.redis import REDIS_ERRORS
from app.runtime.services import every

log = logging.getLogger("hub.clock")

COMPARE_SECONDS = 10.0  # seconds between comparisons
FIRST_COMPARE_SECONDS = 1.0  # seconds, until all have answered once
MAX_ANSWER_SECONDS = 2.0  # seconds; an answer that took longer says too little
MAX_OFFSET_SECONDS = 2.0  # seconds off that are worth a line in the log

Ask = Callable[[], Awaitable[float]]
"""Asks another clock for its unix time, bounded in time. Raises `Unavailable`, or one of REDIS_ERRORS."""


class WallClock:
    """The median of three clocks: right as long as two of them are (decision 018).

    Between comparisons, and while nobody answers, the others' time goes on by the monotonic clock.
    """

    def __init__(self, others: Mapping[str, Ask], own: Now = time.time, steady: Now = time.monotonic) -> None:
        """`others`: two clocks by name; until the second has answered once, the first one counts. `steady`
        may have any beginning, and is never set.
        """
        self._others = others
        self._first = next(iter(others))
        self._own = own
        self._steady = steady
        self._ahead: dict[str, float] = {}  # of the steady one, in seconds
        self._wrong = False
        self._comparing = every(self._pause, self.compare, name="wall clock", at_start=False)

    async def start(self) -> None:
        """Returns after the first comparison; it never fails."""
        await self.compare()
        await self._comparing.start()

    async def stop(self) -> None:
        """Stop comparing with other clocks."""
        await self._comparing.stop()

    @property
    def _known(self) -> bool:
        return self._ahead.keys() == self._others.keys()

    def now(self) -> float:
        """Unix seconds: those of the first of the others until both have answered once, of this machine until
        that one has.
        """
        steady = self._steady()
        if not self._known:
            ahead = self._ahead.get(self._first)
            return self._own() if ahead is None else steady + ahead
        return sorted((self._own(), *(steady + ahead for ahead in self._ahead.values())))[1]

    def loop_time(self, unix_seconds: float) -> float:
        """The moment as the event loop counts."""
        return asyncio.get_running_loop().time() + unix_seconds - self.now()

    async def compare(self) -> None:
        """Ask the other clocks."""
        await asyncio.gather(*(self._ask(name, ask) for name, ask in self._others.items()))
        off = self._own() - self.now()
        CLOCK_OFF.set(off)
        if (abs(off) > MAX_OFFSET_SECONDS) is not self._wrong:
            self._wrong = not self._wrong
            level = logging.ERROR if self._wrong else logging.INFO
            log.log(
                level, "clock_wrong" if self._wrong else "clock_right", extra={"seconds_ahead": round(off)}
            )

    def _pause(self) -> float:
        return COMPARE_SECONDS if self._known else FIRST_COMPARE_SECONDS

    async def _ask(self, name: str, ask: Ask) -> None:
        asked = self._steady()
        try:
            answer = await ask()
        except (Unavailable, *REDIS_ERRORS) as error:
            log.info("clock_not_asked", extra={"of": name, "why": type(error).__name__})
            return
        answered = self._steady()
        if answered - asked < MAX_ANSWER_SECONDS:
            self._ahead[name] = answer - (asked + answered) / 2
