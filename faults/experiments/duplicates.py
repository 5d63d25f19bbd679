"""One event over several transports, and one id with different contents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

import httpx
import msgspec
from aiokafka import AIOKafkaProducer
from redis.asyncio import Redis

from faults.experiment import Run, experiment
from faults.load import SERIAL
from faults.world import World
from tests.support.hub import REST, eventually, token

Event = dict[str, Any]

RATE = 50.0
ROUND = 20  # events at once
CONFLICTS = 4  # of a round, with the id of another event
SPREAD = 0.3  # seconds between the copies of an event, at most
ANSWERED_WITHIN = 60.0  # seconds; how fast isn't asked here
RETRY_AFTER = 2.0  # seconds, as the hub asks for
_TRY_AGAIN = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


@experiment(
    "duplicate-ids",
    "2,000 events come 5 times each, in any order: twice over Kafka and HTTP, once over a Redis stream; "
    "1 id in 5 is sent again with different content, over Kafka (a dead letter) or HTTP (409)",
    promises="1, 2, 3, 6",
)
async def duplicate_ids(run: Run) -> None:
    rounds, conflicts = run.sized(2_000 / ROUND, least=3), 0
    stream = f"faults-{run.chance.getrandbits(32):08x}"
    settings = {
        "REDIS_EVENTS_URL": f"redis://127.0.0.1:{run.site.redis.port}/0",
        "LOW_STOCK_STREAM": stream,
        "LOW_STOCK_CHANNEL": f"{stream}-channel",
    }
    async with (
        run.world(nodes=2, settings=settings) as world,
        world.load.publishing(RATE),
        _publishers(run, world, stream) as publishers,
    ):
        for _ in range(rounds):
            events = [world.load.event(user) for user in run.chance.choices(world.users, k=ROUND)]
            await asyncio.gather(*(_copies(run, publishers, event) for event in events))
            await world.caught_up()
            chosen = run.chance.sample(events, CONFLICTS)
            await asyncio.gather(*(_conflict(run, world, publishers, event) for event in chosen))
            conflicts += len(chosen)
        run.figure("events that came 5 times", rounds * ROUND)
        run.figure("ids that came with other content", conflicts)


@dataclass(frozen=True)
class Publishers:
    """One of each transport."""

    kafka: AIOKafkaProducer
    topic: str
    https: Sequence[httpx.AsyncClient]
    """One of each node."""
    redis: Redis
    stream: str

    async def by_kafka(self, event: Event) -> None:
        serial = str(event["data"][SERIAL]).encode()
        await self.kafka.send_and_wait(self.topic, msgspec.json.encode(event), headers=[(SERIAL, serial)])

    async def by_stream(self, event: Event) -> None:
        await self.redis.xadd(self.stream, {"data": msgspec.json.encode(event)})

    async def by_http(self, event: Event, node: int) -> int:
        """The status of the answer, once it isn't that the node is too busy."""

        async def answer() -> int | None:
            status = (await self.https[node].post("/notifications", json=event)).status_code
            if status in _TRY_AGAIN:
                await asyncio.sleep(RETRY_AFTER)
                return None
            return status

        return await eventually(answer, "an answer other than 429 and 503", ANSWERED_WITHIN)


@asynccontextmanager
async def _publishers(run: Run, world: World, stream: str) -> AsyncIterator[Publishers]:
    kafka = AIOKafkaProducer(bootstrap_servers=run.site.kafka.bootstrap)
    bearer = {"Authorization": f"Bearer {token('a-service', scope='notifications:send')}"}
    https = [httpx.AsyncClient(base_url=node.http + REST, headers=bearer, timeout=30) for node in world.nodes]
    redis = Redis(port=run.site.redis.port)
    await kafka.start()
    try:
        yield Publishers(kafka, world.nodes[0].topic, https, redis, stream)
    finally:
        await kafka.stop()
        await redis.aclose()
        await asyncio.gather(*(each.aclose() for each in https))


async def _copies(run: Run, publishers: Publishers, event: Event) -> None:
    async def posted(node: int) -> None:
        if (status := await publishers.by_http(event, node)) != HTTPStatus.ACCEPTED:
            run.problems.append(f"a copy over HTTP was answered with {status}")

    ways: list[Callable[[], Awaitable[None]]] = [
        partial(publishers.by_kafka, event),
        partial(publishers.by_kafka, event),
        partial(publishers.by_stream, event),
        *(partial(posted, node) for node in range(len(publishers.https))),
    ]
    delays = [run.chance.choice((0.0, run.chance.uniform(0, SPREAD))) for _ in ways]

    async def later(send: Callable[[], Awaitable[None]], delay: float) -> None:
        await asyncio.sleep(delay)
        await send()

    await asyncio.gather(*map(later, ways, delays))


async def _conflict(run: Run, world: World, publishers: Publishers, event: Event) -> None:
    """Other content with the id of an event that is stored: a row of it would be strange."""
    user = run.chance.choice(world.users)
    other = {**world.load.event(user, due=False), "event_id": event["event_id"]}
    if run.chance.random() < 0.5:
        world.load.due.dead_letters.add(other["data"][SERIAL])
        await publishers.by_kafka(other)
    else:
        status = await publishers.by_http(other, run.chance.randrange(len(world.nodes)))
        if status != HTTPStatus.CONFLICT:
            run.problems.append(f"other content with a known id was answered with {status}")
