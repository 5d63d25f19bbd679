"""How far a partition may be committed. No I/O."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

P = TypeVar("P", bound=Hashable)


class OffsetTracker(Generic[P]):
    """Knows for each partition which offset is the first that is not done.

    Batches finish in order, but some of their messages wait aside and finish later; the position to commit
    never passes one of those.
    """

    def __init__(self) -> None:
        self._passed: dict[P, int] = {}
        self._aside: dict[P, set[int]] = {}
        self._committed: dict[P, int] = {}

    def passed(self, partition: P, offset: int) -> None:
        """All messages up to and with `offset` are done, but those set aside."""
        self._passed[partition] = max(offset + 1, self._passed.get(partition, 0))

    def set_aside(self, partition: P, offset: int) -> None:
        """This message will be done later. Say so before `passed`."""
        self._aside.setdefault(partition, set()).add(offset)

    def done(self, partition: P, offset: int) -> None:
        """A message that was set aside is done."""
        self._aside.get(partition, set()).discard(offset)

    def to_commit(self) -> dict[P, int]:
        """The positions that moved since they were last committed."""
        positions = {
            partition: min((position, *self._aside.get(partition, ())))
            for partition, position in self._passed.items()
        }
        return {p: position for p, position in positions.items() if position > self._committed.get(p, -1)}

    def committed(self, positions: dict[P, int]) -> None:
        """Those positions were committed."""
        self._committed.update(positions)
