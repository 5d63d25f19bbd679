"""Three methods to make inputs: guided by coverage (atheris), by structure (Hypothesis), and long ones."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Sequence

from hypothesis import HealthCheck, Phase, given, seed, settings

from fuzz.target import Target, checked

WITHIN = 4.0  # CPU seconds; instrumented code takes several times as long as usual, a busy core twice
MEMORY_BASE, MEMORY_PER_BYTE = 16 * 2**20, 150  # bytes; Python needs 100 for three of JSON
LONG = 24  # long inputs for each target
BATCH = 1000  # Hypothesis remembers all it made in one run


class Found(Exception):  # noqa: N818 - what fuzzing is for
    """An input that broke a promise; the cause says how."""

    def __init__(self, data: bytes) -> None:
        super().__init__(f"broken by {data[:200]!r}")
        self.data = data


def structured(target: Target, inputs: int, start: int) -> int:
    """Check so many inputs of the target's own strategy; how many there were. Raises `Found` with the
    smallest that Hypothesis can shrink a failure to.
    """
    last = [b""]
    count = [0]

    def run(data: bytes) -> None:
        last[0] = data
        count[0] += 1
        checked(target, data, WITHIN)

    for number, first in enumerate(range(0, inputs, BATCH)):
        wanted = settings(
            max_examples=min(BATCH, inputs - first),
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        try:
            seed(start + number)(wanted(given(target.structured)(run)))()
        except Exception as error:
            raise Found(last[0]) from error
    return count[0]


def examples(target: Target, count: int, start: int) -> list[bytes]:
    """So many inputs of the target's own strategy, unchecked."""
    found: list[bytes] = []
    structured(target._replace(check=found.append), count, start)
    return found


def long(target: Target, inputs: int, start: int, examples: Sequence[bytes]) -> int:
    """Check so many inputs of `target.longest` bytes, each a piece of an example repeated: time and memory
    have to stay in proportion. Raises `Found`.
    """
    choose = random.Random(start)
    for number in range(inputs):
        data = _stretched(target, choose, examples)
        try:
            checked(target, data, WITHIN)
            if number % 4 == 0:
                _check_memory(target, data)
        except Exception as error:
            raise Found(data) from error
    return inputs


_SIGNS = (b"a", b" ", b"[", b'{"a":', b"\\", b"<", b"&", b"\n", b".", b"%", b"0", "e\u0301".encode())


def _stretched(target: Target, choose: random.Random, examples: Sequence[bytes]) -> bytes:
    base = choose.choice(examples) or b"\0"
    begin = choose.randrange(len(base))
    piece = base[begin : begin + choose.choice((1, 2, 4, 8, 16, 64))]
    unit = choose.choice((piece, base, *_SIGNS, *target.words[: len(_SIGNS)])) or b"\0"
    at = choose.choice((choose.randrange(len(base) + 1), len(base)))
    times = max(0, target.longest - len(base)) // len(unit)
    return base[:at] + unit * times + base[at:]


def _check_memory(target: Target, data: bytes) -> None:
    tracemalloc.start()
    try:
        target.check(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    most = MEMORY_BASE + MEMORY_PER_BYTE * len(data)
    assert peak <= most, f"{target.name}: {len(data)} bytes took {peak} bytes of memory, at most {most}"
