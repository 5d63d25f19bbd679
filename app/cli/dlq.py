"""The arguments of `run.py dlq`. What they ask for is loaded when it is asked for."""

from __future__ import annotations

import argparse
import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from app.sources import BROKERS

SOURCES = tuple(broker.name for broker in BROKERS)
DEFAULT_LIMIT_ROWS = 100
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def add(commands: Any) -> None:
    """Add the command to those of run.py."""
    dlq = commands.add_parser(
        "dlq", help="dead letters: list, show, replay or drop them (docs/dead-letters.md)"
    )
    calls = dlq.add_subparsers(title="commands", metavar="", required=True)
    listed = calls.add_parser("list", help="which there are, the oldest of each place first")
    _add_filters(listed, DEFAULT_LIMIT_ROWS)
    listed.add_argument("--all", action="store_true", help="also those that were replayed or dropped (Kafka)")
    listed.add_argument("--json", action="store_true", help="a JSON object for each, one a line")
    listed.set_defaults(command=_list, ids=[])
    show = calls.add_parser("show", help="everything that is known of one")
    show.add_argument("ids", nargs=1, metavar="id", help="as `list` shows it")
    show.add_argument("--raw", action="store_true", help="the message alone, byte by byte")
    show.set_defaults(command=_show, source=None, reason=None, since=None, limit=None)
    replay = calls.add_parser("replay", help="put the messages back where they came from")
    _add_choice(replay)
    replay.add_argument("--rate", type=_rate, metavar="N", help="at most N a second")
    replay.set_defaults(command=_replay)
    drop = calls.add_parser("drop", help="take letters away for ever")
    _add_choice(drop)
    drop.set_defaults(command=_drop)


def _add_choice(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("ids", nargs="*", default=[], metavar="id", help="as `list` shows it")
    which.add_argument("--all", action="store_true", help="all that --source, --reason and --since leave")
    _add_filters(parser, None)
    parser.add_argument("--dry-run", action="store_true", help="say what would happen, and do nothing")


def _add_filters(parser: argparse.ArgumentParser, limit: int | None) -> None:
    parser.add_argument("--source", choices=SOURCES)
    parser.add_argument("--reason", help="such as bad_field: the word in the column `reason`")
    parser.add_argument(
        "--since", type=_moment, metavar="WHEN", help="such as 30m, 2h, 7d or 2026-11-21T08:00:00Z"
    )
    parser.add_argument(
        "--limit", type=_count, default=limit, metavar="N", help=f"N at most ({limit or 'no limit'})"
    )


def _list(arguments: argparse.Namespace) -> int:
    from app.cli import dead_letters as command

    return asyncio.run(command.show_list(_choice(arguments), arguments.all, arguments.json))


def _show(arguments: argparse.Namespace) -> int:
    from app.cli import dead_letters as command

    return asyncio.run(command.show(_choice(arguments), arguments.raw))


def _replay(arguments: argparse.Namespace) -> int:
    from app.cli import dead_letters as command

    return asyncio.run(command.replay(_choice(arguments), arguments.dry_run, arguments.rate))


def _drop(arguments: argparse.Namespace) -> int:
    from app.cli import dead_letters as command

    return asyncio.run(command.drop(_choice(arguments), arguments.dry_run))


def _choice(arguments: argparse.Namespace) -> Any:
    from app.cli.dead_letters import DeadLetterFilter

    return DeadLetterFilter(
        ids=frozenset(arguments.ids),
        source=arguments.source,
        reason=arguments.reason,
        since=arguments.since,
        limit=arguments.limit,
    )


def _moment(text: str) -> datetime:
    """A moment, or how long ago it was."""
    if ago := re.fullmatch(r"(\d{1,6})([smhd])", text):
        return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no moment; write 30m, 2h, 7d or 2026-11-21T08:00:00Z"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 up")
    return int(text)


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return rate
