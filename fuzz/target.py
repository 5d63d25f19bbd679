"""What is fuzzed: a function of bytes that raises where a promise is broken."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from hypothesis.strategies import SearchStrategy

CORPUS = Path(__file__).parent / "corpus"
CANARY = "482913"
"""The secret of all targets that have one: it must not come out where they promise so."""


class Target(NamedTuple):
    """Code of the hub, and what must hold of it whatever it is given."""

    name: str
    promise: str
    check: Callable[[bytes], None]
    """Raises, be it an AssertionError or anything else, when an input breaks the promise."""
    structured: SearchStrategy[bytes]
    """Inputs that get past the first look."""
    words: Sequence[bytes] = ()
    """What libFuzzer builds inputs of, besides bytes that it makes up."""
    largest: int = 4096
    """Bytes of an input, but of the long ones."""
    longest: int = 200_000
    """Bytes of the long ones: as much as the code's callers let through, or more."""
    weight: float = 1.0
    """Its share of all inputs: less where an input takes long."""

    @property
    def folder(self) -> Path:
        """Where its corpus is."""
        return CORPUS / self.name.replace(" ", "_")

    def corpus(self) -> list[Path]:
        """Inputs worth keeping: those that found something, and those that reach far."""
        return sorted(self.folder.glob("*"))


def name_of(data: bytes) -> str:
    """What an input is called in the corpus."""
    return hashlib.sha256(data).hexdigest()[:16]


def checked(target: Target, data: bytes, within: float) -> float:
    """Check one input; the CPU seconds it took, which others on the machine don't add to. Raises what `check`
    raises, and `AssertionError` past `within` seconds.
    """
    begun = time.thread_time()
    target.check(data)
    took = time.thread_time() - begun
    assert took <= within, f"{target.name}: {len(data)} bytes took {took:.2f} s of CPU, at most {within}"
    return took
