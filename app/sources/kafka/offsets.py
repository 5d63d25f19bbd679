"""How far a partition may be committed. No I/O."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

P = TypeVar("P", bound=Hashable)


class OffsetTracker(Generic[P]):
    """Tracks for each partition the first offset that is not done.

    Batches finish in order, but some of their messages are parked and finish later. The position to commit
    never passes a parked message.
    """

    def __init__(self) -> None:
        self._passed: dict[P, int] = {}
        self._parked: dict[P, set[int]] = {}
        self._committed: dict[P, int] = {}

    def passed(self, partition: P, offset: int) -> None:
        """All messages up to and including `offset` are done, except parked ones."""
        self._passed[partition] = max(offset + 1, self._passed.get(partition, 0))

    def park(self, partition: P, offset: int) -> None:
        """Park this message: it will be done later. Call it before `passed`."""
        self._parked.setdefault(partition, set()).add(offset)

    def done(self, partition: P, offset: int) -> None:
        """A parked message is done."""
        self._parked.get(partition, set()).discard(offset)

    def to_commit(self) -> dict[P, int]:
        """The positions that moved since they were last committed."""
        positions = {
            partition: min((position, *self._parked.get(partition, ())))
            for partition, position in self._passed.items()
        }
        return {p: position for p, position in positions.items() if position > self._committed.get(p, -1)}

    def committed(self, positions: dict[P, int]) -> None:
        """Those positions were committed."""
        self._committed.update(positions)
