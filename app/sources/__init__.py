"""Where events come in. A source polls, hands batches to the pipeline, and acknowledges what was done."""

from __future__ import annotations

from typing import Protocol


class Source(Protocol):
    """What the hub starts, asks and stops."""

    def start(self) -> None:
        """Begin; connects again and again while nobody answers."""

    async def stop(self, within: float) -> None:
        """Finish and acknowledge what is in hand, in at most `within` seconds."""

    async def check(self) -> None:
        """Raises `Unavailable` unless this node consumes."""
