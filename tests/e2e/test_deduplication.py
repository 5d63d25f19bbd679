"""One event, one identity: over Kafka, RabbitMQ, Redis (stream, channel) and HTTP, in any order, at once."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from app.dev import samples
from app.dev.mail import MailCatcher
from tests.support.hub import (
    NO_TLS,
    REST,
    WAIT,
    Hub,
    added,
    eventually,
    new_user,
    quiet,
    receive,
    running_hub,
    token,
)
from tests.support.mailbox import mails, new_address, with_mail
from tests.support.nodes import event_outcomes, run_nodes
from tests.support.rabbitmq_server import RabbitMQ
from tests.support.redis_server import RedisServer

QUEUE = "notification.payment_events"
CHANNEL = "inventory:low-stock"
STREAM = "inventory:low-stock:stream"
OLD_IDS = """
insert into processed_events
values ('31 days old', now() - interval '31 days'), ('29 days old', now() - interval '29 days')
"""

Event = dict[str, Any]


@dataclass(frozen=True)
class World:
    """Two nodes of one hub, and what they hear events from."""

    nodes: list[Hub]
    rabbitmq: RabbitMQ
    redis: RedisServer
    mailbox: MailCatcher

    async def wait_for(self, outcomes: int) -> Counter[str]:
        """What became of all that came so far, once that many did."""

        async def all_came() -> Counter[str] | None:
            found = Counter[str]()
            for (_, outcome), count in (await event_outcomes(self.nodes)).items():
                found[outcome] += count
            return found if found.total() >= outcomes else None

        return await eventually(all_came, f"{outcomes} events reached their end")


async def by_kafka(world: World, events: Sequence[Event]) -> None:
    await world.nodes[0].publish(*events)


async def by_rabbitmq(world: World, events: Sequence[Event], **properties: Any) -> None:
    await world.rabbitmq.publish(QUEUE, *events, **properties)


async def by_stream(world: World, events: Sequence[Event]) -> None:
    with world.redis.client() as client:
        for each in events:
            client.xadd(STREAM, {"data": json.dumps(each)})
            await asyncio.sleep(0)


async def by_channel(world: World, events: Sequence[Event]) -> None:
    with world.redis.client() as client:
        for each in events:
            assert client.publish(CHANNEL, json.dumps(each)) == len(world.nodes)
            await asyncio.sleep(0)


async def by_http(world: World, events: Sequence[Event], **headers: str) -> None:
    async with service(world.nodes[0], **headers) as client:
        for each in events:
            answer = await client.post("/notifications", json=each)
            assert answer.status_code == 202, answer.text


async def by_bulk(world: World, events: Sequence[Event]) -> None:
    async with service(world.nodes[1]) as client:
        answer = await client.post("/notifications/bulk", json={"notifications": events})
        assert answer.json()["accepted"] == len(events), answer.text


def service(hub: Hub, **headers: str) -> httpx.AsyncClient:
    """A service that may send."""
    headers |= {"Authorization": f"Bearer {token('a-service', scope='notifications:send')}"}
    return httpx.AsyncClient(base_url=hub.http + REST, headers=headers, timeout=WAIT, verify=NO_TLS)


TRANSPORTS: Sequence[Callable[[World, Sequence[Event]], Awaitable[None]]] = (
    by_kafka,
    by_rabbitmq,
    by_stream,
    by_channel,
    by_http,
    by_bulk,
)
TIMES_RECEIVED = len(TRANSPORTS) + 1
"""How often an event that is published over all transports is received: over the channel by both nodes."""


@pytest_asyncio.fixture(scope="module")
async def redis_of_events(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest_asyncio.fixture(scope="module")
async def world(
    environment: dict[str, str],
    rabbitmq: RabbitMQ,
    redis_of_events: RedisServer,
    mailbox: MailCatcher,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[World]:
    operator = await asyncpg.connect(environment["DATABASE_URL"])
    await operator.execute(OLD_IDS)
    await operator.close()
    brokers = {"RABBITMQ_URL": rabbitmq.url, "REDIS_EVENTS_URL": redis_of_events.url}
    own = with_mail(environment, mailbox, **brokers, HTTP_WAIT="20")  # no 503, however busy the machine is
    async with run_nodes(2, own, tmp_path_factory.mktemp("nodes")) as nodes:
        yield World(nodes, rabbitmq, redis_of_events, mailbox)


def three_events() -> list[Event]:
    """One of each kind, whose receivers nobody else has; the third has two."""
    mark = new_user()
    return [
        {**samples.load(event_type).message, "event_id": f"{event_type} {mark}", **receivers}
        for event_type, receivers in (
            ("booking.confirmed", {"user_id": new_user(), "user_email": new_address()}),
            ("payment.failed", {"user_id": new_user(), "user_email": new_address()}),
            ("low_stock", {"receivers": [new_user(), new_user()]}),
        )
    ]


def receivers_of(each: Event) -> list[str]:
    return each.get("receivers") or [each["user_id"]]


async def frames_of(world: World, events: Sequence[Event], publish: Callable[[], Awaitable[None]]) -> None:
    """Each receiver, connected to one of the nodes, gets one frame of its event, and nothing else."""
    expected = {user: each for each in events for user in receivers_of(each)}
    async with AsyncExitStack() as connected:
        sockets = {
            user: await connected.enter_async_context(world.nodes[number % 2].socket(user))
            for number, user in enumerate(expected)
        }
        await publish()
        for user, socket in sockets.items():
            frame = await receive(socket)
            assert frame["event_type"] == expected[user]["event_type"]
            assert (frame["data"]["receiver"], frame["data"]["seq"]) == (user, 1)
        assert all(await asyncio.gather(*map(quiet, sockets.values()))), "a frame came twice"


async def stored_once(world: World, events: Sequence[Event]) -> None:
    """One row for each receiver; one delivery and one mail for each address."""
    hub = world.nodes[0]
    receivers = sorted(user for each in events for user in receivers_of(each))
    rows = await hub.rows("select receiver, seq from notifications where receiver = any($1)", receivers)
    assert sorted((str(row["receiver"]), row["seq"]) for row in rows) == [(user, 1) for user in receivers]
    addresses = sorted(each["user_email"] for each in events if "user_email" in each)

    async def all_sent() -> bool:
        found = await hub.rows("select status from deliveries where address = any($1)", addresses)
        return all(row["status"] == "sent" for row in found)

    await eventually(all_sent, "every delivery is sent")
    found = await hub.rows("select address from deliveries where address = any($1) order by 1", addresses)
    assert [row["address"] for row in found] == addresses
    assert [len(mails(world.mailbox, address)) for address in addresses] == [1] * len(addresses)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
async def test_over_all_transports_at_once_each_in_an_order_of_its_own_an_event_is_one(
    world: World, seed: int
) -> None:
    order = random.Random(seed)
    events = [each for _ in range(6) for each in three_events()]
    before = await world.wait_for(0)

    async def publish() -> None:
        await asyncio.gather(
            *(transport(world, order.sample(events, len(events))) for transport in TRANSPORTS)
        )
        after = await world.wait_for(before.total() + len(events) * TIMES_RECEIVED)
        assert after - before == {"stored": len(events), "duplicate": len(events) * (TIMES_RECEIVED - 1)}

    await frames_of(world, events, publish)
    await stored_once(world, events)


@pytest.mark.parametrize("first", TRANSPORTS)
async def test_whichever_transport_comes_first_the_others_change_nothing(
    world: World, first: Callable[[World, Sequence[Event]], Awaitable[None]]
) -> None:
    events = three_events()
    before = await world.wait_for(0)

    async def publish() -> None:
        await first(world, events)
        await world.nodes[0].stored(events[-1]["receivers"][0], 1)
        await asyncio.gather(
            *(transport(world, events) for transport in TRANSPORTS if transport is not first)
        )
        after = await world.wait_for(before.total() + len(events) * TIMES_RECEIVED)
        assert after - before == {"stored": len(events), "duplicate": len(events) * (TIMES_RECEIVED - 1)}

    await frames_of(world, events, publish)
    await stored_once(world, events)


async def test_without_an_event_id_each_transport_recognises_its_own_messages(
    world: World, environment: dict[str, str], tmp_path: Path
) -> None:
    """Over Kafka, RabbitMQ, Redis (stream, channel) and HTTP in one request: four events, however often."""
    user, hub = new_user(), world.nodes[0]
    event = added(user)
    key = {"Idempotency-Key": new_user()}
    await by_kafka(world, [event])
    for _ in range(2):
        await by_rabbitmq(world, [event], message_id=f"message of {user}")
        await by_stream(world, [event])
        await by_channel(world, [event])
        await by_http(world, [event], **key)
    await hub.stored(user, 4)
    everything = "select count(*), count(distinct id) from notifications"
    before = await hub.rows(everything)
    # A node of other groups is sent all that Kafka and the stream ever had.
    groups = {"KAFKA_GROUP": f"again-{user}", "REDIS_GROUP": f"again-{user}"}
    async with running_hub({**hub.environment, **groups}, tmp_path / "log") as again:
        with world.redis.client() as client:
            entries: Any = client.xlen(STREAM)
        records = await hub.records(hub.topic)
        expected = Counter({("kafka", "duplicate"): len(records), ("redis", "duplicate"): entries})

        async def all_came() -> bool:
            return await event_outcomes([again]) == expected

        await eventually(all_came, f"all came again, as duplicates: {expected}")
    assert await hub.rows(everything) == before
    assert [row["seq"] for row in await hub.stored(user, 4)] == [1, 2, 3, 4]


async def test_an_id_is_forgotten_after_30_days_and_not_before(world: World) -> None:
    async def forgotten() -> bool:
        found = await world.nodes[0].rows(
            "select event_id from processed_events where event_id like '% days old'"
        )
        return [row["event_id"] for row in found] == ["29 days old"]

    await eventually(forgotten, "the id of 31 days ago is removed")
