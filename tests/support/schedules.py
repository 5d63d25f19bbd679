"""Random schedules of what can happen to a hub of three nodes, and clients that must not notice."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID, uuid4

import asyncpg
import psutil
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from tests.support.hub import Hub, added, eventually, new_user
from tests.support.redis_server import RedisServer
from tests.support.resuming_client import Client

STEPS = 12
USERS = 3
STORED_WITHIN = 60.0  # seconds after the last step: dead nodes hold partitions until their session ends
SEEN_WITHIN = 8.0  # seconds after that: what was missed is there within five, but the machine is busy


@dataclass
class World:
    """A hub of three workers with a Redis that can be killed, and one lasting connection to each service."""

    hub: Hub
    redis: RedisServer
    producer: AIOKafkaProducer
    database: asyncpg.Pool
    failing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def nodes(self) -> list[psutil.Process]:
        assert self.hub.process is not None
        return psutil.Process(self.hub.process.pid).children()

    async def kill_node(self, number: signal.Signals) -> None:
        """End one node; its supervisor replaces it."""
        nodes = self.nodes()
        if nodes:
            os.kill(random.choice(nodes).pid, number)

    async def restart_redis(self, away: float) -> None:
        """Kill Redis, with all it knows."""
        async with self.failing:
            self.redis.kill()
            await asyncio.sleep(away)
            await asyncio.to_thread(self.redis.start)

    async def rebalance(self) -> None:
        """A stranger joins the consumer group, takes partitions, does nothing and leaves."""
        stranger = AIOKafkaConsumer(
            self.hub.topic,
            bootstrap_servers=self.hub.environment["KAFKA_BOOTSTRAP_SERVERS"],
            group_id=self.hub.environment["KAFKA_GROUP"],
            enable_auto_commit=False,
            session_timeout_ms=3000,
            heartbeat_interval_ms=500,
        )
        await stranger.start()
        await asyncio.sleep(random.uniform(0.2, 1.0))
        await stranger.stop()


class Schedule:
    """One random schedule: new users, and steps that follow from the seed."""

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._random = random.Random(seed)
        self._seed = seed
        self._users = [new_user() for _ in range(USERS)]
        self._clients = [Client([world.hub], user) for user in self._users for _ in range(2)]
        self._published = dict.fromkeys(self._users, 0)
        self._done: list[str] = []

    async def act(self) -> None:
        """Take the steps."""
        for client in self._clients[::2]:
            client.start()
        for _ in range(STEPS):
            await self._step()
            await asyncio.sleep(self._random.choice((0, 0, 0.05, 0.3)))

    async def leave(self) -> None:
        """Disconnect all clients."""
        for client in self._clients:
            await client.disconnect(abruptly=False)

    async def _step(self) -> None:
        steps: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (10, self._publish),
            (4, self._come_or_go),
            (1, self._kill),
            (1, self._restart),
            (1, self._restart_redis),
            (1, self._rebalance),
        ]
        weights = [weight for weight, _ in steps]
        step = self._random.choices([step for _, step in steps], weights)[0]
        self._done.append(step.__name__.strip("_"))
        await step()

    async def _publish(self) -> None:
        """A burst to some users, a part of it twice."""
        for _ in range(self._random.choice((1, 3, 20))):
            receivers = self._random.sample(self._users, self._random.randint(1, USERS))
            event = {**added(""), "receivers": receivers, "event_id": str(uuid4())}
            for user in receivers:
                self._published[user] += 1
            for _ in range(self._random.choice((1, 1, 1, 2))):
                await self._world.producer.send(self._world.hub.topic, json.dumps(event).encode())
        await self._world.producer.flush()

    async def _come_or_go(self) -> None:
        client = self._random.choice(self._clients)
        if client.connected:
            await client.disconnect(abruptly=self._random.random() < 0.5)
        else:
            client.start()

    async def _kill(self) -> None:
        await self._world.kill_node(signal.SIGKILL)

    async def _restart(self) -> None:
        await self._world.kill_node(signal.SIGTERM)

    async def _restart_redis(self) -> None:
        await self._world.restart_redis(self._random.choice((0.0, 0.5, 2.0)))

    async def _rebalance(self) -> None:
        await self._world.rebalance()

    async def verify(self) -> None:
        """Raises AssertionError, with the seed and the steps, when a client missed or doubled something."""
        for client in self._clients:
            if not client.connected:
                client.start()
        for user, count in self._published.items():
            inbox = await eventually(partial(self._inbox, user, count), self._says(user), STORED_WITHIN)
            for client in self._clients:
                if client.user == user:
                    await self._verify_client(client, inbox)

    async def _inbox(self, user: str, count: int) -> list[str] | None:
        rows = await self._world.database.fetch(
            "select id, seq from notifications where receiver = $1 order by seq", UUID(user)
        )
        assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1)), self._says(user)
        assert len(rows) <= count, self._says(user)
        return [str(row["id"]) for row in rows] if len(rows) == count else None

    async def _verify_client(self, client: Client, inbox: list[str]) -> None:
        async def has_all() -> bool:
            assert not client.wrong, f"{client.wrong}; {self._says(client.user)}"
            return len(client.seen) >= len(inbox)

        await eventually(has_all, f"{self._says(client.user)}: a client saw all", SEEN_WITHIN)
        assert client.seen == inbox, self._says(client.user)

    def _says(self, user: str) -> str:
        return f"seed {self._seed}, {user}, {self._published[user]} published; {' '.join(self._done)}"
