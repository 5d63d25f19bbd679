"""Ending background tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

CANCEL_AGAIN_SECONDS = 1.0  # seconds; long enough for what a task does at its end


async def end(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel the tasks and wait until they have ended, however they do.

    They are cancelled again and again: `asyncio.wait_for`, before Python 3.12, and libraries that use it can
    swallow a cancellation that comes in the same moment as what they wait for.
    """
    pending = {task for task in tasks if task is not None}
    interrupted: asyncio.CancelledError | None = None
    while pending:
        for task in pending:
            task.cancel()
        try:
            done, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_SECONDS)
        except asyncio.CancelledError as error:  # whoever waits is ended too: not before these have
            interrupted = error
            continue
        for task in done:
            looked_at(task)
    if interrupted is not None:
        raise interrupted


async def first(*coroutines: Coroutine[Any, Any, object]) -> None:
    """Run all until one ends; raises what it raised."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    for task in tasks:
        task.add_done_callback(looked_at)
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await end(*tasks)


def is_to_end() -> bool:
    """Whether somebody cancelled this task. Else a `CancelledError` means that another task was."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def looked_at(task: asyncio.Task[Any]) -> None:
    """Retrieve the task's exception, so that asyncio does not report it as never retrieved."""
    if not task.cancelled():
        task.exception()
