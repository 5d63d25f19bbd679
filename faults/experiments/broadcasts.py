"""A broadcast to very many people while nodes die, Postgres restarts and Redis is away."""

from __future__ import annotations

import time
from collections.abc import Sequence
from uuid import UUID

from faults.disturb import FAST_REBALANCE, some_faults, wrong_clocks
from faults.experiment import Run, experiment
from faults.ledger import SENT
from faults.world import World
from tests.support.hub import eventually

RATE = 100.0
TOPIC = "everyone-else"
SECONDS = 90.0
"""That the broadcast takes without faults: they have to meet it."""
MIN_SECONDS = 15
STANDSTILL_SECONDS = 120.0


@experiment(
    "broadcast",
    "a broadcast to 100,000 people beside other events; of 3 nodes one is 5 minutes ahead and one 5 minutes "
    "behind; meanwhile kill -9 of a node, 6 times, a restart of Postgres, and a Redis that is away for 10 s "
    "while a node starts",
    promises="1, 2, 3, 4",
    may_repeat=SENT,
)
async def broadcast(run: Run) -> None:
    people = run.sized(100_000, least=1_000)
    faults = some_faults(run)
    settings = {**FAST_REBALANCE, "BROADCAST_RATE": str(people / run.sized(SECONDS, least=MIN_SECONDS))}
    async with (
        run.world(settings=settings, own_settings=wrong_clocks()) as world,
        world.load.publishing(RATE),
    ):
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
