"""docs/reference/names.md: the settings that it names are ours, and the foreign ones are accepted."""

from __future__ import annotations

import re

import pytest

from app.settings import Settings
from app.settings.aliases import FOREIGN
from tests.support.hub import ROOT

PAGE = (ROOT / "docs/reference/names.md").read_text("utf-8")
OURS = {variable.name for variable in Settings.variables()}
_NAME = re.compile(r"`([A-Z][A-Z_]+)`")


def section(title: str) -> list[list[str]]:
    """The cells of each row of its table."""
    text = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) > 3, title
    return rows[1:]


@pytest.mark.parametrize(("foreign", "ours"), section("Settings"))
def test_a_foreign_setting_is_accepted_and_ours_is_one(foreign: str, ours: str) -> None:
    assert set(_NAME.findall(foreign)) <= FOREIGN
    assert set(_NAME.findall(ours)) <= OURS


def test_each_transport_names_its_settings() -> None:
    named = {name for *_, setting in section("Transports") for name in _NAME.findall(setting)}
    assert len(named) > 8
    assert named <= OURS
