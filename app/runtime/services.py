"""Long-running parts of the process: one protocol to start and stop them, and the two shapes they have."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import AsyncExitStack
from typing import Any, Protocol

from app.runtime.tasks import end

log = logging.getLogger("hub.services")


class Service(Protocol):
    """A part that runs from `start` until `stop`. The process starts its services in one order and stops
    them in the reverse.
    """

    async def start(self) -> None:
        """Return when the service works. An exception means that the process can't start."""

    async def stop(self) -> None:
        """Return when nothing of it runs any more. A service that was never started stops at once."""


class Background:
    """A service of one task."""

    def __init__(self, run: Callable[[], Coroutine[Any, Any, None]], *, name: str) -> None:
        """`run` is called at each start and cancelled by `stop`; what it raises is logged."""
        self._run = run
        self._name = name
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Create the task; `run` begins at the next turn of the event loop."""
        if self._task is not None:
            raise RuntimeError(f"{self._name} is already started")
        self._task = asyncio.create_task(self._logged(), name=self._name)

    async def stop(self, within: float = 0.0) -> None:
        """Give the task `within` seconds to end by itself, cancel it if it doesn't, and wait for its end."""
        if self._task is not None and within > 0:
            await asyncio.wait({self._task}, timeout=within)
        task, self._task = self._task, None
        await end(task)

    @property
    def running(self) -> bool:
        """Whether the task was started and hasn't ended."""
        return self._task is not None and not self._task.done()

    async def _logged(self) -> None:
        try:
            await self._run()
        except Exception:
            log.exception("service_failed", extra={"service": self._name})
            raise


async def _nothing() -> None:
    pass


class Part:
    """A service of two functions: for what only has to be opened, or closed, or is stopped by others."""

    def __init__(
        self,
        start: Callable[[], Awaitable[object]] = _nothing,
        stop: Callable[[], Awaitable[object]] = _nothing,
    ) -> None:
        self._start = start
        self._stop = stop

    async def start(self) -> None:
        """As `Service.start`."""
        await self._start()

    async def stop(self) -> None:
        """As `Service.stop`."""
        await self._stop()


async def started(services: Iterable[Service], stack: AsyncExitStack) -> None:
    """Start the services in their order; `stack` stops them in the reverse.

    A service whose start fails is stopped too: what it had begun ends with it.
    """
    for service in services:
        stack.push_async_callback(service.stop)
        await service.start()


def every(
    interval: float | Callable[[], float],
    work: Callable[[], Awaitable[object]],
    *,
    name: str,
    at_start: bool = True,
) -> Service:
    """Make a service that does `work`, pauses for `interval`, and so on until it is stopped.

    Work that raises is logged as `periodic_work_failed` and done again after the interval. Two runs never
    overlap. `stop` cancels a run that is under way, and so takes no longer than the run's own clean-up.

    Args:
        interval: The seconds between the end of a run and the next one, or a function that computes them
            after each run.
        work: One run.
        name: What the log and the task are called.
        at_start: Whether the first run begins at once, or after the interval.
    """

    def pause() -> float:
        return interval() if callable(interval) else interval

    async def run() -> None:
        if not at_start:
            await asyncio.sleep(pause())
        while True:
            try:
                await work()
            except Exception:
                log.exception("periodic_work_failed", extra={"work": name})
            await asyncio.sleep(pause())

    return Background(run, name=name)
