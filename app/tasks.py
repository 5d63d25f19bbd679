"""Ending background tasks."""

from __future__ import annotations

import asyncio
from typing import Any

AGAIN = 0.2  # seconds


async def end(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel the tasks and wait until they have ended, however they do.

    They are cancelled again and again: `asyncio.wait_for`, before Python 3.12, and libraries that use it can
    swallow a cancellation that comes in the same moment as what they wait for.
    """
    pending = {task for task in tasks if task is not None}
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=AGAIN)
        for task in done:
            if not task.cancelled():
                task.exception()  # looked at, so that nobody is told that nobody did
