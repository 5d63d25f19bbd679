"""`run.py broadcasts`: list, show, pause, resume and cancel events for an audience."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from app.cli.group import new_app

if TYPE_CHECKING:
    from app.domain.audiences import Broadcast
    from app.store.broadcasts import BroadcastStore

DEFAULT_LIMIT_ROWS = 100
T = TypeVar("T")
BroadcastId = Annotated[str, typer.Argument(metavar="ID", help="The id from `list`: that of the event.")]

app = new_app()


@app.callback()
def _broadcasts() -> None:
    """List, show, pause, resume or cancel broadcasts.

    See docs/how-to/broadcasts.md.
    """


@app.command(name="list")
def list_(
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most N.")] = DEFAULT_LIMIT_ROWS,
) -> int:
    """List broadcasts, the newest first, one JSON object per line."""
    for each in _run(lambda store: store.newest(limit)):
        _print(each)
    return 0


@app.command()
def show(broadcast: BroadcastId) -> int:
    """Show one broadcast: how many it has passed and notified."""
    return _shown(broadcast, _run(lambda store: store.get(broadcast)))


@app.command()
def pause(broadcast: BroadcastId) -> int:
    """Stop it after the page that is being written; `resume` continues it."""
    return _moved(broadcast, lambda store: store.pause(broadcast))


@app.command()
def resume(broadcast: BroadcastId) -> int:
    """Go on with a paused one."""
    return _moved(broadcast, lambda store: store.resume(broadcast))


@app.command()
def cancel(broadcast: BroadcastId) -> int:
    """End it for good. Who was notified stays so."""
    return _moved(broadcast, lambda store: store.cancel(broadcast))


def _moved(broadcast: str, move: Callable[[BroadcastStore], Awaitable[bool]]) -> int:
    async def run(store: BroadcastStore) -> tuple[bool, Broadcast | None]:
        moved = await move(store)
        return moved, await store.get(broadcast)

    moved, found = _run(run)
    status = _shown(broadcast, found)
    if found is not None and not moved:
        print(f"Nothing was changed: it is {found.state.value}.", file=sys.stderr)
        return 1
    return status


def _shown(broadcast: str, found: Broadcast | None) -> int:
    if found is None:
        print(f"No broadcast {broadcast}. See `run.py broadcasts list`.", file=sys.stderr)
        return 1
    _print(found)
    return 0


def _print(broadcast: Broadcast) -> None:
    import msgspec

    print(msgspec.json.encode(broadcast).decode())


def _run(call: Callable[[BroadcastStore], Awaitable[T]]) -> T:
    from app.cli import operator_settings
    from app.store.broadcasts import BroadcastStore
    from app.store.engine import make_engine

    async def run() -> T:
        engine = make_engine(operator_settings.load().postgres)
        try:
            return await call(BroadcastStore(engine))
        finally:
            await engine.dispose()

    return asyncio.run(run())
