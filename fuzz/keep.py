"""Keep a small corpus of what reaches far: `python -m fuzz.keep <target> <folder of inputs>`.

Adds inputs of the folder to the target's corpus, small ones first, each only if it makes lines of the hub run
that those before it don't; `MOST` of them, and none larger than `LARGEST` bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any

from fuzz.target import Target, name_of
from fuzz.targets import TARGETS

MOST, LARGEST = 12, 600
_OURS = tuple(str(Path(__file__).parent.parent / folder) for folder in ("app", "handlers"))

Lines = set[tuple[str, int]]


def main() -> None:
    """Choose and copy."""
    name, folder = sys.argv[1:]
    target = TARGETS[name]
    target.folder.mkdir(parents=True, exist_ok=True)
    for data in chosen(target, (path.read_bytes() for path in Path(folder).iterdir() if path.is_file())):
        (target.folder / name_of(data)).write_bytes(data)


def chosen(target: Target, inputs: Iterable[bytes]) -> list[bytes]:
    """Those that add lines to the ones that the corpus runs already."""
    known: Lines = set()
    for path in target.corpus():
        known |= _run_by(target, path.read_bytes())
    kept: list[bytes] = []
    for data in sorted((data for data in inputs if len(data) <= LARGEST), key=lambda data: (len(data), data)):
        lines = _run_by(target, data)
        if not lines <= known and len(kept) < MOST:
            kept.append(data)
            known |= lines
    return kept


def _run_by(target: Target, data: bytes) -> Lines:
    lines: Lines = set()

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(_OURS):
            return None
        if event == "line":
            lines.add((frame.f_code.co_filename, frame.f_lineno))
        return trace

    sys.settrace(trace)
    try:
        target.check(data)
    finally:
        sys.settrace(None)
    return lines


if __name__ == "__main__":
    main()
