"""Events over Redis, two nodes and a real Redis: nothing is lost, nothing is doubled, the queue goes on."""

from __future__ import annotations

import asyncio
import codecs
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
import redis as redis_py

from tests.support.hub import NO_TLS, REST, Hub, added, event, eventually, new_user
from tests.support.nodes import event_outcomes, run_nodes
from tests.support.redis_server import RedisServer
from tests.support.user_service import FakeUserService

CHANNEL = "inventory:low-stock"
STREAM = "inventory:low-stock:stream"
DEAD_LETTERS = f"{STREAM}.dlq"
GROUP = "notification_service_group"
CLAIM_AFTER = 1.0


@pytest_asyncio.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"), durable=True)
    server.start()
    yield server
    server.kill()


@pytest_asyncio.fixture(scope="module")
async def nodes(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory, server: RedisServer
) -> AsyncIterator[list[Hub]]:
    """Two nodes; each test leaves them and their Redis running."""
    own = {
        **environment,
        "REDIS_EVENTS_URL": server.url,
        "REDIS_CLAIM_AFTER": str(CLAIM_AFTER),
        "BATCH_SIZE": "50",
    }
    async with run_nodes(2, own, tmp_path_factory.mktemp("nodes")) as running:
        yield running


def publish(
    server: RedisServer, *messages: Any, transports: tuple[str, ...] = (STREAM,), field: str = "data"
) -> None:
    """Publish: objects as JSON, bytes as they are; each message on all `transports` before the next."""
    with server.client() as client, client.pipeline(transaction=False) as pipe:
        for message in messages:
            value = message if isinstance(message, bytes) else json.dumps(message).encode()
            if STREAM in transports:
                pipe.xadd(STREAM, {field: value})
            if CHANNEL in transports:
                pipe.publish(CHANNEL, value)
        pipe.execute()


async def asked(server: RedisServer, ask: Callable[[redis_py.Redis], Any]) -> Any:
    """What Redis answers, None while it doesn't."""
    try:
        with server.client() as client:
            return ask(client)
    except redis_py.RedisError:
        return None


def pending(client: redis_py.Redis) -> int:
    """Entries read and not acknowledged."""
    found: Any = client.xpending(STREAM, GROUP)
    return int(found["pending"])


async def all_acknowledged(server: RedisServer) -> None:
    async def none_left() -> bool:
        groups = await asked(server, lambda client: client.xinfo_groups(STREAM))
        with server.client() as client:
            last: Any = client.xinfo_stream(STREAM)["last-generated-id"]
        read_to = next(g["last-delivered-id"] for g in groups if g["name"] == GROUP.encode())
        return bool(read_to == last and await asked(server, pending) == 0)

    await eventually(none_left, "every entry is acknowledged")


async def outcomes(nodes: list[Hub]) -> int:
    """How many messages have come to their end over Redis, on all nodes."""
    found = await event_outcomes(nodes)
    return sum(count for (source, _), count in found.items() if source == "redis")


async def dead_letters(server: RedisServer) -> list[dict[bytes, bytes]]:
    """The dead letters, once there is one."""

    async def any_dead_letter() -> list[Any] | None:
        return await asked(server, lambda client: client.xrange(DEAD_LETTERS)) or None

    return [fields for _, fields in await eventually(any_dead_letter, "a dead letter")]


async def ready(nodes: list[Hub]) -> None:
    """Returns when all nodes read events."""

    async def are_ready() -> bool:
        async with httpx.AsyncClient(verify=NO_TLS) as client:
            answers = [await client.get(f"{node.http}{REST}/ready") for node in nodes]
        return all(answer.status_code == 200 for answer in answers)

    await eventually(are_ready, "the nodes read events")


async def names(hub: Hub, user: str, count: int) -> list[str]:
    rows = await hub.stored(user, count)
    assert [row["seq"] for row in rows] == list(range(1, count + 1))
    return [json.loads(row["raw_data"])["requester_username"] for row in rows]


@pytest.mark.parametrize("field", ["data", "payload", ""])
async def test_a_stream_entry_with_one_field_is_an_event(
    nodes: list[Hub], server: RedisServer, field: str
) -> None:
    user = new_user()
    publish(server, added(user), field=field)
    await nodes[0].stored(user, 1)
    await all_acknowledged(server)


async def test_a_stream_entry_with_several_fields_is_an_event(nodes: list[Hub], server: RedisServer) -> None:
    user = new_user()
    fields = {k: v if isinstance(v, str) else json.dumps(v) for k, v in added(user).items()}
    with server.client() as client:
        client.xadd(STREAM, {**fields, "event_id": "12345"})
    await nodes[0].stored(user, 1)
    assert await nodes[0].rows("select 1 from processed_events where event_id = '12345'")


async def test_a_message_on_the_channel_is_one_event_for_all_nodes(
    nodes: list[Hub], server: RedisServer
) -> None:
    before = await outcomes(nodes)
    user = new_user()
    publish(server, added(user), transports=(CHANNEL,))

    async def received_by_both() -> bool:
        return await outcomes(nodes) >= before + 2

    await eventually(received_by_both, "both nodes received it")
    assert len(await nodes[0].stored(user, 1)) == 1


@pytest.mark.parametrize("named", [True, False])
async def test_the_same_alert_over_both_transports_is_one_notification(
    nodes: list[Hub], server: RedisServer, named: bool
) -> None:
    before = await outcomes(nodes)
    user = new_user()
    alerts = [added(user, f"name {number}") for number in range(200)]
    if named:
        alerts = [{**alert, "event_id": str(uuid.uuid4())} for alert in alerts]
    publish(server, *alerts, transports=(CHANNEL, STREAM))

    async def all_done() -> bool:
        return await outcomes(nodes) >= before + 3 * len(alerts)

    await eventually(all_done, "each alert was met three times")
    assert len(set(await names(nodes[0], user, 200))) == 200


@pytest.mark.parametrize("transport", [STREAM, CHANNEL])
async def test_low_stock_needs_neither_type_nor_receivers_on_its_own_channel(
    nodes: list[Hub], server: RedisServer, transport: str
) -> None:
    product = f"Beans {uuid.uuid4()}"
    alert = json.dumps({"product_name": product, "current_stock": "3", "threshold": None}).encode()
    publish(server, codecs.BOM_UTF8 + alert, transports=(transport,))

    async def recorded() -> list[asyncpg.Record] | None:
        statement = "select status, reason from deliveries where data->>'product_name' = $1"
        return await nodes[0].rows(statement, product) or None

    [record] = await eventually(recorded, "the alert is recorded")
    assert record["status"] == "suppressed"
    assert "LOW_STOCK_RECEIVERS" in record["reason"]


POISON: dict[str, tuple[bytes, str]] = {
    "not JSON": (b"{", "not_json"),
    "empty": (b"", "not_json"),
    "not an object": (b"[1, 2]", "not_an_object"),
    "bad UTF-8": (json.dumps(added(new_user())).encode().replace(b"john_doe", b"\xff"), "bad_encoding"),
    "nested too deeply": (b"[" * 100_000 + b"]" * 100_000, "not_json"),
    "unknown event_type": (b'{"event_type": "group_exploded"}', "unknown_event_type"),
    "no event_type": (b"{}", "no_event_type"),
    "2 MB": (json.dumps(added(new_user(), "x" * 2_000_000)).encode(), "too_large"),
}


@pytest.mark.parametrize("name", POISON)
@pytest.mark.parametrize("transport", [STREAM, CHANNEL])
async def test_poison_has_one_dead_letter_with_its_reason_and_the_queue_goes_on(
    nodes: list[Hub], server: RedisServer, name: str, transport: str
) -> None:
    message, reason = POISON[name]
    with server.client() as client:
        client.delete(DEAD_LETTERS)
        for key in client.scan_iter("*:letter:*"):
            client.delete(key)
    user = new_user()
    before = await outcomes(nodes)
    publish(server, message, added(user), transports=(transport,))
    await nodes[0].stored(user, 1)
    if transport == CHANNEL:  # both nodes receive it, and write one dead letter together

        async def both() -> bool:
            return await outcomes(nodes) >= before + 4

        await eventually(both, "both nodes received it")
    else:
        await all_acknowledged(server)
    [dead_letter] = await dead_letters(server)
    assert dead_letter[b"dlq.reason"].decode() == reason
    assert dead_letter[b"dlq.error"]
    assert dead_letter[b"dlq.source"] == b"redis"
    assert dead_letter[b"dlq.stream" if transport == STREAM else b"dlq.channel"].decode() == transport
    assert dead_letter[b"value"] == message
    assert (b"dlq.id" in dead_letter) == (transport == STREAM)


async def test_no_code_stands_in_a_dead_letter_or_the_log(nodes: list[Hub], server: RedisServer) -> None:
    with server.client() as client:
        client.delete(DEAD_LETTERS)
    publish(server, b'{"email": "a@b.example", "otp\\u005fcode": "482913", "action": "register"}')
    [dead_letter] = await dead_letters(server)
    assert json.loads(dead_letter[b"value"])["email"] == "a@b.example"
    assert b"482913" not in b"".join(dead_letter.values())
    assert all("482913" not in node.log.read_text() for node in nodes)


async def mid_flow(server: RedisServer, nodes: list[Hub], break_it: Callable[[], Awaitable[None]]) -> None:
    """1,000 entries; something breaks when some are stored, and others are not yet."""
    user = new_user()
    alerts = [added(user, f"name {number}") for number in range(1000)]
    publish(server, *alerts[:600])
    await nodes[1].stored(user, 20)
    await break_it()
    publish(server, *alerts[600:])
    assert len(set(await names(nodes[1], user, 1000))) == 1000
    await all_acknowledged(server)
    await ready(nodes)


async def test_redis_dies_and_comes_back_in_mid_flow(nodes: list[Hub], server: RedisServer) -> None:
    async def restart() -> None:
        server.kill()
        server.start()

    await mid_flow(server, nodes, restart)


async def test_redis_becomes_unresponsive_in_mid_flow(nodes: list[Hub], server: RedisServer) -> None:
    async def freeze() -> None:
        server.freeze()

        async def noticed() -> bool:
            async with httpx.AsyncClient(verify=NO_TLS) as client:
                return (await client.get(f"{nodes[0].http}{REST}/ready")).status_code == 503

        try:
            await eventually(noticed, "/ready says that Redis is silent")
        finally:
            server.thaw()

    await mid_flow(server, nodes, freeze)


async def test_a_node_dies_in_mid_flow_and_the_other_takes_its_entries_over(
    nodes: list[Hub], server: RedisServer
) -> None:
    async def kill() -> None:
        await nodes[0].kill()
        await nodes[0].start()

    await mid_flow(server, nodes, kill)

    long_silent = 3 * CLAIM_AFTER
    await asyncio.sleep(long_silent)  # so that the dead consumer has been, too

    async def forgotten() -> bool:
        consumers = await asked(server, lambda client: client.xinfo_consumers(STREAM, GROUP))
        return all(consumer["idle"] < long_silent * 1000 for consumer in consumers)

    await eventually(forgotten, "the dead consumer is removed")


async def test_a_death_between_commit_and_acknowledgement_doubles_nothing(
    nodes: list[Hub], server: RedisServer
) -> None:
    user = new_user()
    await all_acknowledged(server)
    lock = await asyncpg.connect(nodes[0].database)
    try:
        async with lock.transaction():
            await lock.execute("lock table notifications")
            publish(server, added(user))

            async def writing() -> bool:
                waits = (
                    "select from pg_locks where not granted and relation = 'notifications'::regclass"
                    " and mode = 'RowExclusiveLock'"  # the batch's: what only reads waits for this table too
                )
                return bool(await lock.fetch(waits))

            await eventually(writing, "the event is about to be committed")
            server.freeze()
    finally:
        await lock.close()
    await nodes[0].stored(user, 1)
    await asyncio.gather(*(node.kill() for node in nodes))
    server.kill()  # and what was sent to it meanwhile is gone with it
    server.start()
    assert await asked(server, pending) == 1
    await asyncio.gather(*(node.start() for node in nodes))
    await all_acknowledged(server)
    assert len(await nodes[0].stored(user, 1)) == 1


async def test_an_event_is_acknowledged_once_parked_and_delays_no_other(
    nodes: list[Hub], server: RedisServer, user_service: FakeUserService
) -> None:
    group, user = str(uuid.uuid4()), new_user()
    user_service.add_group(group, "Family Group", [user])
    user_service.status = 503
    try:
        publish(server, {**event("food_expired", unit_name="a", storage_name="b"), "group_id": group})
        other = new_user()
        publish(server, added(other))
        await nodes[0].stored(other, 1)
        await all_acknowledged(server)
    finally:
        user_service.calm()
    await nodes[0].stored(user, 1)


async def test_what_a_dead_node_left_is_done_again_without_harm_even_when_it_was_trimmed(
    nodes: list[Hub], server: RedisServer
) -> None:
    user = new_user()
    before = await outcomes(nodes)
    with server.client() as client:
        ids: list[Any] = [client.xadd(STREAM, {"data": json.dumps(added(user, name))}) for name in "ab"]
        await nodes[0].stored(user, 2)
        await all_acknowledged(server)
        client.xclaim(STREAM, GROUP, "dead", 0, ids, force=True)
        client.xdel(STREAM, ids[0])
    assert await asked(server, pending) == 2

    async def none_left() -> bool:
        return bool(await asked(server, pending) == 0)

    await eventually(none_left, "both are acknowledged")
    assert await outcomes(nodes) == before + 3
    assert len(await nodes[0].stored(user, 2)) == 2


async def test_a_redis_that_was_emptied_is_read_again_from_its_first_entry(
    nodes: list[Hub], server: RedisServer
) -> None:
    user = new_user()
    with server.client() as client:
        client.flushall()
    publish(server, added(user))
    await nodes[0].stored(user, 1)
    await all_acknowledged(server)
    await ready(nodes)


async def test_a_lost_subscription_is_made_again(nodes: list[Hub], server: RedisServer) -> None:
    with server.client() as client:
        before = {each["id"] for each in client.client_list(_type="pubsub")}
        client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")

    async def subscribed() -> bool:
        now = await asked(server, lambda client: client.client_list(_type="pubsub"))
        ids = {each["id"] for each in now if each["sub"] == "1"}
        return len(ids) == len(before) and not ids & before

    await eventually(subscribed, "both nodes subscribe again")
    user = new_user()
    publish(server, added(user), transports=(CHANNEL,))
    await nodes[0].stored(user, 1)
