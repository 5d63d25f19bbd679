"""What size costs: `python -m bench.sizes` (docs/benchmarks/sizes.md).

Each case runs on a separate Postgres that COPY has filled, beside a writer of small events: how long these
wait while the case runs, against a calm period before it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid4

import asyncpg
import msgspec

from app.dev.postgres import run_postgres
from app.domain.erasure import Subject
from app.domain.planning import Planner
from app.domain.preferences import Evaluator
from app.ingest.batch import SourceMessage
from app.ingest.batcher import Batcher
from app.ingest.parked import ParkedPorts, ParkedWorker
from app.ingest.pipeline import Pipeline, PipelinePorts
from app.runtime.tasks import end
from app.store import migrations
from app.store.cleaner import MAX_NOTIFICATIONS_PER_TRANSACTION, NOTIFICATIONS_PAUSE_SECONDS
from app.store.cleaning import CleaningStore, Kind
from app.store.engine import Engines, make_engines
from app.store.erasure import ErasingStore
from app.store.inboxes import InboxStore
from app.store.notifications import NotificationStore
from app.store.parked import ParkedStore
from app.store.preferences import PreferenceStore
from app.store.writer import BatchWriter
from app.testing import MemoryBus, MemoryGroups
from bench.progress import say
from bench.size_data import AGE_DAYS, HEAVY, fill, small_inbox
from handlers.registry import HANDLERS
from tests.support.settings import settings_on

OTHERS_PER_SECOND = 100
CALM_SECONDS = 5.0
CALLS_COUNT = 50
"""Of each request to an inbox."""
BATCH_ROWS = 500
MAX_BATCHES = 100
READ_ALL_SECONDS = 1.0


@dataclass
class Stage:
    """A node without sockets, on a filled database."""

    url: str
    engines: Engines
    batcher: Batcher
    inboxes: NotificationStore
    rows: int
    group_size: int
    seconds: float
    waits: list[float] = field(default_factory=list)
    """Of the others' events, in seconds, since the last look."""


class Figure(NamedTuple):
    """One line of the answer."""

    case: str
    what: str
    value: float
    unit: str


Case = Callable[[Stage], Awaitable[Sequence[Figure]]]


async def throughput(stage: Stage) -> Sequence[Figure]:
    """Batches to users spread over all inboxes, as fast as they are written."""
    users = max(1, stage.rows // 20)
    cpu, begin, done = await _cpu(stage), time.perf_counter(), 0
    for batch in range(MAX_BATCHES):
        receivers = [small_inbox((batch * BATCH_ROWS + n) * 7919 % users) for n in range(BATCH_ROWS)]
        await asyncio.gather(*stage.batcher.submit(map(_small, receivers)))
        done += BATCH_ROWS
        if time.perf_counter() - begin > stage.seconds:
            break
    took, used = time.perf_counter() - begin, await _cpu(stage)
    return [
        Figure("throughput", "notifications", done / took, "/s"),
        Figure("throughput", "CPU of the hub", (used[0] - cpu[0]) / done * 1e6, "µs each"),
        Figure("throughput", "CPU of Postgres", (used[1] - cpu[1]) / done * 1e6, "µs each"),
    ]


async def heavy_inbox(stage: Stage) -> Sequence[Figure]:
    """Requests to the heavy inbox and to a small one: the same calls, alternately."""
    found = []
    users = {"heavy": HEAVY, "small": small_inbox(0)}
    for what, call in _CALLS.items():
        seconds: dict[str, list[float]] = {each: [] for each in users}
        begin = time.perf_counter()
        for _ in range(CALLS_COUNT):
            if time.perf_counter() - begin > stage.seconds:
                break
            for each, user in users.items():
                seconds[each].append(await _seconds(call(stage, user)))
        found += [
            Figure("heavy", f"{what}, {each}", _p(50, took) * 1000, "ms") for each, took in seconds.items()
        ]
    return found


async def _mark_newest_read(stage: Stage, user: UUID) -> None:
    [newest] = await stage.inboxes.page(user, 1)
    await stage.inboxes.mark_read(newest.id, user)


_CALLS: Mapping[str, Callable[[Stage, UUID], Awaitable[object]]] = {
    "counters": lambda stage, user: stage.inboxes.counters(user),
    "a page of 20": lambda stage, user: stage.inboxes.page(user, 20),
    "a page of 20 unread": lambda stage, user: stage.inboxes.page(user, 20, unread=True),
    "list and mark one read": _mark_newest_read,
    "state on connect": lambda stage, user: InboxStore(stage.engines.shared).states([(user, None)], 100),
}


async def read_all(stage: Stage) -> Sequence[Figure]:
    """Read-all of the heavy inbox. As it takes milliseconds, others are measured for a second from it on."""
    took = await _seconds(stage.inboxes.mark_all_read(HEAVY, None))
    await asyncio.sleep(READ_ALL_SECONDS)
    return [Figure("read-all", "the call", took * 1000, "ms")]


async def group_event(stage: Stage) -> Sequence[Figure]:
    """One event a second to a large group."""
    members = [str(uuid4()) for _ in range(stage.group_size)]
    begin, sent = time.perf_counter(), 0
    parked = ParkedStore(stage.engines.shared)
    while time.perf_counter() - begin < stage.seconds:
        stage.batcher.submit([_group_event(members)])
        sent += 1
        await asyncio.sleep(max(0.0, begin + sent - time.perf_counter()))
    while stage.batcher.backlog or (await parked.state()).events:  # noqa: ASYNC110 - Postgres tells no one
        await asyncio.sleep(0.05)
    took = time.perf_counter() - begin
    return [Figure("group", "notifications", sent * stage.group_size / took, "/s")]


async def erase(stage: Stage) -> Sequence[Figure]:
    """Erase the person with the heavy inbox."""
    took = await _seconds(ErasingStore(stage.engines.shared).erase(Subject(HEAVY)))
    return [Figure("erase", "the run", took, "s")]


async def retention(stage: Stage) -> Sequence[Figure]:
    """Remove the older half, as the cleaner does, for a while."""
    store, batches, removed = CleaningStore(stage.engines.shared), list[float](), 0
    begin = time.perf_counter()
    while time.perf_counter() - begin < stage.seconds:
        started = time.perf_counter()
        found = await store.remove(
            Kind.NOTIFICATIONS, timedelta(days=AGE_DAYS / 2), MAX_NOTIFICATIONS_PER_TRANSACTION
        )
        batches.append(time.perf_counter() - started)
        removed += found or 0
        if not found:
            break
        await asyncio.sleep(NOTIFICATIONS_PAUSE_SECONDS)
    return [
        Figure("retention", "removed", removed / (time.perf_counter() - begin), "/s"),
        Figure("retention", f"{MAX_NOTIFICATIONS_PER_TRANSACTION} rows, p99", _p(99, batches) * 1000, "ms"),
    ]


CASES: Mapping[str, Case] = {
    "throughput": throughput,
    "heavy": heavy_inbox,
    "group": group_event,
    "read-all": read_all,
    "retention": retention,
    "erase": erase,
}
"""In this order: what changes the heavy inbox comes last."""


async def measure(url: str, options: argparse.Namespace) -> list[Figure]:
    """Fill the database, and run the cases."""
    filling = await asyncpg.connect(url)
    begin = time.perf_counter()
    await fill(filling, options.rows, options.heavy)
    await filling.execute("vacuum analyze")
    await filling.execute("checkpoint")
    size = await filling.fetchval(
        "select sum(pg_total_relation_size(oid)) from pg_class where relname in ('notifications', 'inboxes')"
    )
    await filling.close()
    rows = options.rows + options.heavy
    figures = [
        Figure("fill", "notifications", rows / (time.perf_counter() - begin), "/s"),
        Figure("fill", "on disk", float(size) / rows, "bytes each"),
    ]
    return figures + await run_cases(url, options)


async def run_cases(url: str, options: argparse.Namespace) -> list[Figure]:
    """Run the cases on a database that is filled."""
    figures: list[Figure] = []
    async with _stage(url, options) as stage, _others(stage):
        for name in options.cases:
            stage.waits.clear()
            await asyncio.sleep(min(CALM_SECONDS, stage.seconds))
            calm = _p(99, stage.waits)
            stage.waits.clear()
            found = await CASES[name](stage)
            meanwhile = _p(99, stage.waits) if stage.waits else 0.0
            figures += [
                *found,
                Figure(name, "others' p99, calm", calm * 1000, "ms"),
                Figure(name, "others' p99 meanwhile", meanwhile * 1000, "ms"),
            ]
            for each in figures[-len(found) - 2 :]:
                say(line(each))
    return figures


def line(figure: Figure) -> str:
    """The figure as a line of text."""
    return f"{figure.case:12} {figure.what:32} {figure.value:>12,.1f} {figure.unit}"


@asynccontextmanager
async def _stage(url: str, options: argparse.Namespace) -> AsyncIterator[Stage]:
    engines = make_engines(settings_on("redis://redis", database_url=url, database_timeout=60.0).postgres)
    planner = Planner(PreferenceStore(engines.intake), Evaluator(()), "en")
    groups = MemoryGroups()
    ports = PipelinePorts(
        groups, planner, BatchWriter(engines.intake), NotificationStore(engines.intake), _Discarding()
    )
    pipeline = Pipeline(HANDLERS, ports, "en", msgspec.json.encode)
    batcher = Batcher(pipeline, BATCH_ROWS)
    worker = ParkedWorker(pipeline, ParkedPorts(ParkedStore(engines.shared), groups, lambda _: None))
    await worker.start()
    await batcher.start()
    try:
        inboxes = NotificationStore(engines.shared)
        yield Stage(url, engines, batcher, inboxes, options.rows, options.group, options.seconds)
    finally:
        await batcher.stop()
        await worker.stop()
        for engine in engines:
            await engine.dispose()


class _Discarding(MemoryBus):
    """Encodes what is pushed, and keeps nothing."""

    def publish(self, notifications: Sequence[object], *, redelivered: bool = False) -> None:
        for each in notifications:
            msgspec.json.encode(each)


@asynccontextmanager
async def _others(stage: Stage) -> AsyncIterator[None]:
    """Small events at a fixed rate; `stage.waits` gets how long each took."""

    async def one() -> None:
        stage.waits.append(await _seconds(stage.batcher.submit([_small(uuid4())])[0]))

    async def write() -> None:
        running, begin, sent = set[asyncio.Task[None]](), time.perf_counter(), 0
        while True:
            while sent < (time.perf_counter() - begin) * OTHERS_PER_SECOND:
                sent += 1
                task = asyncio.create_task(one())
                running.add(task)
                task.add_done_callback(running.discard)
            await asyncio.sleep(1 / OTHERS_PER_SECOND)

    writing = asyncio.create_task(write())
    try:
        yield
    finally:
        await end(writing)


def _small(receiver: UUID) -> SourceMessage:
    event_id = str(uuid4())
    body = {"event_id": event_id, "type": "inapp", "user_id": receiver, "title": "A title", "message": "M"}
    return SourceMessage("kafka", event_id, msgspec.json.encode(body), None)


def _group_event(members: Sequence[str]) -> SourceMessage:
    event_id = str(uuid4())
    body = {
        "event_id": event_id,
        "event_type": "food_expired",
        "group_id": uuid4(),
        "receivers": members,
        "data": {"unit_name": "rice", "storage_name": "fridge", "group_name": "Family Group"},
    }
    return SourceMessage("kafka", event_id, msgspec.json.encode(body), None)


async def _cpu(stage: Stage) -> tuple[float, float]:
    """CPU seconds of this process and of Postgres's connections, so far (the latter on Linux only)."""
    connection = await asyncpg.connect(stage.url)
    found = await connection.fetch("select pid from pg_stat_activity where backend_type = 'client backend'")
    await connection.close()
    seconds = 0.0
    for row in found:
        with suppress(OSError), open(f"/proc/{row[0]}/schedstat") as stat:  # noqa: ASYNC230 - it is no disk
            seconds += int(stat.read().split()[0]) / 1e9
    return time.process_time(), seconds


async def _seconds(work: Awaitable[object]) -> float:
    begin = time.perf_counter()
    await work
    return time.perf_counter() - begin


def _p(percent: int, seconds: Sequence[float]) -> float:
    if len(seconds) < 2:
        return max(seconds, default=0.0)
    return statistics.quantiles(seconds, n=100, method="inclusive")[percent - 1]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.sizes", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="notifications in inboxes of 20")
    parser.add_argument("--heavy", type=int, default=500_000, help="notifications in the heavy inbox")
    parser.add_argument("--group", type=int, default=9_999, help="receivers of a group event")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each case without an end")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--database", help="the URL of an empty, migrated database")
    return parser.parse_args(arguments)


def main() -> None:
    """Run what the command line asks for."""
    options = parse()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)  # as a node has it
    say(f"load {os.getloadavg()[0]:.1f}")
    if options.database:
        figures = asyncio.run(measure(options.database, options))
    else:
        with tempfile.TemporaryDirectory(prefix="hub-sizes-") as folder:
            Path(folder).chmod(0o755)
            with run_postgres(Path(folder)) as url:
                migrations.upgrade(url)
                figures = asyncio.run(measure(url, options))
    print("\n".join(map(line, figures)))


if __name__ == "__main__":
    main()
