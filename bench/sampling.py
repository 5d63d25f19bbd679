"""A sampling profiler for the process it runs in: a timer that counts CPU time, not the time spent waiting.

What C code costs is booked to the line of Python that called it.
"""

from __future__ import annotations

import signal
import sys
from collections import Counter
from types import FrameType

INTERVAL = 0.002  # seconds of CPU
DEPTH = 60


class Sampler:
    """Collects stacks of the main thread between two calls of `take`."""

    def __init__(self) -> None:
        self._stacks: Counter[tuple[str, ...]] = Counter()
        signal.signal(signal.SIGPROF, self._sample)

    def take(self) -> list[tuple[int, list[str]]]:
        """The stacks since the last call, each with its count, innermost call first; clears them."""
        stacks, self._stacks = self._stacks, Counter()
        signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)
        return [(count, list(stack)) for stack, count in stacks.most_common()]

    def _sample(self, _: int, frame: FrameType | None) -> None:
        stack: list[str] = []
        while frame is not None and len(stack) < DEPTH:
            code = frame.f_code
            stack.append(f"{_short(code.co_filename)}:{frame.f_lineno}:{code.co_qualname}")
            frame = frame.f_back
        self._stacks[tuple(stack)] += 1


def _short(path: str) -> str:
    for root in sorted(sys.path, key=len, reverse=True):
        if root and path.startswith(root):
            return path[len(root) :].lstrip("/")
    return path
