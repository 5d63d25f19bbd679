"""The sizes of a run, each an option."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from bench.clients import ROOT

# option: (default, with --quick, what it is)
_SIZES = {
    "users": (500, 50, "connected users at full speed and paced"),
    "events": (60_000, 2_000, "events a round at full speed, one receiver each"),
    "rounds": (3, 1, "rounds at full speed; the median counts"),
    "fan_out": (20, 20, "receivers an event in the second case"),
    "fan_events": (4_000, 200, "events a round in the second case"),
    "transport_events": (20_000, 1_000, "events a round over each transport"),
    "single_events": (6_000, 300, "events a round over HTTP, one a request"),
    "naive_events": (6_000, 300, "events a round for the baseline"),
    "rate": (1_000, 200, "events a second, paced"),
    "seconds": (20, 3, "how long, paced"),
    "warm_seconds": (10, 1, "how long before that, at the same rate, shown apart"),
    "connections": (4_000, 200, "idle connections"),
    "storm": (5_000, 300, "clients that come back at once"),
    "missed": (2, 2, "notifications that each of those resumes"),
    "readers": (1_000, 100, "connected users, of whom 1 in 100 stops reading"),
    "bus_rounds": (200, 20, "batches over the bus"),
    "people": (1_000_000, 2_000, "people in the audience of a broadcast"),
    "mails": (1_000, 50, "mails over kept connections; a fifth of that over one connection each"),
    "partitions": (4, 4, "partitions of the Kafka topics"),
}
CASES = ("full", "paced", "idle", "bus", "storm", "stopped", "mail", "transports", "broadcast")


@dataclass(frozen=True)
class Options:
    """What to run, and how much of it."""

    users: int
    events: int
    rounds: int
    fan_out: int
    fan_events: int
    transport_events: int
    single_events: int
    naive_events: int
    rate: int
    seconds: int
    warm_seconds: int
    connections: int
    storm: int
    missed: int
    readers: int
    bus_rounds: int
    people: int
    mails: int
    partitions: int
    cases: tuple[str, ...]
    out: Path | None
    profile: bool
    hub_environment: dict[str, str]

    def within(self, broker_bytes: int, event_bytes: int) -> Options:
        """The same with rounds that a broker keeping `broker_bytes` a Kafka topic doesn't forget."""
        most = broker_bytes // event_bytes
        return replace(
            self,
            events=min(self.events, most // self.rounds),
            transport_events=min(self.transport_events, most // self.rounds),
            naive_events=min(self.naive_events, most // self.rounds),
        )


def parse(arguments: list[str] | None = None) -> Options:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="The hub against a naive baseline.")
    parser.add_argument("--quick", action="store_true", help="small sizes: a smoke test, figures mean little")
    for name, (default, quick, words) in _SIZES.items():
        help_ = f"{words} (default {default}, quick {quick})"
        parser.add_argument(_flag(name), type=int, metavar="N", help=help_)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES, help="only some of the cases")
    parser.add_argument("--out", type=Path, help="folder of the report (docs/benchmarks; with --quick none)")
    parser.add_argument("--profile", action="store_true", help="only show where the hub's CPU time goes")
    parser.add_argument("--hub-env", nargs="*", default=[], metavar="NAME=VALUE", help="settings of the hub")
    return _options(vars(parser.parse_args(arguments)))


def _options(parsed: dict[str, Any]) -> Options:
    quick = parsed["quick"]
    for name, (default, small, _) in _SIZES.items():
        if parsed[name] is None:
            parsed[name] = small if quick else default
    if parsed["out"] is None and not quick:
        parsed["out"] = ROOT / "docs" / "benchmarks"
    parsed["hub_environment"] = dict(pair.split("=", 1) for pair in parsed["hub_env"])
    parsed["cases"] = tuple(parsed["cases"])
    return Options(**{each.name: parsed[each.name] for each in fields(Options)})


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
