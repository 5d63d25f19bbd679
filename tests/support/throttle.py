"""A process that gets a share of one core only, whatever the machine and its privileges."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

PERIOD_SECONDS = 0.1


@asynccontextmanager
async def throttled(pid: int, share: float) -> AsyncIterator[None]:
    """In each tenth of a second the process runs for `share` of it, and is stopped for the rest. While the
    test is late, that stays so.
    """

    async def work() -> None:
        while True:
            os.kill(pid, signal.SIGCONT)
            await asyncio.sleep(PERIOD_SECONDS * share)
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(PERIOD_SECONDS * (1 - share))

    task = asyncio.create_task(work(), name="throttle")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        os.kill(pid, signal.SIGCONT)
