"""Clients of a hub's Kafka and Postgres that tests go on using: to open one costs more than to use it."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
from aiokafka import AIOKafkaProducer
from aiokafka.client import AIOKafkaClient

_LOST = (asyncpg.PostgresConnectionError, asyncpg.AdminShutdownError, asyncpg.InterfaceError, OSError)
_METADATA_SECONDS = 0.05


class KeptClients:
    """A producer for each kind of compression, and one connection to Postgres. Close them at the end."""

    def __init__(self) -> None:
        self._producers: dict[str | None, AIOKafkaProducer] = {}
        self._connection: asyncpg.Connection | None = None
        self._opening = asyncio.Lock()
        self._asking = asyncio.Lock()

    async def producer(self, bootstrap: str, compression: str | None) -> AIOKafkaProducer:
        """A producer that has started."""
        async with self._opening:
            if compression not in self._producers:
                producer = AIOKafkaProducer(
                    bootstrap_servers=bootstrap,
                    max_request_size=4 * 1024 * 1024,
                    compression_type=compression,
                )
                await producer.start()
                self._producers[compression] = producer
            return self._producers[compression]

    async def rows(self, url: str, statement: str, values: tuple[Any, ...]) -> list[asyncpg.Record]:
        """Run a statement. A connection that was ended meanwhile is opened again."""
        async with self._asking:
            if self._connection is not None:
                try:
                    return list(await self._connection.fetch(statement, *values))
                except _LOST:
                    self._connection.terminate()
            self._connection = await asyncpg.connect(url, statement_cache_size=0)
            return list(await self._connection.fetch(statement, *values))

    async def close(self) -> None:
        """Close all of them. The next use opens new ones."""
        producers, self._producers = self._producers, {}
        connection, self._connection = self._connection, None
        for producer in producers.values():
            await producer.stop()
        if connection is not None:
            await connection.close()


async def make_topics(bootstrap: str, topics: list[str]) -> None:
    """Ask for Kafka topics until they are there: brokers make one when it is first asked for."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    try:
        await client.set_topics(topics)
        while not all(client.cluster.partitions_for_topic(topic) for topic in topics):
            await asyncio.sleep(_METADATA_SECONDS)
            await client.force_metadata_update()
    finally:
        await client.close()
