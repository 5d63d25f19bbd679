"""The order in which the tests' files are begun: those that take longest first, so that none is the tail.

`durations.json` says how many seconds each file took. To measure again: `make durations`, or

    python -m tests.support.schedule REPORT     (which pytest --junit-xml=REPORT has written)
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

import pytest

DURATIONS = Path(__file__).with_name("durations.json")
TOGETHER = ("tests/e2e/demo/", "tests/clients/", "tests/attacks/one_hub/", "tests/e2e/one_hub/")
"""Folders whose fixtures of scope "package" cost more than running their files one after another."""
UNKNOWN_SECONDS = 20.0  # of a file that is new: early rather than last


def slow_files_first(items: list[pytest.Item]) -> None:
    """Sort the tests by how long their scopes took; within a scope they keep their order."""
    known: dict[str, float] = json.loads(DURATIONS.read_text())
    seconds: dict[str, float] = defaultdict(float)
    for file in {_file(item) for item in items}:
        seconds[scope(file)] += known.get(file, UNKNOWN_SECONDS)
    items.sort(key=lambda item: -seconds[scope(_file(item))])


def scope(file: str) -> str:
    """What goes to one worker with this file: the file, or the folder whose files share a hub."""
    return next((folder for folder in TOGETHER if file.startswith(folder)), file)


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def measured(report: Path) -> dict[str, float]:
    """The seconds of each file, as a JUnit report of pytest has them."""
    seconds: dict[str, float] = defaultdict(float)
    for case in ElementTree.parse(report).iter("testcase"):
        seconds[_path_of(case.attrib["classname"])] += float(case.attrib["time"])
    return {file: round(took, 1) for file, took in sorted(seconds.items())}


def _path_of(classname: str) -> str:
    """`tests.unit.test_breaker.TestAnyOrder` is in `tests/unit/test_breaker.py`."""
    parts = [part for part in classname.split(".") if not part[:1].isupper()]
    return "/".join(parts) + ".py"


if __name__ == "__main__":
    DURATIONS.write_text(json.dumps(measured(Path(sys.argv[1])), indent=1) + "\n")
