"""A broker that goes away, and a consumer group that never rests."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]

from app.sources.kafka.clients import METADATA_AGE_MS
from faults.experiment import Run, experiment
from faults.load import Mixture
from faults.logouts import logouts
from faults.world import PARTITIONS, READY_WITHIN, Node, World
from tests.support.hub import eventually

RATE = 200.0
CAUGHT_UP_WITHIN = 30.0  # seconds after the broker's return
READ_WITHIN = METADATA_AGE_MS / 1000 + 5  # seconds until events of new partitions are read


@experiment(
    "broker-down",
    "Apache Kafka is stopped for 60 s, 10 times, and started with its data; publishing continues",
    promises="1, 2, 3",
)
async def broker_down(run: Run) -> None:
    seconds, times = run.sized(60, least=8), run.sized(10, least=2)
    worst = 0.0
    async with run.world() as world, world.load.publishing(RATE):
        for number in range(times):
            await world.stored(len(world.load.due.rows) + 100)
            await asyncio.sleep(run.chance.uniform(0, 2))
            run.say(f"the broker goes, {number + 1} of {times}")
            await asyncio.to_thread(run.site.kafka.stop)
            await asyncio.sleep(seconds)
            await asyncio.to_thread(run.site.kafka.start)
            took = await world.caught_up()
            run.say(f"caught up {took:.1f} s after its return")
            worst = max(worst, took)
        run.figure("caught up after the broker's return, at most", worst, "s", at_most=CAUGHT_UP_WITHIN)


@experiment(
    "rebalance-storm",
    "a node joins, until it reads events, or leaves (SIGTERM) every 5 s for 3 minutes, beside 2 that stay; "
    "1 event in 40 is garbage",
    promises="1, 2, 3, 4, 6",
)
async def rebalance_storm(run: Run) -> None:
    seconds, pause = run.sized(180, least=20), 5.0
    changes = 0
    async with run.world(nodes=4, mixture=Mixture(garbage_every=40)) as world, world.load.publishing(RATE):
        passing, end = world.nodes[2:], time.monotonic() + seconds
        leaving: set[asyncio.Task[int]] = set()
        while time.monotonic() < end:
            node, begun = passing[changes % 2], time.monotonic()
            if node.running:
                leaving.add(asyncio.create_task(node.stop()))
            else:
                await _join(node)
            changes += 1
            await asyncio.sleep(max(0.0, begun + pause - time.monotonic()))
        statuses = set(await asyncio.gather(*leaving))
        if wrong := statuses - {0, -signal.SIGTERM}:  # the signal's own: it was stopped before it had begun
            run.problems.append(f"nodes that were to leave ended with {sorted(wrong)}")
        run.figure("joins and leaves", changes)
        run.figure("lag at the end of the storm", await world.caught_up(), "s")
        for node in passing:
            if not node.running:
                node.launch()
            await node.until_ready()


async def _join(node: Node) -> None:
    """Start it; returns when it reads events from a partition."""
    before = node.log.stat().st_size
    node.launch()

    async def joined() -> bool:
        log = node.log.read_bytes()[before:].decode()
        return any("partitions_assigned" in line and f"{node.topic}/" in line for line in log.splitlines())

    await eventually(joined, "a node that came gets partitions", READY_WITHIN)


@experiment(
    "partition-growth",
    "the Kafka topic grows from 6 partitions to 12 and 24, 30 s apart, under load; a logout each second",
    promises="1, 2, 3, 7",
)
async def partition_growth(run: Run) -> None:
    seconds = run.sized(30, least=12)
    async with (
        run.world(longest_wait=READ_WITHIN) as world,
        logouts(run, world),
        world.load.publishing(RATE / 2),
    ):
        await world.stored(500)
        for doubled in (1, 2):
            partitions = PARTITIONS * 2**doubled
            await asyncio.to_thread(_grow, run.site.kafka.bootstrap, world.nodes[0].topic, partitions)
            run.say(f"{partitions} partitions")
            await asyncio.sleep(seconds)
        await world.caught_up()
        run.figure("partitions that have events", await asyncio.to_thread(_used, run, world, partitions))


def _grow(bootstrap: str, topic: str, partitions: int) -> None:
    admin: Any = AdminClient({"bootstrap.servers": bootstrap})
    for done in admin.create_partitions([NewPartitions(topic, partitions)]).values():
        done.result(30)


def _used(run: Run, world: World, partitions: int) -> int:
    """How many partitions have events; all have to, or the experiment shows nothing."""
    topic = world.nodes[0].topic
    reader: Any = Consumer({"bootstrap.servers": run.site.kafka.bootstrap, "group.id": "faults"})
    try:
        ends = [
            reader.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1]
            for number in range(partitions)
        ]
    finally:
        reader.close()
    assert all(ends), f"only {sum(map(bool, ends))} of {partitions} partitions have events"
    return len(ends)
