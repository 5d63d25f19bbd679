"""The settings that pages mention exist, and have the defaults that the pages say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

from app.settings import Settings
from tests.support.hub import ROOT
from tests.unit.test_docs import words_of_code

PAGES = [*(ROOT / name for name in ("README.md", "SECURITY.md")), *sorted((ROOT / "docs").rglob("*.md"))]
UNITS = {
    **{"ms": 0.001, "s": 1, "min": 60, "h": 3600, "hours": 3600, "day": 86400, "days": 86400},
    **{"KB": 1024, "MB": 1024 * 1024},
}
NUMBERS = {"a": 1, "one": 1, "two": 2, "three": 3, "seven": 7, "ten": 10}
_UNIT = rf"(?: ({'|'.join(UNITS)})\b)?"
_IN_PARENTHESES = rf" \((\d[\d,]*|{'|'.join(NUMBERS)}){_UNIT}\)"
_DEFAULT = re.compile(rf"`([A-Z][A-Z0-9_]+)`(?: days| seconds)?(?:{_IN_PARENTHESES}|, (\d[\d,]*){_UNIT})")
"""As in "`WS_PING_INTERVAL` (20 s)", "`EVENT_IDS_KEPT` days (30)" and, in tables, "`HTTP_WAIT`, 8"."""
_NAME = re.compile(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)(?:=[^`]*)?`")


def defaults() -> dict[str, float]:
    """The settings whose default is a number; of a duration, the seconds."""
    found = {variable.name: variable.info.default for variable in Settings.variables()}
    durations = {name: value.total_seconds() for name, value in found.items() if isinstance(value, timedelta)}
    return durations | {name: float(value) for name, value in found.items() if type(value) in (int, float)}


def wrong_defaults(text: str, known: dict[str, float]) -> Iterator[str]:
    """Each default in a text that isn't the one of the code."""
    for found in _DEFAULT.finditer(text):
        name, *figures = found.groups()
        number, unit = figures[:2] if figures[0] else figures[2:]
        if name in known:
            value = NUMBERS.get(number) or float(number.replace(",", ""))
            if known[name] not in (value, value * UNITS.get(unit, 1)):
                yield f"{found[0]}: the default is {known[name]:g}"


def test_the_defaults_that_pages_mention_are_those_of_the_code() -> None:
    known = defaults()
    found = {page.name: [*wrong_defaults(page.read_text("utf-8"), known)] for page in PAGES}
    assert {page: wrong for page, wrong in found.items() if wrong} == {}


def test_a_wrong_default_is_found() -> None:
    known = {"A_B": 900.0, "C_D": 30.0}
    right = "`A_B` (15 min), `A_B` (900 s) `C_D` days (30), | `C_D`, 30 |, `C_D` (or `A_B`), `X_Y` (7)"
    assert [*wrong_defaults(right, known)] == []
    wrong = "`A_B` (10 s), `C_D` days (31), `C_D`, 8 |"
    assert [each.partition(":")[0] for each in wrong_defaults(wrong, known)] == [
        "`A_B` (10 s)",
        "`C_D` days (31)",
        "`C_D`, 8",
    ]


def test_the_settings_that_pages_name_exist() -> None:
    pages = [page for page in PAGES if page.parent.name != "decisions"]  # those name options not chosen
    named = {(page.name, name) for page in pages for name in _NAME.findall(page.read_text("utf-8"))}
    known = words_of_code() | {variable.name for variable in Settings.variables()}
    assert sorted(f"{page}: {name}" for page, name in named if name not in known) == []
