"""The results of experiments, as they are kept in a file."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bench.results import Machine
from faults.ledger import Ledger


class Figure(msgspec.Struct, frozen=True):
    """A figure of an experiment's own, and what it may be at most."""

    name: str
    value: float
    unit: str = ""
    at_most: float | None = None


class Result(msgspec.Struct, frozen=True):
    """The result of one experiment."""

    name: str
    what: str
    promises: str
    size: float
    seed: int
    seconds: float
    ledger: Ledger | None
    figures: list[Figure]
    problems: list[str]
    """Empty: it passed."""
    machine: Machine


def read(file: Path) -> dict[str, Result]:
    """The results in the file, by name; none when there is no file."""
    if not file.exists():
        return {}
    return {each.name: each for each in msgspec.json.decode(file.read_bytes(), type=list[Result])}


def add(file: Path, result: Result) -> None:
    """Put the result into the file, in place of an earlier one of the same experiment."""
    found = read(file) | {result.name: result}
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_bytes(msgspec.json.format(msgspec.json.encode([*found.values()]), indent=1) + b"\n")
    new.replace(file)
