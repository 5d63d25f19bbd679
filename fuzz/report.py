"""docs/explanation/fuzzing.md: what was fuzzed, how much, and what held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.machine import describe
from fuzz.engines import LONG, WITHIN
from fuzz.target import Target


@dataclass
class Result:
    """What came of one target. `found`: files that hold the inputs which broke its promise."""

    target: Target
    guided: int = 0
    built: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    reached: int = 0
    features: int = 0
    memory_mb: int = 0
    found: list[str] = field(default_factory=list)

    @property
    def inputs(self) -> int:
        return self.guided + self.built

    def note(self, inputs: int, built: bool, reached: int, features: int, memory_mb: int) -> None:
        """Keep what the child said."""
        if built:
            self.built = inputs
        else:
            self.guided = inputs
        self.reached = max(self.reached, reached)
        self.features = max(self.features, features)
        self.memory_mb = max(self.memory_mb, memory_mb)


_INTRODUCTION = """\
# Fuzzing: hostile inputs by the million

Written by `make fuzz` ([fuzz/](../fuzz)). Each target is code that reads what others wrote, with a promise
that is checked for every input. Inputs come from libFuzzer, guided by the coverage of the hub's code and of
websockets, pamqp and PyJWT ([atheris](https://github.com/google/atheris)); from Hypothesis, which builds what
gets past the first look; and {long} for each target are long: pieces repeated up to the largest size that its
callers let through. A promise is broken, too, by an input that takes more than {within:g} s of CPU, or memory
out of proportion to its length (measured for a quarter of the long ones).

`INPUTS=` (in all), `SEED=` and `TARGETS=` (names, by commas) choose; without `TARGETS` all of them, with
four million inputs or more, write this page again: a million for events, frames, HTTP and the rest.
What broke a promise once, and what reaches far, is kept in [fuzz/corpus](../fuzz/corpus); `make test` checks
all of that, and some new inputs for each target.
"""


def write(path: Path, results: Sequence[Result], inputs: int, start: int) -> None:
    """Write the page."""
    machine = describe((), 0.0)
    tools = ", ".join(f"{name} {_version(name)}" for name in ("atheris", "hypothesis"))
    versions = ", ".join(f"{name} {number}" for name, number in machine.versions.items())
    lines = [
        _INTRODUCTION.format(long=LONG, within=WITHIN),
        f"{machine.date}, commit {machine.code}: `make fuzz INPUTS={inputs} SEED={start}`, one core of",
        f"{machine.cores} ({machine.cpu}), {machine.memory_gb} GB, {machine.system}. {versions}, {tools}.",
        "",
        "| target | what it promises | guided | built | seconds | CPU | reached | memory | broken |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
        *map(_row, results),
        _sum(results),
        "",
        "*guided* and *built*: inputs by atheris, and by Hypothesis with the long ones. *reached*: branches",
        "of the instrumented code that inputs led to (libFuzzer's `cov`). msgspec, which parses all JSON and",
        "MessagePack here, is C and isn't instrumented: inside it nothing guides, so where few branches were",
        "reached (publication, session, bodies) the inputs are hardly better than random ones.",
        "*memory*: the most that the process had, Python, its libraries and libFuzzer's corpus included.",
    ]
    path.write_text("\n".join(lines) + "\n")


def _sum(results: Sequence[Result]) -> str:
    guided, built = sum(each.guided for each in results), sum(each.built for each in results)
    seconds, cpu = sum(each.seconds for each in results), sum(each.cpu_seconds for each in results)
    found = sum(len(each.found) for each in results)
    figures = f"{guided:,} | {built:,} | {seconds:,.0f} | {cpu:,.0f}"
    return f"| **all: {guided + built:,}** | | {figures} | | | {found} |"


def _row(result: Result) -> str:
    figures = f"{result.guided:,} | {result.built:,} | {result.seconds:,.0f} | {result.cpu_seconds:,.0f}"
    reached = f"{result.reached:,}" if result.reached else "–"
    return (
        f"| {result.target.name} | {result.target.promise} | {figures} | {reached} | {result.memory_mb} MB | "
        f"{len(result.found)} |"
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"
