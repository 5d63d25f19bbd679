"""`run.py dlq`: the arguments of the commands that list, show, replay and drop dead letters.

`app.cli.dead_letters`, which does the work, is imported when a command runs: its imports take a second, which
neither `--help` nor an error of usage should.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from app.cli.group import new_app
from app.sources import BROKERS

SOURCES = tuple(broker.name for broker in BROKERS)
DEFAULT_LIMIT_ROWS = 100
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _parse_source(text: str) -> str:
    if text not in SOURCES:
        raise typer.BadParameter(f"{text!r} is not a source. Accepted: {', '.join(SOURCES)}.")
    return text


def _parse_time(text: str) -> datetime:
    """Read a timestamp, or an age such as 2h. A timestamp without an offset is UTC."""
    if age := re.fullmatch(r"(\d{1,6})([smhd])", text, re.ASCII):
        return datetime.now(UTC) - timedelta(**{_UNITS[age[2]]: int(age[1])})
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is neither an age such as 30m, 2h or 7d nor a timestamp such as 2026-11-21T08:00:00Z."
        ) from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _parse_rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise typer.BadParameter(f"{text!r} is not a number above 0.")
    return rate


Id = Annotated[str, typer.Argument(metavar="ID", help="The id from `list`.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="The ids from `list`.")]
All = Annotated[
    bool, typer.Option("--all", help=("All dead letters that --source, --reason and --since select."))
]
Source = Annotated[
    str | None,
    typer.Option(parser=_parse_source, metavar="|".join(SOURCES), help="Only dead letters of this source."),
]
Reason = Annotated[
    str | None, typer.Option(metavar="REASON", help="Only with this `reason`, such as bad_field.")
]
Since = Annotated[
    datetime | None,
    typer.Option(parser=_parse_time, metavar="WHEN", help="30m, 2h, 7d or 2026-11-21T08:00:00Z."),
]
Limit = Annotated[int | None, typer.Option(min=1, metavar="N", help="At most N dead letters.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would happen, and change nothing.")]
Rate = Annotated[float | None, typer.Option(parser=_parse_rate, metavar="N", help="At most N per second.")]

app = new_app()


@app.callback()
def _dlq() -> None:
    """List, show, replay or drop dead letters.

    See docs/how-to/dead-letters.md.
    """


@app.command(name="list")
def list_(
    source: Source = None,
    reason: Reason = None,
    since: Since = None,
    limit: Limit = DEFAULT_LIMIT_ROWS,
    done: Annotated[
        bool, typer.Option("--all", help="Include those that were replayed or dropped (Kafka).")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
) -> int:
    """List dead letters, the oldest of each topic, queue or stream first."""
    from app.cli import dead_letters

    chosen = dead_letters.DeadLetterFilter((), source, reason, since, limit)
    return asyncio.run(dead_letters.show_list(chosen, done, as_json))


@app.command()
def show(
    dead_letter_id: Id,
    raw: Annotated[bool, typer.Option("--raw", help="Print only the message, unchanged.")] = False,
) -> int:
    """Show everything that is known of one dead letter."""
    from app.cli import dead_letters

    return asyncio.run(dead_letters.show(dead_letters.DeadLetterFilter((dead_letter_id,)), raw))


@app.command()
def replay(
    ids: Ids = None,
    everything: All = False,
    source: Source = None,
    reason: Reason = None,
    since: Since = None,
    limit: Limit = None,
    dry_run: DryRun = False,
    rate: Rate = None,
) -> int:
    """Send the messages to where they came from again, then remove the dead letters."""
    from app.cli import dead_letters

    _check_choice(ids, everything)
    chosen = dead_letters.DeadLetterFilter(frozenset(ids or ()), source, reason, since, limit)
    return asyncio.run(dead_letters.replay(chosen, dry_run, rate))


@app.command()
def drop(
    ids: Ids = None,
    everything: All = False,
    source: Source = None,
    reason: Reason = None,
    since: Since = None,
    limit: Limit = None,
    dry_run: DryRun = False,
) -> int:
    """Remove dead letters permanently."""
    from app.cli import dead_letters

    _check_choice(ids, everything)
    chosen = dead_letters.DeadLetterFilter(frozenset(ids or ()), source, reason, since, limit)
    return asyncio.run(dead_letters.drop(chosen, dry_run))


def _check_choice(ids: Sequence[str] | None, everything: bool) -> None:
    if everything == bool(ids):
        raise typer.BadParameter("give either the ids or --all.", param_hint="ID")
