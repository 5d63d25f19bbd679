"""The reconnect storm: all clients come back at the same moment."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from bench.cases import WARM_UP_EACH, Stage, rows
from bench.progress import bar, say
from bench.results import Storm

_LOOK_EVERY = 0.05  # seconds
_POOL = 10  # DATABASE_POOL_SIZE, its default


def storm(stage: Stage, missed: int) -> Storm:
    """Disconnect all clients, store what they miss, and reconnect all of them at the same moment."""
    stage.clients.close()
    before = rows(stage)
    load = stage.load(stage.users * WARM_UP_EACH, stage.users * missed)
    stage.publisher.burst(load)
    with bar("stored meanwhile", load.notifications, "notifications") as progress:
        while (stored := rows(stage) - before) < load.notifications:
            progress(stored)
            time.sleep(0.2)
    stage.clients.expect(load)
    server = stage.server
    meter = stage.meter()
    say(f"{stage.users:,} clients come back …")
    with _watched_postgres(stage.site.database_url) as most:
        returned = stage.clients.storm(
            server.port, server.target.socket, stage.site.secret, stage.users, stage.first_user, WARM_UP_EACH
        )
    usage = meter.read()
    received = stage.clients.result(load)
    seconds = sorted(returned.seconds)
    unexpected = [f"{count} × {why}" for why, count in returned.refusals.items() if not why.startswith("503")]
    return Storm(
        clients=stage.users,
        missed=missed,
        seconds=[seconds[len(seconds) // 2], seconds[int(len(seconds) * 0.99)], seconds[-1]],
        refusals=returned.refusals,
        postgres_connections=max(most),
        postgres_pool=_POOL,
        usage=usage,
        problems=[problem for problem in received.problems if "connections lost" not in problem] + unexpected,
    )


@contextmanager
def _watched_postgres(url: str) -> Iterator[list[int]]:
    """The numbers of the hub's connections to Postgres while this is open."""
    seen = [0]
    done = threading.Event()

    async def watch() -> None:
        connection = await asyncpg.connect(url)
        try:
            while not done.is_set():
                asked = "select count(*) from pg_stat_activity where application_name = 'notification-hub'"
                seen.append(int(await connection.fetchval(asked)))
                await asyncio.sleep(_LOOK_EVERY)
        finally:
            await connection.close()

    watching = threading.Thread(target=lambda: asyncio.run(watch()))
    watching.start()
    try:
        yield seen
    finally:
        done.set()
        watching.join()
