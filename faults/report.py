"""What an experiment came to: in a few lines while it runs, and as a table in docs/reliability.md."""

from __future__ import annotations

import sys
from pathlib import Path

from faults import results
from faults.ledger import Count
from faults.results import Figure, Result

BEGIN, END = "<!-- results: written by `python -m faults.report` -->", "<!-- end of the results -->"


def plain(result: Result) -> str:
    """The ledger and the figures, for a terminal."""
    lines = [f"\n{result.name}: {'FAILED' if result.problems else 'passed'} after {result.seconds:.0f} s"]
    if (ledger := result.ledger) is not None:
        lines.append(f"  {'':10}{'due':>10}{'found':>10}{'lost':>8}{'doubled':>9}{'strange':>9}")
        lines.append(f"  {'produced':10}{ledger.produced:>10,}")
        for name in ("rows", "frames", "mails", "letters"):
            count: Count = getattr(ledger, name)
            lines.append(
                f"  {name:10}{count.due:>10,}{count.found:>10,}{count.lost:>8,}{count.doubled:>9,}"
                f"{count.strange:>9,}"
            )
    lines += [f"  {_figure(figure)}" for figure in result.figures]
    lines += [f"  PROBLEM: {problem}" for problem in result.problems]
    return "\n".join(lines)


def write(file: Path) -> None:
    """Put the table of the results in `file` into the page beside it."""
    page = file.with_suffix(".md")
    page.write_text(rendered(page.read_text("utf-8"), file), "utf-8")


def rendered(page: str, file: Path) -> str:
    """The page with the table of the results in `file`."""
    head, rest = page.split(BEGIN)
    tail = rest.split(END)[1]
    return f"{head}{BEGIN}\n{table(list(results.read(file).values()))}\n{END}{tail}"


def table(found: list[Result]) -> str:
    """One row an experiment, and what they ran on."""
    rows = [
        "| experiment | promises | events | rows lost / doubled | frames lost / doubled "
        "| mails lost / doubled | dead letters lost / doubled | figures | passed | again |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(_row(each) for each in found),
    ]
    ran_on = sorted({_machine(each) for each in found})
    return "\n".join([*rows, "", *(f"- {line}" for line in ran_on)])


def _row(result: Result) -> str:
    ledger = result.ledger
    size = "" if result.size == 1 else f" (size {result.size:g})"
    counts: tuple[str, ...] = ("",) * 5
    if ledger is not None:
        columns = (ledger.rows, ledger.frames, ledger.mails, ledger.letters)
        counts = (f"{ledger.produced:,}", *(_count(each) for each in columns))
    figures = "; ".join(_figure(figure) for figure in result.figures)
    passed = (
        "✓" if not result.problems else f"✗ {'; '.join(result.problems)}".replace("|", "/").replace("\n", " ")
    )
    again = f"`make faults EXPERIMENTS={result.name} SEED={result.seed}`"
    cells = (f"{result.what}{size}", result.promises, *counts, figures, passed, again)
    return f"| {' | '.join(cells)} |"


def _count(count: Count) -> str:
    return f"{count.lost:,} / {count.doubled:,} of {count.due:,}" if count.due or count.found else "–"


def _figure(figure: Figure) -> str:
    limit = "" if figure.at_most is None else f" (≤ {figure.at_most:g})"
    return f"{figure.name}: {figure.value:,g} {figure.unit}".rstrip() + limit


def _machine(result: Result) -> str:
    made = result.machine
    versions = ", ".join(f"{name} {number}" for name, number in made.versions.items())
    return (
        f"{made.date[:10]}, code {made.code}: {made.cpu}, {made.cores} cores for everything, "
        f"{made.memory_gb} GB; {'; '.join(made.services)}; {versions}"
    )


if __name__ == "__main__":
    write(Path(sys.argv[1]))
