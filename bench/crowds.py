"""Two cases of many clients that behave badly: all come back at once; some stop reading."""

from __future__ import annotations

import asyncio
import re
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import asyncpg

from app.dev import tokens
from bench.cases import WARM_UP_EACH, Stage, pace, percentiles, rows
from bench.clients import Clients
from bench.progress import bar, say
from bench.results import Stopped, Storm

_LOOK_EVERY = 0.05
_METRICS = "/api/v2/notification-service/metrics"
_TINY = 4096  # bytes that the kernel of a stopped client takes
_SHARE = 100  # one in so many stops
_GONE_WITHIN = 30.0
_POOL = 10  # DATABASE_POOL_SIZE, its default


def storm(stage: Stage, missed: int) -> Storm:
    """Everybody goes away, misses some, and comes back at the same moment."""
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


def stopped(stage: Stage, stoppers: Clients, rate: float, seconds: float) -> Stopped:
    """The same paced load four times: the second and the fourth time with clients that stop reading.

    Those are further connections of some of the users, in a process that is stopped once they are open.
    """
    count = max(1, stage.users // _SHARE)
    serial = stage.users * WARM_UP_EACH
    events = int(rate * seconds)
    p99: dict[bool, list[float]] = {False: [], True: []}
    closed_after: list[float] = []
    memory: list[float] = []
    problems: list[str] = []
    pace(stage, stage.load(serial, events), rate, "warming up")
    for with_stopped in (False, True, False, True):
        serial += events
        before = stage.server.process.memory_info().rss
        gone = _stop_some(stage, stoppers, count) if with_stopped else None
        with _watched_memory(stage) as sizes:
            what = f"{count} stopped" if with_stopped else "all read"
            run = pace(stage, stage.load(serial, events), rate, what)
        p99[with_stopped].append(percentiles(run.received)["p99"])
        problems += run.received.problems
        if gone is not None:
            memory.append(max(sizes) / before)
            closed_after.append(gone())
            stoppers.process.resume()
            stoppers.close()
    return Stopped(
        connections=stage.users,
        stopped=count,
        rate=rate,
        p99_without=p99[False],
        p99_with=p99[True],
        closed_after=closed_after,
        memory=max(memory),
        problems=problems,
    )


def _stop_some(stage: Stage, stoppers: Clients, count: int) -> Callable[[], float]:
    """Open connections that stop reading; the function waits, and gives the seconds until all were closed."""
    server = stage.server
    stoppers.connect(
        server.port, server.target.socket, stage.site.secret, count, stage.first_user, receive_buffer=_TINY
    )
    stoppers.process.suspend()
    began = time.monotonic()
    seconds: list[float] = []

    def watch() -> None:
        while time.monotonic() - began < _GONE_WITHIN:
            if _connections(server.port, stage.site.secret) <= stage.users:
                seconds.append(time.monotonic() - began)
                return
            time.sleep(_LOOK_EVERY * 5)

    watching = threading.Thread(target=watch)
    watching.start()

    def gone() -> float:
        watching.join()
        return seconds[0] if seconds else float("inf")

    return gone


def _connections(port: int, secret: str) -> int:
    headers = {"Authorization": f"Bearer {tokens.sign('bench', secret, scope='metrics:read')}"}
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{_METRICS}", headers=headers)
    with urllib.request.urlopen(asked, timeout=5) as response:
        found = re.search(r"^hub_connections (\S+)$", response.read().decode(), re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


@contextmanager
def _watched_memory(stage: Stage) -> Iterator[list[int]]:
    """The server's RSS while this is open."""
    sizes = [stage.server.process.memory_info().rss]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_LOOK_EVERY * 5):
            sizes.append(stage.server.process.memory_info().rss)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield sizes
    finally:
        done.set()
        watching.join()
