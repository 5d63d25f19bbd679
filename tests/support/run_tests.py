"""Run all tests beside each other, and those that failed once more, alone.

    python -m tests.support.run_tests ...       (the arguments of pytest)

A test that fails beside others, on a busy machine, and passes alone is flaky. It is named as such at the end
of the output, and the run counts as passed. More than three failures are no flakiness: nothing is run again.
A test that fails again, or is not found again, fails the run.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

MAX_FLAKY_TESTS = 3
CACHE = Path(__file__).parents[2] / ".pytest_cache"
ALONE = ("--workers", "0", "--last-failed", "--last-failed-no-failures", "none", "-qq")
"""The same tests in one process, without a second closing line that would be taken for that of all tests."""

_TESTS_FAILED = 1  # pytest's exit status; the others mean that it did not get to run all of them


def run_tests(arguments: Sequence[str], pytest: Callable[[Sequence[str]], int], cache: Path = CACHE) -> int:
    """Run pytest with these arguments, and again with what failed.

    Args:
        arguments: pytest's.
        pytest: runs pytest and returns its exit status.
        cache: the folder in which pytest records what failed.

    Returns: the exit status: 0 if all tests passed, or passed alone; else that of the first run.
    """
    # Without --cache-clear the record still has failures of earlier runs, of tests that may be gone.
    status = pytest([*arguments, "--cache-clear", "-o", f"cache_dir={cache}"])
    failed = _failed(cache)
    if status != _TESTS_FAILED or not 0 < len(failed) <= MAX_FLAKY_TESTS:
        return status
    print(f"\n{len(failed)} failed beside the other tests. Run again, alone:", flush=True)
    if pytest([*arguments, *ALONE, "-o", f"cache_dir={cache}"]) != 0 or _failed(cache):
        return status
    for test in failed:
        print(f"FLAKY {test}: failed beside other tests, passed alone. A flaky test is a bug: fix it.")
    return 0


def _failed(cache: Path) -> list[str]:
    """The ids of the tests that failed and have not passed since."""
    try:
        return sorted(json.loads((cache / "v" / "cache" / "lastfailed").read_text()))
    except FileNotFoundError:
        return []


def _pytest(arguments: Sequence[str]) -> int:
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(run_tests(sys.argv[1:], _pytest))
