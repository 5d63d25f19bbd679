"""The outbox as a separate process: `run.py outbox` delivers, and serves and consumes nothing."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from functools import partial

import uvloop

from app.outbox.worker import Outbox
from app.runtime import log
from app.runtime.services import Part, Service, started
from app.server.bootstrap import build_outboxes, build_store
from app.server.start_notices import report
from app.settings import Settings
from app.store.engine import check_schema
from app.store.migrations import head

_log = logging.getLogger("hub.outbox")


def run(settings: Settings) -> int:
    """Deliver until SIGTERM or Ctrl-C; returns the exit status.

    Any number of these may run, beside nodes that deliver as well: each delivery is claimed by one of them.
    """
    log.configure(settings.server.log_level)
    report(settings)
    uvloop.run(work(settings))
    return 0


async def work(settings: Settings) -> None:
    """The same, on the running event loop."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    services, workers, channels = _parts(settings)
    async with AsyncExitStack() as running:
        await started(services, running)
        _log.info("ready", extra={"channels": sorted(channels)})
        await stopping.wait()
        _log.info("stopping")
        begun = time.monotonic()
        await asyncio.gather(*(worker.stop(settings.server.shutdown_grace) for worker in workers))
        _log.info("stopped", extra={"seconds": round(time.monotonic() - begun, 3)})


def _parts(settings: Settings) -> tuple[Sequence[Service], Sequence[Outbox], Iterable[str]]:
    """What is to be started, in this order; the workers, which are stopped first; their channels' names."""
    store = build_store(settings)
    outboxes = build_outboxes(settings, store)
    services = (
        Part(stop=store.intake_engine.dispose),
        Part(partial(check_schema, store.engine, head()), store.engine.dispose),
        Part(stop=store.redis.aclose),
        *(Part(worker.start) for worker in outboxes.workers),
        *(() if outboxes.signal is None else (outboxes.signal,)),
        *outboxes.webhooks,
    )
    return services, outboxes.workers, outboxes.channels
