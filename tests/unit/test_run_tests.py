"""What fails beside other tests is run once more, alone, and named when it then passes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.run_tests import ALONE, run_tests


class FakePytest:
    """Fails with these tests in the first run, with those in the next one."""

    def __init__(self, cache: Path, status: int, *runs: Sequence[str]) -> None:
        self.calls: list[Sequence[str]] = []
        self._record = cache / "v" / "cache" / "lastfailed"
        self._status = status
        self._runs = list(runs)

    def __call__(self, arguments: Sequence[str]) -> int:
        self.calls.append(arguments)
        failed = self._runs.pop(0)
        self._record.parent.mkdir(parents=True, exist_ok=True)
        self._record.write_text(json.dumps(dict.fromkeys(failed, True)))
        return self._status if failed else 0


def test_a_run_without_failures_is_one_run(tmp_path: Path) -> None:
    fake = FakePytest(tmp_path, 1, [])
    assert run_tests(["-n", "4"], fake, tmp_path) == 0
    assert len(fake.calls) == 1
    assert fake.calls[0][:3] == ["-n", "4", "--cache-clear"]


def test_what_passes_alone_is_named_as_flaky(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake = FakePytest(tmp_path, 1, ["tests/b.py::test_2", "tests/a.py::test_1"], [])
    assert run_tests(["-n", "4"], fake, tmp_path) == 0
    assert tuple(fake.calls[1][2 : 2 + len(ALONE)]) == ALONE
    assert "--cache-clear" not in fake.calls[1], "it says what failed"
    named = [line.split(":")[0:3] for line in capsys.readouterr().out.splitlines() if "FLAKY" in line]
    assert named == [["FLAKY tests/a.py", "", "test_1"], ["FLAKY tests/b.py", "", "test_2"]]


@pytest.mark.parametrize(
    ("status", "first", "second", "runs"),
    [
        (1, ["a"], ["a"], 2),  # fails again
        (1, ["a", "b"], ["b"], 2),  # one of them does
        (1, ["a", "b", "c", "d"], [], 1),  # too many for flakiness
        (2, ["a"], [], 1),  # interrupted, or a file can't be imported
        (3, ["a"], [], 1),
    ],
)
def test_anything_else_fails_the_run(
    tmp_path: Path, status: int, first: list[str], second: list[str], runs: int
) -> None:
    fake = FakePytest(tmp_path, status, first, second)
    assert run_tests([], fake, tmp_path) == status
    assert len(fake.calls) == runs


def test_a_test_that_is_not_found_again_fails_the_run(tmp_path: Path) -> None:
    fake = FakePytest(tmp_path, 1, ["a"], ["a"])

    def finds_nothing_to_run(arguments: Sequence[str]) -> int:
        return 0 if fake(arguments) and ALONE[0] in arguments else 1

    assert run_tests([], finds_nothing_to_run, tmp_path) == 1
