"""The rewriting of the tests' asserts, shared by the workers of a run.

pytest rewrites the asserts of each test module before it compiles it: some 9 s of CPU for all of them in a
new clone. Each worker has to import all modules, but begins with a share of its own, and finds what the
others have rewritten meanwhile in `__pycache__`.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


def import_own_share(config: pytest.Config) -> None:
    """Import this worker's share of the test modules. Does nothing in a run without workers."""
    worker = getattr(config, "workerinput", None)
    if worker is None:
        return
    own = int(worker["workerid"].removeprefix("gw"))
    for file in sorted(TESTS.rglob("test_*.py"))[own :: worker["workercount"]]:
        importlib.import_module(".".join(file.relative_to(TESTS.parent).with_suffix("").parts))
