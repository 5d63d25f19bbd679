"""What a person sees while it runs: bars in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm


@contextmanager
def bar(what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Show the progress towards `total`; call what this returns with the number reached."""
    if not sys.stderr.isatty():
        say(f"{what}: {total:,} {unit} …")
        yield lambda _: None
        return
    with tqdm(total=total, desc=what, unit=f" {unit}", unit_scale=True, leave=False) as shown:

        def progress(done: int) -> None:
            shown.update(done - shown.n)

        yield progress


def say(line: str) -> None:
    """One line, now."""
    tqdm.write(line, file=sys.stderr)
    sys.stderr.flush()
