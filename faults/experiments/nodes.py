"""Nodes that die, at random and at the worst moments."""

from __future__ import annotations

import asyncio

from faults.experiment import Run, beside, experiment
from faults.world import World

EVENTS, RATE = 100_000, 1000.0


@experiment(
    "kill-9",
    "kill -9 of one of 3 nodes, 50 times at random moments during 100,000 events",
    promises="1, 2, 3, 4",
    may_repeat=True,
)
async def kill_9(run: Run) -> None:
    events = run.sized(EVENTS)
    async with run.world() as world, beside(world.load.publish(events, RATE)):
        moments = sorted(run.chance.uniform(0.02, 0.95) * events for _ in range(run.sized(50, least=2)))
        for number, moment in enumerate(moments, 1):
            await world.stored(round(moment))
            await asyncio.sleep(run.chance.uniform(0, 0.3))
            await _kill(world, run)
            run.say(f"kill {number} of {len(moments)}")


async def _kill(world: World, run: Run) -> None:
    node = run.chance.choice(world.nodes)
    await node.kill()
    await node.start_again()
