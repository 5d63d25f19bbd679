"""RabbitMQ as a source: nothing lost, nothing doubled, and what can't be processed delays nothing else."""

from __future__ import annotations

import asyncio
import codecs
import gzip
import json
import signal
import uuid
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from struct import pack
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr

from app.domain.errors import Unavailable
from app.settings.sources import RabbitMqSettings
from app.sources.rabbitmq.dlq import open_dlq
from tests.support.certificates import Authority
from tests.support.hub import Hub, added, event, eventually, new_user, receive, running_hub
from tests.support.network import open_proxy
from tests.support.rabbitmq_server import RabbitMQ, RabbitMQServer
from tests.support.user_service import FakeUserService

QUEUES = ("notification.booking_events", "notification.payment_events", "notifications")
QUEUE, LIMITED_QUEUE = QUEUES[0], QUEUES[2]
QUEUE_SETTINGS = ("BOOKING_EVENTS_QUEUE", "PAYMENT_EVENTS_QUEUE", "NOTIFICATIONS_QUEUE")
DUPLICATES = 'hub_events_total{outcome="duplicate",source="rabbitmq"}'


@pytest_asyncio.fixture(scope="module")
async def environment(environment: dict[str, str], rabbitmq: RabbitMQ) -> dict[str, str]:
    """One queue is there before the hub, with arguments that the hub wouldn't give it."""
    async with rabbitmq.channel() as channel:
        await channel.declare_queue(LIMITED_QUEUE, durable=True, arguments={"x-max-length": 1000})
    return {**environment, "RABBITMQ_URL": rabbitmq.url}


@pytest.fixture
def user() -> str:
    return new_user()


@pytest_asyncio.fixture
async def lone_hub(environment: dict[str, str], tmp_path: Path) -> AsyncIterator[Hub]:
    """A running hub that shares its queues and its Kafka topic with no other."""
    mark = uuid.uuid4().hex[:8]
    own = {setting: f"{setting.lower()}-{mark}" for setting in (*QUEUE_SETTINGS, "NOTIFICATION_TOPIC")}
    async with running_hub({**environment, **own}, tmp_path / "log") as hub:
        yield hub


def queue_of(hub: Hub) -> str:
    return hub.environment[QUEUE_SETTINGS[0]]


async def counted(hub: Hub, user: str) -> Counter[str]:
    """How many rows the user has of each requester."""
    rows = await hub.rows("select raw_data from notifications where receiver = $1", uuid.UUID(user))
    return Counter(json.loads(row["raw_data"])["requester_username"] for row in rows)


@pytest.mark.parametrize("queue", QUEUES)
async def test_an_event_of_each_queue_is_stored_pushed_and_acknowledged(
    hub: Hub, rabbitmq: RabbitMQ, user: str, queue: str
) -> None:
    async with hub.socket(user) as socket:
        await rabbitmq.publish(queue, added(user))
        frame = await receive(socket)
    assert frame["event_type"] == "group_user_added"
    assert [row["seq"] for row in await hub.stored(user, 1)] == [1]


@pytest.mark.parametrize(
    ("encoding", "encode"), [("gzip", gzip.compress), ("DEFLATE", zlib.compress), ("utf-8", bytes)]
)
async def test_a_message_in_a_content_encoding_is_decoded(
    hub: Hub, rabbitmq: RabbitMQ, user: str, encoding: str, encode: Callable[[bytes], bytes]
) -> None:
    async with hub.socket(user) as socket:
        message = encode(codecs.BOM_UTF8 + json.dumps(added(user)).encode())
        await rabbitmq.publish(QUEUE, message, content_encoding=encoding)
        assert (await receive(socket))["event_type"] == "group_user_added"


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


BAD: dict[str, tuple[Any, dict[str, Any], str]] = {
    "not JSON": (b"{", {}, "not_json"),
    "empty": (b"", {}, "not_json"),
    "unknown event_type": ({"event_type": "group_exploded", "data": {}}, {}, "unknown_event_type"),
    "missing field": (event("group_user_added", [new_user()]), {}, "bad_field"),
    "2 MB": ({**added(new_user()), "padding": "x" * 2_000_000}, {}, "too_large"),
    "a bomb": (gzip.compress(b"0" * 50_000_000), {"content_encoding": "gzip"}, "too_large"),
    "an unknown encoding": (b"{}", {"content_encoding": "br"}, "bad_content_encoding"),
    "a type that isn't UTF-8": (
        b"[3]",
        {"message_id": "id.", "swap": (b"id.", b"\xff\xfei")},
        "not_an_object",
    ),
    "a timestamp in microseconds": (
        b"[4]",
        {"timestamp": at(77), "swap": (pack(">Q", 77), pack(">Q", 1_795_000_000_000_000))},
        "not_an_object",
    ),
    "headers that fill a frame": (b"[2]", {"headers": {"big": "x" * 130_900}}, "not_an_object"),
}


@pytest.mark.parametrize("name", BAD)
async def test_poison_is_dead_lettered_with_its_reason_and_the_queue_goes_on(
    hub: Hub, rabbitmq: RabbitMQ, user: str, name: str
) -> None:
    message, properties, reason = BAD[name]
    async with hub.socket(user) as socket:
        await rabbitmq.publish(QUEUE, message, **properties)
        await rabbitmq.publish(QUEUE, added(user))
        assert (await receive(socket))["data"]["receiver"] == user
    [dead_letter] = await rabbitmq.dead_letters(QUEUE)
    assert dead_letter.headers["dlq.reason"] == reason
    assert dead_letter.headers["dlq.queue"] == QUEUE
    assert dead_letter.headers["dlq.error"]
    assert dead_letter.body == (message if isinstance(message, bytes) else json.dumps(message).encode())
    assert dead_letter.delivery_mode == 2


async def test_a_dead_letter_keeps_what_the_publisher_sent(hub: Hub, rabbitmq: RabbitMQ) -> None:
    said: dict[str, Any] = {
        "headers": {"trace": "abc", "depth": 3},
        "message_id": "booking-17",
        "content_type": "application/json",
        "correlation_id": "c1",
        "timestamp": at(1_795_000_000),
    }
    await rabbitmq.publish(QUEUE, b"no", **said, expiration="60000")
    [dead_letter] = await rabbitmq.dead_letters(QUEUE)
    assert dead_letter.headers["trace"] == "abc"
    assert dead_letter.headers["depth"] == 3
    assert dead_letter.headers["dlq.message_id"] == dead_letter.message_id == "booking-17"
    assert (dead_letter.content_type, dead_letter.correlation_id) == ("application/json", "c1")
    assert dead_letter.timestamp == said["timestamp"]
    assert dead_letter.expiration is None
    assert dead_letter.headers["dlq.expiration"] == "60000"


async def test_no_code_gets_into_a_dead_letter_or_the_log(hub: Hub, rabbitmq: RabbitMQ) -> None:
    asked = {"event_type": "otp_register", "email": "no address", "otp_code": "482913", "action": "register"}
    await rabbitmq.publish(QUEUE, asked, b'{"otp_code": "482913"')
    dead_letters = await rabbitmq.dead_letters(QUEUE, 2)
    assert not [
        dead_letter
        for dead_letter in dead_letters
        if "482913" in f"{dead_letter.body!r} {dead_letter.headers}"
    ]
    assert "482913" not in hub.log.read_text()


async def test_more_parked_events_than_the_broker_sends_ahead_block_no_other(
    hub: Hub, rabbitmq: RabbitMQ, user: str, user_service: FakeUserService
) -> None:
    group_id, member = str(uuid.uuid4()), new_user()
    user_service.add_group(group_id, "Late", [member])
    user_service.awake.clear()
    try:
        waits = {**event("food_expired", unit_name="Trứng", storage_name="Kho"), "group_id": group_id}
        await rabbitmq.publish(QUEUE, *({**waits, "number": number} for number in range(2100)))
        await rabbitmq.publish(QUEUE, added(user))
        await hub.stored(user, 1)
        assert not await hub.rows("select 1 from notifications where template_code = 'FOOD_EXPIRED'")
    finally:
        user_service.calm()
    rows = await hub.stored(member, 2100)
    assert [json.loads(row["raw_data"])["number"] for row in rows] == [*range(2100)]


async def test_the_same_message_again_is_no_second_notification(
    hub: Hub, rabbitmq: RabbitMQ, user: str
) -> None:
    await rabbitmq.publish(QUEUE, added(user, "a"), added(user, "a"))
    await rabbitmq.publish(QUEUE, added(user, "b"), added(user, "c"), message_id="one")
    await rabbitmq.publish(QUEUE, added(user, "a"), timestamp=at(1_795_000_000))
    await rabbitmq.publish(QUEUE, added(user, "end"))
    await hub.stored(user, 4)
    assert await counted(hub, user) == {"a": 2, "b": 1, "end": 1}


async def test_a_queue_that_has_other_arguments_is_used_as_it_is(
    hub: Hub, rabbitmq: RabbitMQ, user: str
) -> None:
    await rabbitmq.publish(LIMITED_QUEUE, b"{", added(user))
    await hub.stored(user, 1)
    [dead_letter] = await rabbitmq.dead_letters(LIMITED_QUEUE)
    assert dead_letter.headers["dlq.reason"] == "not_json"


@pytest.fixture
def own_rabbitmq(tmp_path: Path) -> Iterator[RabbitMQServer]:
    """A broker of this test's own, which it may stop."""
    server = RabbitMQServer(tmp_path / "rabbitmq")
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("count", "stop", "start"),
    [
        pytest.param(400, RabbitMQServer.stop_app, RabbitMQServer.start_app, id="application"),
        pytest.param(2000, RabbitMQServer.stop, RabbitMQServer.start, id="process", marks=pytest.mark.slow),
    ],
)
async def test_a_broker_restarted_in_mid_flow_loses_and_doubles_nothing(
    environment: dict[str, str],
    own_rabbitmq: RabbitMQServer,
    user: str,
    tmp_path: Path,
    count: int,
    stop: Callable[[RabbitMQServer], None],
    start: Callable[[RabbitMQServer], None],
) -> None:
    names = [f"name {number}" for number in range(count)]
    async with own_rabbitmq.channel() as channel:
        await channel.declare_queue(QUEUE, durable=True)
    await own_rabbitmq.publish(QUEUE, *(added(user, name) for name in names))
    own = {"RABBITMQ_URL": own_rabbitmq.url, "NOTIFICATION_TOPIC": f"notifications-{uuid.uuid4().hex[:8]}"}
    async with running_hub({**environment, **own}, tmp_path / "log") as hub:
        await hub.stored(user, 1)
        await asyncio.to_thread(stop, own_rabbitmq)
        async with hub.client(user) as client:
            answer = await client.get("/ready")
            assert answer.status_code == 503
            assert answer.json()["dependencies"]["rabbitmq"]["status"] == "down"
            assert answer.json()["dependencies"]["kafka"]["status"] == "up"
            other = new_user()
            await hub.publish(added(other))
            await hub.stored(other, 1)
        await asyncio.to_thread(start, own_rabbitmq)
        await own_rabbitmq.publish(QUEUE, added(user, "after"))
        await hub.stored(user, count + 1)
        assert await counted(hub, user) == dict.fromkeys([*names, "after"], 1)
        assert "guest:guest" not in hub.log.read_text()


@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.slow)])
async def test_a_hub_killed_between_commit_and_acknowledgement_loses_and_doubles_nothing(
    lone_hub: Hub, rabbitmq: RabbitMQ, count: int
) -> None:
    queue, user = queue_of(lone_hub), new_user()
    names = [f"name {number}" for number in range(count)]
    await lone_hub.stop()
    lone_hub.command = ("-m", "faults.failing_hub", "before-ack", "die")
    await lone_hub.start()
    await rabbitmq.publish(queue, *(added(user, name) for name in names))
    assert await lone_hub.wait() == -signal.SIGKILL
    committed = sum((await counted(lone_hub, user)).values())
    assert committed > 0
    lone_hub.command = ("run.py",)
    await lone_hub.start()
    await rabbitmq.publish(queue, added(user, "after"))
    await lone_hub.stored(user, count + 1)
    assert await counted(lone_hub, user) == dict.fromkeys([*names, "after"], 1)

    async def came_again() -> bool:
        return await lone_hub.metric(DUPLICATES) == committed

    await eventually(came_again, "what was committed came again, and nothing else")
    await lone_hub.stop()
    assert await rabbitmq.depth(queue) == 0


@pytest.mark.slow  # of kills, one at the worst moment is in every run
@pytest.mark.parametrize(("count", "kills"), [(900, 2), (3000, 3)])
async def test_a_hub_killed_at_any_moment_loses_and_doubles_nothing(
    lone_hub: Hub, rabbitmq: RabbitMQ, count: int, kills: int
) -> None:
    queue, user = queue_of(lone_hub), new_user()
    names = [f"name {number}" for number in range(count)]
    publishing = asyncio.create_task(rabbitmq.publish(queue, *(added(user, name) for name in names)))
    for part in range(kills):
        await lone_hub.stored(user, 1 + count * part // (kills + 1))
        await lone_hub.kill()
        await lone_hub.start()
    await publishing
    await lone_hub.stored(user, count)
    assert await counted(lone_hub, user) == dict.fromkeys(names, 1)
    await lone_hub.stop()
    assert await rabbitmq.depth(queue) == 0


async def test_amqps_checks_the_certificate_by_the_ca_that_the_url_names(
    rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    """The DLQ reader and the source connect with the same call."""
    authority = Authority(tmp_path)
    async with open_proxy(rabbitmq.port, ssl=authority.server("127.0.0.1")) as proxy:
        url = f"amqps://guest:guest@127.0.0.1:{proxy.port}/{rabbitmq.vhost}"
        trusting = f"{url}?cafile={authority.certificate}"
        async with open_dlq(RabbitMqSettings(url=SecretStr(trusting))) as reader:
            async for _ in reader.dead_letters(False):
                pass
        with pytest.raises(Unavailable, match=r"(?i)certificate"):
            async with open_dlq(RabbitMqSettings(url=SecretStr(url))):
                pass
