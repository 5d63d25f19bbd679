"""Somebody logs out each second, whatever else is going on: how long their connection lives on."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from aiokafka import AIOKafkaProducer
from websockets.exceptions import WebSocketException

from faults.experiment import Run
from faults.world import Node, World, in_background
from tests.support.hub import close_code, new_user

EVERY = 1.0  # seconds
WITHIN = 2.0  # seconds; promise 7


@asynccontextmanager
async def logouts(run: Run, world: World) -> AsyncIterator[None]:
    """A logout each second beside the block. How long the slowest took is a figure; one that ends no
    connection is a problem.
    """
    took: list[float] = []
    producer = AIOKafkaProducer(
        bootstrap_servers=run.site.kafka.bootstrap
    )  # a publisher's troubles aren't the hub's
    await producer.start()
    running: set[asyncio.Task[None]] = set()

    async def each_second() -> None:
        for node in itertools.cycle(world.nodes):
            running.add(asyncio.create_task(_log_out(run, producer, node, took)))
            await asyncio.sleep(EVERY)

    try:
        async with in_background(each_second()):
            yield
        await asyncio.gather(*running)
    finally:
        for task in running:
            task.cancel()
        await producer.stop()
    run.figure("logouts", len(took))
    run.figure("a logout took, at most", max(took, default=0.0), "s", at_most=WITHIN)


async def _log_out(run: Run, producer: AIOKafkaProducer, node: Node, took: list[float]) -> None:
    user = new_user()
    event = {"event_type": "account_logged_out", "user_id": user, "access_token_id": "x"}
    try:
        async with node.socket(user) as socket:
            await asyncio.sleep(EVERY)  # a token of the same second may be newer
            await producer.send_and_wait(node.logout_topic, msgspec.json.encode(event))
            begun = time.monotonic()
            code = await close_code(socket)
    except (WebSocketException, OSError, TimeoutError) as error:
        run.problems.append(f"a logout ended nothing: {type(error).__name__} {error}"[:200])
        return
    took.append(time.monotonic() - begun)
    if code != 4500:
        run.problems.append(f"a logout ended a connection with {code}")
