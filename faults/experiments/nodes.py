"""Nodes that die, at random and at the worst moments, and nodes that hang."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from faults.experiment import Run, experiment
from faults.failing_hub import BLOCKED, ON_SIGNAL
from faults.ledger import SENT
from faults.load import Mixture
from faults.world import Node, World
from tests.support.hub import eventually

RATE = 400.0
QUICK = {"KAFKA_SESSION_TIMEOUT_MS": "3000"}  # so long nobody takes a dead node's partitions
POINTS = (
    "in-transaction",
    "after-commit",
    "before-publish",
    "after-publish",
    "before-offset",
    "after-offset",
    "between-chunks",
)
LATEST = 15  # passes of a failpoint until the node dies there
DIES_WITHIN = 300.0
BEHIND = 5.0  # seconds, once the others have its partitions
AGAIN_WITHIN = 60.0  # seconds until what hung takes part again


@experiment(
    "kill-9",
    "kill -9 of one of 3 nodes, 50 times at random moments during 100,000 events",
    promises="1, 2, 3, 4",
    may_repeat=SENT,
)
async def kill_9(run: Run) -> None:
    """Each moment is that of a row, so none comes when the load is over; a node may still be starting."""
    events, kills = run.sized(100_000), run.sized(50, least=2)
    async with run.world(settings=QUICK) as world, world.load.publishing(RATE, events):
        moments = sorted(run.chance.uniform(0.02, 0.95) * events for _ in range(kills))
        for number, moment in enumerate(moments, 1):
            await world.stored(round(moment))
            node = run.chance.choice(world.nodes)
            await node.kill()
            run.say(f"kill {number} of {kills}")
            node.launch()
        run.figure("kills", kills)
        await asyncio.gather(*(node.until_ready() for node in world.nodes))


@experiment(
    "failpoints",
    "a node dies before and after the commit, the publishing and the commit of the offset, and between the "
    "chunks of a large event: 5 times each, under load",
    promises="1, 2, 3, 4",
    may_repeat=SENT,
)
async def failpoints(run: Run) -> None:
    points = [*POINTS] * run.sized(5)
    run.chance.shuffle(points)
    async with run.world(nodes=2, settings=QUICK, mixture=Mixture(large_every=400)) as world:
        node = world.nodes[0]
        await node.stop()
        async with world.load.publishing(RATE / 2):
            for number, point in enumerate(points, 1):
                after = run.chance.randint(1, LATEST)
                run.say(f"{number} of {len(points)}: {point}, the time number {after}")
                node.command = ("-m", "faults.failing_hub", point, "die", "0", str(after))
                node.launch()
                await node.killed(DIES_WITHIN)
            node.command = ("run.py",)
            await node.start_again()
            run.figure("deaths", len(points))


@experiment(
    "loop-blocked",
    "the event loop of one of 3 nodes is blocked for 40 s: at any moment, and between a commit and its push",
    promises="2, 3, 4",
    may_repeat=SENT,
)
async def loop_blocked(run: Run) -> None:
    seconds = run.sized(40, least=24)

    async with run.world() as world, world.load.publishing(RATE / 2):
        for node, point in zip(world.nodes, (ON_SIGNAL, "after-commit"), strict=False):
            await node.stop()
            node.command = ("-m", "faults.failing_hub", point, "block", str(seconds))
            node.launch()
            if point == ON_SIGNAL:
                await node.until_ready()
                node.poke()
            await _hang(run, world, node, seconds, _blocked)


@experiment(
    "frozen",
    "one of 3 nodes is stopped for 40 s by SIGSTOP, and continues where it was",
    promises="2, 3, 4",
    may_repeat=SENT,
)
async def frozen(run: Run) -> None:
    seconds = run.sized(40, least=24)

    async def freeze(node: Node) -> None:
        node.freeze()
        asyncio.get_running_loop().call_later(seconds, node.thaw)

    async with run.world() as world, world.load.publishing(RATE / 2):
        await world.stored(1000)
        await _hang(run, world, world.nodes[0], seconds, freeze)


async def _blocked(node: Node) -> None:
    async def logged() -> bool:
        return BLOCKED in node.log.read_text()

    await eventually(logged, "the node's loop is blocked", DIES_WITHIN)


async def _hang(
    run: Run, world: World, node: Node, seconds: float, begin: Callable[[Node], Awaitable[None]]
) -> None:
    """Have it hang, `begin` returns when it does; see the others take over, and it come back."""
    await begin(node)
    begun = time.monotonic()
    await asyncio.sleep(seconds / 2)
    run.figure("lag of the others while it hung", await world.caught_up(), "s", at_most=BEHIND)
    await asyncio.sleep(max(0.0, begun + seconds - time.monotonic()))
    await node.until_ready()
    run.figure("ready again after", max(0.0, time.monotonic() - begun - seconds), "s", at_most=AGAIN_WITHIN)
    await world.caught_up()
