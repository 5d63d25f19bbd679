"""After whatever happens, what each client has seen is its inbox, in order (promises 1 to 3).

Four schedules in each run, a dozen with `make test-long`, hundreds with `make faults`. A failure names its
seed: with SCHEDULES=1 SEED=… this file alone repeats it, as far as processes repeat themselves.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import asyncpg
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer

from tests.support.hub import running_hub
from tests.support.redis_server import RedisServer
from tests.support.schedules import Schedule, World

SCHEDULES = int(os.environ.get("SCHEDULES", "12"))
FIRST_SEED = int(os.environ.get("SEED", "1"))
AT_ONCE = 4  # schedules that share the nodes, and what befalls them


@pytest_asyncio.fixture(scope="module")
async def world(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("world")
    redis = RedisServer(folder / "redis")
    redis.start()
    own = {**environment, "REDIS_URL": redis.url, "WORKERS": "3"}
    producer = AIOKafkaProducer(bootstrap_servers=own["KAFKA_BOOTSTRAP_SERVERS"], enable_idempotence=True)
    async with AsyncExitStack() as running:
        running.callback(redis.kill)
        hub = await running.enter_async_context(running_hub(own, folder / "log"))
        await producer.start()
        running.push_async_callback(producer.stop)
        pool = asyncpg.create_pool(hub.database, min_size=1, max_size=4)
        database = await running.enter_async_context(pool)
        yield World(hub, redis, producer, database)


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(first, marks=() if first == FIRST_SEED else pytest.mark.slow)
        for first in range(FIRST_SEED, FIRST_SEED + SCHEDULES, AT_ONCE)
    ],
)
async def test_every_client_sees_its_inbox_in_order(world: World, first: int) -> None:
    seeds = range(first, min(first + AT_ONCE, FIRST_SEED + SCHEDULES))
    schedules = [Schedule(world, seed) for seed in seeds]
    try:
        await asyncio.gather(*(schedule.act() for schedule in schedules))
        # Only now: while one schedule kills nodes, a busy machine may store nothing of another.
        await asyncio.gather(*(schedule.verify() for schedule in schedules))
    finally:
        await asyncio.gather(*(schedule.leave() for schedule in schedules))
