"""`run.py parked`: list, show, replay and drop parked events, which wait for the user service."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from app.cli.group import new_app

if TYPE_CHECKING:
    from app.store.parked_operations import ParkedOperations

DEFAULT_LIMIT_ROWS = 100
T = TypeVar("T")

Ids = Annotated[list[int] | None, typer.Argument(metavar="[ID]...", help="The ids from `list`.")]
All = Annotated[bool, typer.Option("--all", help="All parked events.")]

app = new_app()


@app.callback()
def _parked() -> None:
    """List, show, replay or drop events that wait for the user service.

    See docs/how-to/parked-events.md.
    """


@app.command(name="list")
def list_(
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most N events.")] = DEFAULT_LIMIT_ROWS,
    done: Annotated[bool, typer.Option("--all", help="Include those that were dead-lettered.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
) -> int:
    """List parked events, the oldest first."""
    rows = _run(lambda store: store.rows(None, limit, done=done))
    for row in rows:
        described = _described(row)
        print(json.dumps(described) if as_json else "  ".join(str(value) for value in described.values()))
    if not rows and not as_json:
        print("No parked events.")
    return 0


@app.command()
def show(event: Annotated[int, typer.Argument(metavar="ID", help="The id from `list`.")]) -> int:
    """Show one event with its message."""
    rows = _run(lambda store: store.rows([event], 1, done=True))
    if not rows:
        return _missing(event)
    for name, value in _described(rows[0]).items():
        print(f"{name}: {value}")
    print(json.dumps(rows[0].body.decode(errors="replace"), ensure_ascii=False)[1:-1])
    return 0


@app.command()
def replay(ids: Ids = None, everything: All = False) -> int:
    """Try them again now, for another ten minutes."""
    from app.ingest.parking import RETRY_DEADLINE_SECONDS

    chosen = _chosen(ids, everything)
    print(f"{_run(lambda store: store.replay(chosen, RETRY_DEADLINE_SECONDS))} due now")
    return 0


@app.command()
def drop(ids: Ids = None, everything: All = False) -> int:
    """Drop them: a node dead-letters each, with the reason `dropped`."""
    chosen = _chosen(ids, everything)
    print(f"{_run(lambda store: store.drop(chosen))} will be dead-lettered")
    return 0


def _chosen(ids: Sequence[int] | None, everything: bool) -> Sequence[int] | None:
    if everything == bool(ids):
        raise typer.BadParameter("give either the ids or --all.", param_hint="ID")
    return ids or None


def _run(call: Callable[[ParkedOperations], Awaitable[T]]) -> T:
    from app.cli import operator_settings
    from app.store.engine import make_engine
    from app.store.parked_operations import ParkedOperations

    async def run() -> T:
        engine = make_engine(operator_settings.load().postgres)
        try:
            return await call(ParkedOperations(engine))
        finally:
            await engine.dispose()

    return asyncio.run(run())


def _described(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "parked_at": row.parked_at.isoformat(timespec="seconds"),
        "source": row.source,
        "event_type": row.event_type,
        "event_id": json.dumps(row.event_id, ensure_ascii=True)[1:-1],
        "group_id": None if row.group_id is None else str(row.group_id),
        "attempts": row.attempts,
        "state": "parked" if row.finished_at is None else "dead-lettered",
        "reason": None if row.reason is None else json.dumps(row.reason)[1:-1],
    }


def _missing(event: int) -> int:
    print(f"No parked event {event}. It may have been processed. See `run.py parked list`.", file=sys.stderr)
    return 1
