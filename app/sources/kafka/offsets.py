"""How far a partition may be committed. No I/O."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

P = TypeVar("P", bound=Hashable)


class OffsetTracker(Generic[P]):
    """Tracks for each partition the first offset that is not done. Batches finish in order."""

    def __init__(self) -> None:
        self._passed: dict[P, int] = {}
        self._committed: dict[P, int] = {}

    def passed(self, partition: P, offset: int) -> None:
        """All messages up to and including `offset` are done."""
        self._passed[partition] = max(offset + 1, self._passed.get(partition, 0))

    def to_commit(self) -> dict[P, int]:
        """The positions that moved since they were last committed."""
        return {p: position for p, position in self._passed.items() if position > self._committed.get(p, -1)}

    def committed(self, positions: dict[P, int]) -> None:
        """Those positions were committed."""
        self._committed.update(positions)
