"""Two revisions of the hub, measured alternately, on the same services: `python -m bench.compare REVISION`.

Each round measures the hub of REVISION ("before") and of this checkout ("after"), every second round in
the opposite order, so that other load on the machine affects both. The figures are medians of the rounds and
their ratio. Both run in this checkout's Python environment, each on a database with its own tables.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import asyncpg
from sqlalchemy.engine import make_url

from bench import cases, mail_hub
from bench.clients import ROOT, Clients, run_clients
from bench.options import CASES
from bench.progress import say
from bench.results import FullSpeed, Paced
from bench.site import HUB, Site, Target, open_site

COMPARED = [case for case in CASES if case in ("full", "paced", "mail")]
DEFAULT_CASES = ["full", "paced"]
PARTITION_COUNT = 4

Figures = dict[str, float]
"""What one round measured, by the name of the figure."""


def main() -> int:
    """Measure alternately and print the table; 1 when something was lost or doubled."""
    options = _parser().parse_args()
    rounds: dict[str, list[Figures]] = {"before": [], "after": []}
    problems: list[str] = []
    with (
        _checkout(options.revision) as folder,
        tempfile.TemporaryDirectory(prefix="hub-bench-") as home,
        open_site(Path(home)) as site,
        run_clients() as clients,
    ):
        targets = [_target(site, "before", folder), _target(site, "after", ROOT)]
        for number in range(options.rounds):
            for target in targets if number % 2 == 0 else reversed(targets):
                figures, found = _measure(site, target, clients, options)
                rounds[target.name].append(figures)
                problems += [f"{target.name}: {problem}" for problem in found]
                measured = ", ".join(f"{name} {figure:,.2f}" for name, figure in figures.items())
                say(f"round {number + 1}, {target.name}: {measured}")
    print(_table(rounds["before"], rounds["after"]))
    print("\n".join(problems) or "nothing lost, nothing doubled")
    return int(bool(problems))


def _measure(
    site: Site, target: Target, clients: Clients, options: argparse.Namespace
) -> tuple[Figures, list[str]]:
    figures: Figures = {}
    problems: list[str] = []
    if "full" in options.cases:
        with cases.stage(site, target, clients, options.users, PARTITION_COUNT) as stage:
            speed = cases.full_speed(stage, options.events, 1)
        figures |= _of_full_speed(speed)
        problems += speed.problems
    if "paced" in options.cases:
        with cases.stage(site, target, clients, options.users, PARTITION_COUNT) as stage:
            paced = cases.paced(stage, options.rate, options.seconds / 2, options.seconds)
        figures |= _of_paced(paced)
        problems += paced.problems
    if "mail" in options.cases:
        mailed = mail_hub.measure(site, target, options.mails, options.code_rate, options.seconds)
        figures |= _of_mail(mailed)
        problems += mailed.problems
    return figures, problems


def _of_full_speed(speed: FullSpeed) -> Figures:
    return {
        "full speed, notifications/s": speed.rate,
        "full speed, hub CPU µs": speed.cpu("server"),
        "full speed, Postgres CPU µs": speed.cpu("postgres"),
    }


def _of_paced(paced: Paced) -> Figures:
    return {
        "paced, p50 ms": paced.milliseconds["p50"],
        "paced, p99 ms": paced.milliseconds["p99"],
        "paced, hub CPU µs": paced.cpu("server"),
        "paced, Postgres CPU µs": paced.cpu("postgres"),
    }


def _of_mail(mailed: mail_hub.MailedByHub) -> Figures:
    return {
        "mails/s": mailed.per_second,
        "a mail, hub CPU ms": mailed.cpu["hub"],
        "a mail, Postgres CPU ms": mailed.cpu["postgres"],
        "one-time code, p50 ms": mailed.percentile(0.5),
        "one-time code, p99 ms": mailed.percentile(0.99),
    }


def _table(before: list[Figures], after: list[Figures]) -> str:
    lines = ["| | before | after | after / before |", "|---|---|---|---|"]
    for name in before[0]:
        old, new = (median(figures[name] for figures in each) for each in (before, after))
        lines.append(f"| {name} | {old:,.2f} | {new:,.2f} | {new / old:.3f} |")
    return "\n".join(lines)


def _target(site: Site, name: str, folder: Path) -> Target:
    environment = {"PYTHONPATH": str(folder), "DATABASE_URL": asyncio.run(_make_database(site, name))}
    subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=folder,
        env={**os.environ, **environment},
        check=True,
    )
    return Target(
        name=name,
        arguments=(str(folder / "run.py"),),
        ready=HUB.ready,
        socket=HUB.socket,
        table=HUB.table,
        environment=environment,
    )


async def _make_database(site: Site, name: str) -> str:
    """A new, empty database; its URL."""
    url = make_url(site.database_url)
    connection = await asyncpg.connect(site.database_url)
    try:
        await connection.execute(f"create database {name}")
    finally:
        await connection.close()
    return url.set(database=name).render_as_string(hide_password=False)


@contextmanager
def _checkout(revision: str) -> Iterator[Path]:
    """A work tree of the revision, removed at the end."""
    with tempfile.TemporaryDirectory(prefix="hub-before-") as parent:
        folder = Path(parent) / "tree"
        subprocess.run(
            ["git", "worktree", "add", "--detach", "--quiet", folder, revision], cwd=ROOT, check=True
        )
        try:
            yield folder
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", folder], cwd=ROOT, check=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("revision", help="a commit, branch or tag: the hub to compare with")
    parser.add_argument("--rounds", type=int, default=5, help="of each; the median counts (5)")
    parser.add_argument("--users", type=int, default=500, help="connected users (500)")
    parser.add_argument("--events", type=int, default=40_000, help="events a round at full speed (40,000)")
    parser.add_argument("--rate", type=float, default=1000.0, help="events a second, paced (1,000)")
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="paced, after half as long to warm up; codes (10)"
    )
    parser.add_argument("--mails", type=int, default=3000, help="mails of a backlog (3,000)")
    parser.add_argument("--code-rate", type=float, default=25.0, help="one-time codes a second (25)")
    parser.add_argument(
        "--cases", nargs="+", choices=COMPARED, default=DEFAULT_CASES, help="full and paced, unless named"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
