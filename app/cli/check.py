"""`run.py check`: events before they are published, and what the hub keeps twice."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from app.cli.check_events import events
from app.cli.group import new_app

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

INBOXES_PER_QUERY_COUNT = 500

EVENTS = "events"


class _CheckGroup(TyperGroup):
    """`check event.json` is `check events event.json`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = [EVENTS, *args]
        return super().parse_args(ctx, args)


app = new_app(cls=_CheckGroup)


@app.callback()
def _check() -> None:
    """Check events before they are published (run.py check event.json), or the counters of inboxes."""


app.command(EVENTS)(events)


@app.command()
def counters(
    repair: Annotated[bool, typer.Option("--repair", help="Repair wrong counters.")] = False,
) -> int:
    """Compare the counters of each inbox with its notifications.

    The exit status is 1 if some were wrong and are not repaired.
    """
    from app.cli import operator_settings
    from app.store.engine import make_engine

    async def run() -> int:
        engine = make_engine(operator_settings.load().postgres)
        try:
            return await compare_counters(engine, repair=repair)
        finally:
            await engine.dispose()

    return asyncio.run(run())


async def compare_counters(engine: AsyncEngine, *, repair: bool) -> int:
    """Print each inbox whose counters are wrong, and how many there are; the exit status."""
    from app.store.counters import CounterStore

    store = CounterStore(engine)
    inboxes = wrong = 0
    last = None
    while found := await store.compare(last, INBOXES_PER_QUERY_COUNT):
        for inbox in found:
            if inbox.right:
                continue
            wrong += 1
            print(
                f"inbox {inbox.user_id}: unread {inbox.unread}, its rows {inbox.unread_rows}; "
                f"unseen {inbox.unseen}, its rows {inbox.unseen_rows}; "
                f"last_seq {inbox.last_seq}, its newest row {inbox.newest_row}"
            )
            if repair:
                await store.repair(inbox.user_id)
        inboxes += len(found)
        last = found[-1].user_id
        if sys.stderr.isatty():
            print(f"{inboxes} inboxes", end="\r", file=sys.stderr)
    print(f"{inboxes} inboxes, {wrong} {'repaired' if repair else 'wrong'}")
    return 1 if wrong and not repair else 0
