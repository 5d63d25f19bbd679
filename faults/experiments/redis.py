"""A Redis that dies, falls silent, or is out of reach for one node only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from faults.experiment import Run, experiment
from faults.world import Node
from tests.support.hub import eventually
from tests.support.network import open_proxy
from tests.support.nodes import know_each_other

RATE = 200.0
NOTICED_WITHIN = 15.0  # seconds
FILLED_WITHIN = 5.0  # after its return, until nobody misses anything
JOINED_WITHIN = 30.0


@experiment(
    "redis-down",
    "Redis is killed for 30 s, with 3 nodes, and comes back empty",
    promises="3",
)
async def redis_down(run: Run) -> None:
    seconds = run.sized(30, least=8)
    async with run.world() as world, world.load.publishing(RATE):
        await world.stored(500)
        await asyncio.to_thread(run.site.redis.kill)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(run.site.redis.start)
        run.figure("gaps filled after its return", await world.delivered(), "s", at_most=FILLED_WITHIN)
        await _joined(world.nodes)


@experiment(
    "redis-silent",
    "Redis does not answer for 60 s, without a reset",
    promises="3",
)
async def redis_silent(run: Run) -> None:
    seconds = run.sized(60, least=20)
    async with run.world() as world, world.load.publishing(RATE):
        await world.stored(500)
        begun = time.monotonic()
        run.site.to_redis.silence()
        await asyncio.gather(*(_alone(node) for node in world.nodes))
        run.figure("detected by all nodes", time.monotonic() - begun, "s", at_most=NOTICED_WITHIN)
        await asyncio.sleep(max(0.0, begun + seconds - time.monotonic()))
        run.site.to_redis.repair()
        run.figure("gaps filled after its return", await world.delivered(), "s", at_most=FILLED_WITHIN)
        await _joined(world.nodes)


@experiment(
    "redis-cut-off",
    "one node of 3 is cut off from Redis for 30 s: first by resets, then in silence",
    promises="3",
)
async def redis_cut_off(run: Run) -> None:
    seconds = run.sized(30, least=10)
    async with open_proxy(run.site.redis.port) as proxy:
        own = {0: {"REDIS_URL": f"redis://127.0.0.1:{proxy.port}/0"}}
        async with run.world(own_settings=own) as world, world.load.publishing(RATE):
            for cut, how in ((proxy.refuse, "resets"), (proxy.silence, "silence")):
                await world.stored(len(world.load.due.rows) + 500)
                cut()
                await asyncio.sleep(seconds)
                await _alone(world.nodes[0])
                proxy.repair()
                filled = await world.delivered()
                run.figure(f"gaps filled after {how}", filled, "s", at_most=FILLED_WITHIN)
                await _joined(world.nodes)


async def _alone(node: Node) -> None:
    """Returns when the node knows that it has no Redis."""

    async def noticed() -> bool:
        return await node.metric("hub_nodes") == 0

    await eventually(noticed, "a node without Redis notices", within=60)


async def _joined(nodes: Sequence[Node]) -> None:
    async with asyncio.timeout(JOINED_WITHIN):
        for node in nodes:
            await know_each_other(node, len(nodes))
