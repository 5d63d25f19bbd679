"""A Postgres that restarts, falls silent, ends its backends or has no room left."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from pathlib import Path

import asyncpg
import httpx

from app.dev.process import make_folder
from faults.experiment import Run, experiment
from faults.ledger import SENT
from faults.services import Postgres
from faults.world import Node, World
from tests.support.hub import REST, eventually, new_user

RATE = 500.0
RECOVERED_WITHIN = 10.0  # seconds after its return
NOTICED_WITHIN = 5.0
ANSWERED_WITHIN = 30.0  # the worst that a request may wait for
CUT_OFF_FOR = 35.0  # a statement's time, its cancellation, and the time until its locks are free
ROOM = 24  # MB
RECOVERED = "all nodes served requests again after its return, at most"
HELD_UP = """
select count(*) from pg_stat_activity
where datname = $1 and application_name = 'notification-hub' and wait_event_type = 'Lock'
"""
IN_TRANSACTION = """
select pid from pg_stat_activity
where datname = $1 and application_name = 'notification-hub' and xact_start is not null
"""


@experiment(
    "postgres-restarts",
    "Postgres is restarted 20 times in the middle of batches, every second time by kill -9",
    promises="1, 2, 3, 4",
    may_repeat=SENT,
)
async def postgres_restarts(run: Run) -> None:
    times, worst = run.sized(20, least=3), 0.0
    async with run.world() as world, world.load.publishing(RATE):
        for number in range(times):
            await world.stored(len(world.load.due.rows))
            await asyncio.sleep(run.chance.uniform(0, 1))
            # Delayed, batches surely end in the middle; else sometimes while they are committed.
            async with _mid_batch(run, world) if number % 4 < 2 else nullcontext():
                run.say(f"Postgres restarts, {number + 1} of {times}")
                await (run.site.postgres.kill() if number % 2 else run.site.postgres.stop())
            await asyncio.sleep(run.chance.uniform(0, 5))
            await run.site.postgres.start()
            worst = max(worst, await _recovered(world))
        run.figure(RECOVERED, worst, "s", at_most=RECOVERED_WITHIN)


@experiment(
    "postgres-silent",
    "Postgres does not answer for 60 s, without a reset; then new connections work while old ones stay "
    "silent",
    promises="1, 2, 3, 4",
    may_repeat=SENT,
)
async def postgres_silent(run: Run) -> None:
    seconds = run.sized(60, least=15)
    async with run.world() as world, world.load.publishing(RATE):
        await world.stored(500)
        begun = time.monotonic()
        run.site.to_postgres.silence()
        said = [await _says_down(node) for node in world.nodes]
        run.figure("/ready reported it after", max(said), "s", at_most=NOTICED_WITHIN)
        answered = await asyncio.gather(*(_history_is_refused(node) for node in world.nodes))
        run.figure("a request was answered with 503", max(answered), "s", at_most=ANSWERED_WITHIN)
        await asyncio.sleep(max(0.0, begun + seconds - time.monotonic()))
        run.site.to_postgres.repair()
        run.figure(RECOVERED, await _recovered(world), "s", at_most=RECOVERED_WITHIN)
        await world.caught_up()
        run.say("connections end in silence")
        run.site.to_postgres.detour()
        run.figure(
            "after a silent cut all nodes served requests again", await _recovered(world), "s", CUT_OFF_FOR
        )


@experiment(
    "backends-terminated",
    "200 backends are terminated in mid-transaction",
    promises="1, 2, 3, 4",
    may_repeat=SENT,
)
async def backends_terminated(run: Run) -> None:
    times = run.sized(200, least=10)
    async with run.world(longest_wait=RECOVERED_WITHIN) as world, world.load.publishing(RATE):
        admin = await run.site.postgres.connect("postgres")
        try:
            for _ in range(times):
                await world.stored(len(world.load.due.rows) + run.chance.randint(0, 200))
                await _terminate_one(run, admin, world.database)
        finally:
            await admin.close()
        run.figure("terminated", times)


@experiment(
    "disk-full",
    "Postgres has no disk space for notifications for 60 s; then space is freed",
    promises="1, 2, 3, 4",
    may_repeat=SENT,
)
async def disk_full(run: Run) -> None:
    seconds = run.sized(60, least=10)
    async with _small_disk(run.site.postgres, run.site.home / "small") as folder:
        async with run.world() as world:
            await _move_to(run.site.postgres, world.database)
            async with world.load.publishing(RATE):
                await world.stored(500)
                ballast = folder / "ballast"
                _fill(ballast)
                await _refused(world)
                run.say("the disk is full")
                await asyncio.sleep(seconds)
                ballast.unlink()
                recovered = await world.fresh_rows()
                run.figure(
                    "rows were written again after space was freed", recovered, "s", at_most=RECOVERED_WITHIN
                )
        await _drop(run.site.postgres, world.database)


@asynccontextmanager
async def _mid_batch(run: Run, world: World) -> AsyncIterator[None]:
    """Holds batches up by a lock: when the block begins a node is in the middle of a transaction."""
    admin = await run.site.postgres.connect("postgres")
    holding = await run.site.postgres.connect(world.database)
    try:
        await holding.execute("begin; lock table notifications in share row exclusive mode")

        async def any_waits() -> bool:
            return bool(await admin.fetchval(HELD_UP, world.database))

        await eventually(any_waits, "a node writes", within=60)
        yield
    finally:
        holding.terminate()
        admin.terminate()


async def _recovered(world: World) -> float:
    """The seconds until every node is ready and answers from Postgres, and rows are written again."""
    begun = time.monotonic()
    await asyncio.gather(world.fresh_rows(), *map(_serves, world.nodes))
    return time.monotonic() - begun


async def _serves(node: Node) -> None:
    user = new_user()
    async with node.client(user) as client:

        async def answers() -> bool:
            ready = await client.get("/ready", timeout=ANSWERED_WITHIN)
            history = await client.get(f"/notifications/users/{user}", timeout=ANSWERED_WITHIN)
            return ready.status_code == history.status_code == 200

        await eventually(answers, "a node serves again", within=60)


async def _says_down(node: Node) -> float:
    """The seconds until /ready says 503 and names Postgres."""
    begun = time.monotonic()
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{node.http}{REST}/ready", timeout=ANSWERED_WITHIN)
    assert answer.status_code == 503, answer.text
    assert answer.json()["dependencies"]["postgres"]["status"] == "down", answer.text
    return time.monotonic() - begun


async def _history_is_refused(node: Node) -> float:
    """The seconds until a request that needs Postgres is answered: 503, as a problem."""
    begun, user = time.monotonic(), new_user()
    async with node.client(user) as client:
        answer = await client.get(f"/notifications/users/{user}", timeout=ANSWERED_WITHIN + 10)
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json"), answer.text
    return time.monotonic() - begun


async def _terminate_one(run: Run, admin: asyncpg.Connection, database: str) -> None:
    """Terminate a backend that is in a transaction, once there is one."""
    ended = False
    while not ended:
        if found := await admin.fetch(IN_TRANSACTION, database):
            pid = run.chance.choice(found)["pid"]
            ended = await admin.fetchval("select pg_terminate_backend($1)", pid)


@asynccontextmanager
async def _small_disk(postgres: Postgres, folder: Path) -> AsyncIterator[Path]:
    """A disk of `ROOM` MB as the tablespace `small`. Only root can mount one."""
    assert os.geteuid() == 0, "only root can mount a small disk"
    make_folder(folder)
    _run("mount", "-t", "tmpfs", "-o", f"size={ROOM}m", "tmpfs", str(folder))
    try:
        shutil.chown(folder, postgres.process().username())
        connection = await postgres.connect("postgres")
        await connection.execute(f"create tablespace small location '{folder}'")
        yield folder
        await connection.execute("drop tablespace small")
        await connection.close()
    finally:
        _run("umount", "--lazy", str(folder))


async def _move_to(postgres: Postgres, database: str) -> None:
    connection = await postgres.connect(database)
    try:
        await connection.execute("alter table notifications set tablespace small")
    finally:
        await connection.close()


async def _drop(postgres: Postgres, database: str) -> None:
    connection = await postgres.connect("postgres")
    try:
        await connection.execute(f"drop database {database} with (force)")
    finally:
        await connection.close()


def _fill(ballast: Path) -> None:
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(64 * 1024))


async def _refused(world: World) -> None:
    """Returns when Postgres has refused a node's write for lack of room."""

    async def logged() -> bool:
        return any("DiskFullError" in node.log.read_text() for node in world.nodes)

    await eventually(logged, "Postgres has no room", within=60)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
