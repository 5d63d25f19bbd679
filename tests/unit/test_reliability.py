"""docs/reliability.md says what the file of the results says."""

from __future__ import annotations

from pathlib import Path

from bench import machine
from faults import report, results
from faults.ledger import Count, Ledger
from faults.results import Figure, Result
from tests.support.hub import ROOT

PAGE = ROOT / "docs" / "reliability.md"


def test_the_page_shows_the_results() -> None:
    """If not: `python -m faults.report`."""
    page = PAGE.read_text("utf-8")
    assert report.rendered(page, report.RESULTS) == page


def test_what_failed_is_shown_as_failed(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    lost = Ledger(
        100, Count(120, 118, 2, 0), Count(120, 118, 2, 0), Count(2, 3, 0, 1), Count(0, 0, 0, 0), 1, 0, 0
    )
    ran_on = machine.describe(["a service"], 0.0, "faults")
    figures = [Figure("longest stall", 7.5, "s", 5.0)]
    for seed in (3, 7):
        problems = ["2 rows lost"] if seed == 7 else []
        result = Result("kill-9", "", "1", 0.5, seed, 1.0, lost, figures, problems, ran_on)
        results.add(file, result)
    (row,) = [line for line in report.tables(results.read(file)).splitlines() if "**kill-9**" in line]
    for shown in (
        "| 2 / 0 of 120 |",
        "0 / 1 of 2",
        "7.5 s (≤ 5)",
        "✗ 2 rows lost",
        "EXPERIMENTS=kill-9 SEED=7 SIZE=0.5",
    ):
        assert shown in row
    assert "kill-9 ✗" in report.tables(results.read(file))
    assert "not run yet" in report.tables({})
