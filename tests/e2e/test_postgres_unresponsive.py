"""An unresponsive Postgres: each source pauses and resumes by itself, and readiness reports it."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest_asyncio
import redis as redis_py

from tests.support.hub import NO_TLS, REST, Hub, added, eventually, new_user, running_hub, token
from tests.support.network import FaultyProxy, open_proxy
from tests.support.rabbitmq_server import RabbitMQ

QUEUE_SETTINGS = ("BOOKING_EVENTS_QUEUE", "PAYMENT_EVENTS_QUEUE", "NOTIFICATIONS_QUEUE")
BATCH = 200
PREFETCH = 2 * BATCH
IN_HAND = 5_000  # stream entries that a node takes, at most
DATABASE_TIMEOUT = 2.0
AWAY = 8.0  # seconds; longer than a session of Kafka, a statement, and a request that waits
MORE = 100  # than a source takes


@pytest_asyncio.fixture
async def proxy(database: str) -> AsyncIterator[FaultyProxy]:
    port = urlsplit(database).port
    assert port is not None
    async with open_proxy(port) as proxy:
        yield proxy


@pytest_asyncio.fixture
async def all_ways_hub(
    environment: dict[str, str], rabbitmq: RabbitMQ, proxy: FaultyProxy, tmp_path: Path
) -> AsyncIterator[Hub]:
    """A hub with all four sources, whose Postgres can fall silent."""
    mark = uuid.uuid4().hex[:8]
    own = {
        "RABBITMQ_URL": rabbitmq.url,
        "REDIS_EVENTS_URL": environment["REDIS_URL"],
        "LOW_STOCK_STREAM": f"stream-{mark}",
        "LOW_STOCK_CHANNEL": f"channel-{mark}",
        "BATCH_SIZE": str(BATCH),
        "DATABASE_TIMEOUT": str(DATABASE_TIMEOUT),
        "HTTP_WAIT": "2",
        **{setting: f"{setting.lower()}-{mark}" for setting in QUEUE_SETTINGS},
    }
    behind = environment["DATABASE_URL"].replace(f":{proxy.port_behind}/", f":{proxy.port}/")
    async with running_hub({**environment, **own, "DATABASE_URL": behind}, tmp_path / "log") as hub:
        yield hub


async def stored_of(hub: Hub, user: str, count: int) -> None:
    """So many rows of the user come, and no more."""

    async def enough() -> bool:
        (row,) = await hub.rows("select count(*) from notifications where receiver = $1", uuid.UUID(user))
        return bool(row["count"] >= count)

    await eventually(enough, f"{count} rows", within=60)


def add_to_stream(redis: redis_py.Redis, stream: str, user: str, count: int) -> None:
    with redis.pipeline(transaction=False) as pipe:
        for _ in range(count):
            pipe.xadd(stream, {"data": json.dumps({**added(user), "event_id": uuid.uuid4().hex})})
        pipe.execute()


async def status(hub: Hub) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=hub.http + REST, timeout=20, verify=NO_TLS) as client:
        answer = await client.get("/ready")
    found = {name: each["status"] for name, each in answer.json()["dependencies"].items()}
    return {"code": answer.status_code, **found}


async def test_while_postgres_is_unresponsive_each_source_pauses_and_resumes_by_itself(
    all_ways_hub: Hub, proxy: FaultyProxy, rabbitmq: RabbitMQ
) -> None:
    hub = all_ways_hub
    of_kafka, of_rabbit, of_redis, of_http = (new_user() for _ in range(4))
    queue, stream = hub.environment[QUEUE_SETTINGS[0]], hub.environment["LOW_STOCK_STREAM"]
    redis = redis_py.Redis.from_url(hub.environment["REDIS_EVENTS_URL"])
    sender = {"Authorization": f"Bearer {token('kitchen', scope='notifications:send')}"}
    message = {"type": "inapp", "user_id": of_http, "title": "Hello", "message": "World", "event_id": of_http}

    begun = monotonic()
    proxy.silence()
    await hub.publish(*(added(of_kafka) for _ in range(2 * BATCH)))
    await rabbitmq.publish(queue, *(added(of_rabbit, f"name {number}") for number in range(PREFETCH + MORE)))
    await asyncio.to_thread(add_to_stream, redis, stream, of_redis, IN_HAND + MORE)
    found = await status(hub)
    assert (found["code"], found["postgres"]) == (503, "down")
    rest = hub.http + REST
    async with httpx.AsyncClient(base_url=rest, headers=sender, timeout=25, verify=NO_TLS) as client:
        keyed = {"Idempotency-Key": uuid.uuid4().hex}
        for headers in ({}, keyed):
            answer = await client.post("/notifications", json=message, headers=headers)
            assert answer.status_code == 503
            assert answer.headers["content-type"].startswith("application/problem+json")
        await asyncio.sleep(max(0.0, begun + AWAY - monotonic()))
        assert await rabbitmq.depth(queue) >= MORE, "what was not taken waits at the broker"
        (group,) = redis.xinfo_groups(stream)
        assert group["pending"] <= IN_HAND
        proxy.repair()
        await asyncio.gather(
            stored_of(hub, of_kafka, 2 * BATCH),
            stored_of(hub, of_rabbit, PREFETCH + MORE),
            stored_of(hub, of_redis, IN_HAND + MORE),
        )
        assert (await client.post("/notifications", json=message, headers=keyed)).status_code == 202
    rows = await hub.rows("select receiver::text, count(*), max(seq) from notifications group by 1")
    assert {row["receiver"]: (row["count"], row["max"]) for row in rows} == {
        user: (count, count)
        for user, count in (
            (of_kafka, 2 * BATCH),
            (of_rabbit, PREFETCH + MORE),
            (of_redis, IN_HAND + MORE),
            (of_http, 1),
        )
    }

    async def acknowledged() -> bool:
        (group,) = redis.xinfo_groups(stream)
        return bool(group["pending"] == 0)

    await eventually(acknowledged, "no stream entry is pending")
    assert (await status(hub))["code"] == 200
    redis.close()
