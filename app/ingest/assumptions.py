"""When batches are planned by what people had set when it was read last. No I/O."""

from __future__ import annotations

MAX_SKIPPED_BATCHES = 63


class Assumptions:
    """An outdated assumption costs a batch another statement: after one, some batches are planned by
    what is read, and more of them the more in a row were outdated.
    """

    def __init__(self) -> None:
        self._skipped = 0
        self._left = 0

    def worthwhile(self) -> bool:
        """Whether to plan the next batch by assumption."""
        if self._left:
            self._left -= 1
            return False
        return True

    def held(self) -> None:
        """A batch was written by an assumption."""
        self._skipped = 0

    def outdated(self) -> None:
        """An assumption didn't hold."""
        self._left = self._skipped = min(2 * self._skipped + 1, MAX_SKIPPED_BATCHES)
