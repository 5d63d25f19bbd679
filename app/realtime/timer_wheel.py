"""A timer wheel for all connections of a node: a set for each second, instead of a timer or a task each."""

from __future__ import annotations

import asyncio
from math import ceil
from typing import Protocol

from app.runtime.services import Background

MAX_CALLS_PER_TURN = 20  # members that are called in one turn of the event loop


class Timed(Protocol):
    """A member of the wheel, with one next moment."""

    due: int
    """The second whose set it is in, 0 when in none. Written by the wheel only."""

    def tick(self, now: float) -> float | None:
        """Do what is due. Returns the moment of the next call, or None for none. Must not raise."""


class TimerWheel:
    """Calls `tick` of each member at or within a second after its moment (loop time, seconds)."""

    def __init__(self) -> None:
        self._seconds: dict[int, set[Timed]] = {}
        self._background = Background(self._run, name="timer wheel")
        self._done = 0

    async def start(self) -> None:
        """Begin to call members; those scheduled before are called too."""
        self._done = int(asyncio.get_running_loop().time())
        await self._background.start()

    async def stop(self) -> None:
        """Call no member any more."""
        await self._background.stop()

    def schedule(self, member: Timed, moment: float | None) -> None:
        """Set the member's next moment in place of the previous one; None removes it.

        A moment in the past counts as the next second.
        """
        if member.due and (second := self._seconds.get(member.due)):
            second.discard(member)
        member.due = 0 if moment is None else max(self._done + 1, ceil(moment))
        if member.due:
            self._seconds.setdefault(member.due, set()).add(member)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            while self._done < int(now):
                self._done += 1
                for number, member in enumerate(self._seconds.pop(self._done, ()), 1):
                    if member.due == self._done:  # it may have been rescheduled in the meantime
                        member.due = 0
                        self.schedule(member, member.tick(now))
                    if number % MAX_CALLS_PER_TURN == 0:
                        await asyncio.sleep(0)
            await asyncio.sleep(self._done + 1 - loop.time())
