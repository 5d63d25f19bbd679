"""Detection of partitions that don't advance although they have more to read. No I/O."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

P = TypeVar("P", bound=Hashable)


class StallDetector(Generic[P]):
    """Compares positions with the ends of their partitions, look by look."""

    def __init__(self, patience: float) -> None:
        """`patience` is how many seconds a partition may stall."""
        self._patience = patience
        self._since: dict[P, tuple[int, float]] = {}

    def look(self, now: float, positions: Mapping[P, int], ends: Mapping[P, int]) -> list[P]:
        """Return those that had more to read at each call, for that long, and didn't move.

        `now` is in seconds.
        """
        behind = {p: position for p, position in positions.items() if position < ends.get(p, 0)}
        self._since = {
            p: known if (known := self._since.get(p)) and known[0] == position else (position, now)
            for p, position in behind.items()
        }
        return [p for p, (_, since) in self._since.items() if now - since >= self._patience]

    def forget(self) -> None:
        """Discard what was observed: there was a reason for the stall."""
        self._since.clear()
