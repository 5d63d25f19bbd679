"""Which deliveries of an AMQP channel may be acknowledged. No I/O."""

from __future__ import annotations

from typing import NamedTuple


class Ack(NamedTuple):
    """Acknowledges the delivery with this tag; with `multiple` also all before it."""

    tag: int
    multiple: bool


class AckTracker:
    """Tracks which deliveries are settled, and acknowledges them in as few frames as possible.

    A channel numbers its deliveries 1, 2, 3 … They are settled in any order. A parked one is settled late,
    and is never acknowledged by one that came after it.
    """

    def __init__(self) -> None:
        self._open: dict[int, None] = {}  # in the order they came, so the first is the lowest
        self._settled: set[int] = set()

    def __len__(self) -> int:
        """How many were delivered and aren't settled."""
        return len(self._open)

    def delivered(self, tag: int) -> None:
        """Register a delivery. Call it in the order of the tags."""
        self._open[tag] = None

    def settled(self, tag: int) -> None:
        """The delivery's message was stored or dead-lettered."""
        del self._open[tag]
        self._settled.add(tag)

    def pop(self) -> list[Ack]:
        """Return what to acknowledge now, and forget it."""
        first_open = next(iter(self._open), None)
        run = {tag for tag in self._settled if first_open is None or tag < first_open}
        acks = [Ack(max(run), multiple=True)] if run else []
        acks += [Ack(tag, multiple=False) for tag in sorted(self._settled - run)]
        self._settled.clear()
        return acks
