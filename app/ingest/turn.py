"""The order of batches: one is written at a time, and pushed in the same order while the next is written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import NamedTuple

from app.domain.planning import Assumed, Plan
from app.ingest.batch import PreparedEvent

MAX_PLAN_AGE_SECONDS = 1.0  # a batch that waits longer for its turn is planned again


class PlannedAhead(NamedTuple):
    """Plans that were made while their batch waited for its turn."""

    planned_at: float
    """Monotonic time."""
    plans: Mapping[int, Plan]
    """By the `id` of the prepared event."""
    assumed: Assumed | None = None
    """What they were made by, if that was not read."""

    def of(self, events: Sequence[PreparedEvent]) -> tuple[list[Plan], Assumed | None] | None:
        """The plans of these events, and what is assumed; None if they are too old."""
        if time.monotonic() - self.planned_at > MAX_PLAN_AGE_SECONDS:
            return None
        return [self.plans[id(item)] for item in events], self.assumed


class Turns:
    """What batches share that keep their order. Each takes a turn by `async with Turn(turns)`."""

    def __init__(self) -> None:
        self.writing, self.pushing = asyncio.Lock(), asyncio.Lock()
        self.waiting = 0
        """How many batches wait for their turn."""

    @property
    def taken(self) -> bool:
        """Whether a batch has to wait for its turn."""
        return self.writing.locked()


class Turn:
    """One batch's turn: first to write, then to push."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._writes = self._pushes = False

    async def __aenter__(self) -> Turn:
        self._turns.waiting += 1
        try:
            await self._turns.writing.acquire()
        finally:
            self._turns.waiting -= 1
        self._writes = True
        return self

    async def push(self, *, last: bool) -> None:
        """Wait until the batches before were pushed. Call it after a commit, before what it stored is pushed.

        Args:
            last: Nothing more is written in this turn: the statement of the next batch, if one waits, is sent
                before this call returns.
        """
        if not self._pushes:
            await self._turns.pushing.acquire()
            self._pushes = True
        if last and self._writes:
            self._writes = False
            self._turns.writing.release()
            if self._turns.waiting:
                await asyncio.sleep(0)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writes:
            self._turns.writing.release()
        if self._pushes:
            self._turns.pushing.release()
