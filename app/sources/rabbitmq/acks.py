"""Which deliveries of an AMQP channel may be acknowledged. No I/O."""

from __future__ import annotations

from typing import NamedTuple


class Ack(NamedTuple):
    """Acknowledges the delivery with this tag; with `multiple` also all before it."""

    tag: int
    multiple: bool


class AckTracker:
    """Knows which deliveries are settled, and acknowledges them in few words.

    A channel numbers its deliveries 1, 2, 3 … They are settled in any order: what waits aside is settled
    late, and is never acknowledged by those that came after it.
    """

    def __init__(self) -> None:
        self._open: dict[int, None] = {}  # in the order they came, so the first is the lowest
        self._settled: set[int] = set()

    def __len__(self) -> int:
        """How many have arrived and aren't settled."""
        return len(self._open)

    def arrived(self, tag: int) -> None:
        """A delivery came. Say so in the order of their tags."""
        self._open[tag] = None

    def settled(self, tag: int) -> None:
        """The delivery is done with."""
        del self._open[tag]
        self._settled.add(tag)

    def take(self) -> list[Ack]:
        """What to acknowledge now; it is forgotten here."""
        first_open = next(iter(self._open), None)
        run = {tag for tag in self._settled if first_open is None or tag < first_open}
        acks = [Ack(max(run), multiple=True)] if run else []
        acks += [Ack(tag, multiple=False) for tag in sorted(self._settled - run)]
        self._settled.clear()
        return acks
