"""Reports of experiments: a few lines on the terminal, and the tables in docs/reliability.md."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import faults.experiments  # noqa: F401 - registers them
from bench.clients import ROOT
from faults import results
from faults.experiment import EXPERIMENTS, Experiment
from faults.ledger import COLUMNS, Count
from faults.results import Figure, Result

RESULTS = ROOT / "docs" / "reliability.json"
"""The results that the page docs/reliability.md shows."""
BEGIN, END = "<!-- results: written by `python -m faults.report` -->", "<!-- end of the results -->"


def plain(result: Result) -> str:
    """The ledger and the figures, for a terminal."""
    lines = [f"\n{result.name}: {'FAILED' if result.problems else 'passed'} after {result.seconds:.0f} s"]
    if (ledger := result.ledger) is not None:
        lines.append(f"  {'':20}{'due':>10}{'found':>10}{'lost':>8}{'doubled':>9}{'strange':>9}")
        lines.append(f"  {'produced':20}{ledger.produced:>10,}")
        for name, shown in COLUMNS.items():
            count: Count = getattr(ledger, name)
            lines.append(
                f"  {shown:20}{count.due:>10,}{count.found:>10,}{count.lost:>8,}"
                f"{count.doubled:>9,}{count.strange:>9,}"
            )
    lines += [f"  {_figure(figure)}" for figure in result.figures]
    lines += [f"  PROBLEM: {problem}" for problem in result.problems]
    return "\n".join(lines)


def write(file: Path) -> None:
    """Put the tables of the results in `file` into the page beside it."""
    page = file.with_suffix(".md")
    page.write_text(rendered(page.read_text("utf-8"), file), "utf-8")


def rendered(page: str, file: Path) -> str:
    """The page with the tables of the results in `file`; an experiment without a result is marked as such."""
    head, rest = page.split(BEGIN)
    tail = rest.split(END)[1]
    return f"{head}{BEGIN}\n{tables(results.read(file))}\n{END}{tail}"


def tables(found: Mapping[str, Result]) -> str:
    """Which experiment tests which guarantee, the result of each, and the machine and commit."""
    promises: defaultdict[str, list[str]] = defaultdict(list)
    for each in EXPERIMENTS.values():
        for number in each.promises.split(", "):
            promises[number].append(f"{each.name} {_mark(found.get(each.name))}")
    counts = [f"{shown} lost / doubled" for shown in COLUMNS.values()]
    lines = [
        "| guarantee | tested by |",
        "|---|---|",
        *(f"| {number} | {', '.join(names)} |" for number, names in sorted(promises.items())),
        "",
        f"| guarantees | experiment | events | {' | '.join(counts)} "
        "| figures | passed | commit, date | repeat |",
        "|---" * (7 + len(COLUMNS)) + "|",
        *(_row(each, found.get(each.name)) for each in EXPERIMENTS.values()),
        "",
        *(f"- {line}" for line in sorted({_machine(each) for each in found.values()})),
    ]
    return "\n".join(lines)


def _row(experiment: Experiment, result: Result | None) -> str:
    name = f"**{experiment.name}**: {experiment.what if result is None else result.what}"
    again = f"`make faults EXPERIMENTS={experiment.name}`"
    cells: tuple[str, ...]
    if result is None:
        cells = (experiment.promises, name, *("",) * (2 + len(COLUMNS)), "not run yet", "–", again)
        return f"| {' | '.join(cells)} |"
    size = "" if result.size == 1 else f" SIZE={result.size:g}"
    counts: tuple[str, ...] = ("",) * (1 + len(COLUMNS))
    if (ledger := result.ledger) is not None:
        counts = (f"{ledger.produced:,}", *(_count(getattr(ledger, name)) for name in COLUMNS))
    figures = "; ".join(_figure(figure) for figure in result.figures)
    problems = "; ".join(result.problems).replace("|", "/").replace("\n", " ")
    cells = (
        experiment.promises,
        name + (f" (here at {result.size:.0%} of that)" if size else ""),
        *counts,
        figures,
        f"{_mark(result)} {problems}".strip(),
        f"{result.machine.code}, {result.machine.date[:10]}",
        f"`make faults EXPERIMENTS={experiment.name} SEED={result.seed}{size}`",
    )
    return f"| {' | '.join(cells)} |"


def _mark(result: Result | None) -> str:
    if result is None:
        return "(not run yet)"
    return "✗" if result.problems else "✓"


def _count(count: Count) -> str:
    return f"{count.lost:,} / {count.doubled:,} of {count.due:,}" if count.due or count.found else "–"


def _figure(figure: Figure) -> str:
    limit = "" if figure.at_most is None else f" (≤ {figure.at_most:g})"
    return f"{figure.name}: {figure.value:,g} {figure.unit}".rstrip() + limit


def _machine(result: Result) -> str:
    made = result.machine
    versions = ", ".join(f"{name} {number}" for name, number in made.versions.items())
    return (
        f"{made.date[:10]}, commit {made.code}: {made.cpu}, {made.cores} cores for everything, "
        f"{made.memory_gb} GB; {'; '.join(made.services)}; {versions}"
    )


if __name__ == "__main__":
    write(RESULTS)
