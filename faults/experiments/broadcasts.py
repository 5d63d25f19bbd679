"""A broadcast to very many people while nodes die, Postgres restarts and Redis is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from faults.experiment import Run, experiment
from faults.ledger import SENT
from faults.world import World
from tests.support.hub import eventually

RATE = 100.0
TOPIC = "everyone-else"
SECONDS = 90.0
"""That the broadcast takes without faults, at any size: faults have to meet it."""
KILLS = 6
AWAY_SECONDS = 10.0
STANDSTILL_SECONDS = 120.0
QUICK = {"KAFKA_SESSION_TIMEOUT_MS": "3000"}

Fault = Callable[[Run, World], Awaitable[None]]


@experiment(
    "broadcast",
    "a broadcast to 100,000 people beside other events; meanwhile kill -9 of one of 3 nodes, 6 times, a "
    "restart of Postgres, and a Redis that is away for 10 s",
    promises="1, 2, 3, 4",
    may_repeat=SENT,
)
async def broadcast(run: Run) -> None:
    people = run.sized(100_000, least=1_000)
    faults: list[tuple[str, Fault]] = [("kill -9", _kill)] * KILLS
    faults += [("a restart of Postgres", _restart_postgres), ("Redis is away", _redis_away)]
    run.chance.shuffle(faults)
    settings = {**QUICK, "BROADCAST_RATE": str(people / SECONDS)}
    async with run.world(settings=settings) as world, world.load.publishing(RATE):
        await world.stored(200)
        crowd = [str(UUID(int=run.chance.getrandbits(128), version=4)) for _ in range(people)]
        await _follow(run, world, [*crowd, *world.users])
        begun = time.monotonic()
        world.load.broadcast(TOPIC, world.users, crowd)
        for number, (what, fault) in enumerate(faults, 1):
            passed = await _passed(run, world, round(number / (len(faults) + 1) * people))
            run.say(f"{what}, at {passed:,} of {people:,} people")
            await fault(run, world)
        await _passed(run, world, people + len(world.users))
        run.figure("the broadcast was done after", time.monotonic() - begun, "s")


async def _kill(run: Run, world: World) -> None:
    node = run.chance.choice(world.nodes)
    await node.kill()
    await node.start_again()  # one that starts while Postgres is away ends by itself


async def _restart_postgres(run: Run, world: World) -> None:
    await run.site.postgres.stop()
    await run.site.postgres.start()


async def _redis_away(run: Run, world: World) -> None:
    await asyncio.to_thread(run.site.redis.kill)
    await asyncio.sleep(AWAY_SECONDS)
    await asyncio.to_thread(run.site.redis.start)


async def _follow(run: Run, world: World, users: Sequence[str]) -> None:
    connection = await run.site.postgres.connect(world.database)
    try:
        rows = [(TOPIC, UUID(user)) for user in users]
        await connection.copy_records_to_table(
            "topic_followers", records=rows, columns=("topic_key", "user_id")
        )
    finally:
        await connection.close()


async def _passed(run: Run, world: World, people: int) -> int:
    """Returns how many the broadcast has passed, once it is so many."""

    async def look() -> int | None:
        try:
            connection = await run.site.postgres.connect(world.database)
        except Exception:  # of many kinds, while it restarts
            return None
        try:
            found = await connection.fetchval("select max(passed) from broadcasts")
            return found if found is not None and found >= people else None
        finally:
            await connection.close()

    return await eventually(look, f"the broadcast passed {people:,}", STANDSTILL_SECONDS)
