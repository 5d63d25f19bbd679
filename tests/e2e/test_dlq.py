"""Dead letters as a tool, on Kafka, RabbitMQ and Redis: found, shown, replayed once, dropped."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
import redis as redis_py
from aiokafka import AIOKafkaProducer

from app.settings import load
from app.sources import BROKERS
from app.sources.dlq import DeadLetter
from tests.support.command import run_command
from tests.support.hub import ROOT, Hub, event, eventually, free_port, new_user, running_hub
from tests.support.nodes import event_outcomes
from tests.support.rabbitmq_server import RabbitMQ
from tests.support.user_service import FakeUserService

TRANSPORTS = ("kafka", "rabbitmq", "redis")


@pytest.fixture(scope="module")
def environment(environment: dict[str, str], rabbitmq: RabbitMQ, redis_url: str) -> dict[str, str]:
    mark = uuid.uuid4().hex[:8]
    return {
        **environment,
        "RABBITMQ_URL": rabbitmq.url,
        "REDIS_EVENTS_URL": redis_url,
        "LOW_STOCK_STREAM": f"stream-{mark}",
        "LOW_STOCK_CHANNEL": f"channel-{mark}",
    }


@dataclass
class Scene:
    """A hub, what feeds it, and the command."""

    hub: Hub
    rabbitmq: RabbitMQ

    @property
    def queue(self) -> str:
        return "notifications"

    def redis(self) -> redis_py.Redis:
        return redis_py.Redis.from_url(self.hub.environment["REDIS_EVENTS_URL"])

    async def publish(self, transport: str, message: Any) -> bytes:
        """Publish one message: an object as JSON, bytes as they are; its bytes."""
        value = message if isinstance(message, bytes) else json.dumps(message).encode()
        if transport == "kafka":
            await self.hub.publish(value)
        elif transport == "rabbitmq":
            await self.rabbitmq.publish(self.queue, value)
        else:
            with self.redis() as client:
                if transport == "redis":
                    client.xadd(self.hub.environment["LOW_STOCK_STREAM"], {"data": value})
                else:
                    client.publish(self.hub.environment["LOW_STOCK_CHANNEL"], value)
        return value

    async def dead_letters(self, source: str, body: bytes) -> list[DeadLetter]:
        """The dead letters of a message."""
        settings = load(_env_file="", **{name.lower(): value for name, value in self.hub.environment.items()})
        [broker] = [each for each in BROKERS if each.name == source]
        async with broker.open_dlq(settings) as reader:
            return [
                dead_letter async for dead_letter in reader.dead_letters(False) if dead_letter.body == body
            ]

    async def dead_letter(self, source: str, body: bytes, attempts: int = 1) -> DeadLetter:
        """The dead letter of a message, once there is one with so many attempts."""

        async def there() -> DeadLetter | None:
            found = [
                each
                for each in await self.dead_letters(source, body)
                if each.why["dlq.attempts"] == str(attempts)
            ]
            return found[0] if found else None

        return await eventually(there, f"the dead letter of {body[:60]!r}")

    async def dlq(self, *arguments: str, status: int = 0) -> tuple[bytes, str]:
        """Run the command; what it printed, and what it complained of."""
        ended, printed, complaints = await asyncio.to_thread(
            run_command, ("dlq", *arguments), self.hub.environment
        )
        assert ended == status, (printed, complaints)
        return printed, complaints

    async def listed(self, *arguments: str) -> list[dict[str, Any]]:
        """What is listed, that of a partition, queue or stream together and in the list's order."""
        printed, _ = await self.dlq("list", "--json", "--limit", "1000", *arguments)
        found = [json.loads(line) for line in printed.splitlines()]
        return sorted(found, key=lambda each: each["id"].rpartition(":")[0])

    async def outcomes(self, source: str, outcome: str) -> int:
        return (await event_outcomes([self.hub]))[(source, outcome)]


@pytest_asyncio.fixture(scope="module")
async def scene(
    environment: dict[str, str], rabbitmq: RabbitMQ, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Scene]:
    async with running_hub(environment, tmp_path_factory.mktemp("hub") / "log") as hub:
        yield Scene(hub, rabbitmq)


def of_group(group_id: str) -> dict[str, Any]:
    """An event of a group that the user service has to know, without an event_id."""
    return {**event("food_expired", unit_name="Trứng", storage_name="Kho"), "group_id": group_id}


@pytest.mark.parametrize("transport", [*TRANSPORTS, "channel"])
async def test_poison_is_listed_with_its_reason_and_shown_byte_by_byte(scene: Scene, transport: str) -> None:
    source = "redis" if transport == "channel" else transport
    body = await scene.publish(
        transport, b'{"broken": "S\xe1\xbb\xafa\x1b[2J\xff ' + uuid.uuid4().hex.encode()
    )
    dead_letter = await scene.dead_letter(source, body)
    (entry,) = [each for each in await scene.listed("--source", source) if each["id"] == dead_letter.id]
    assert entry["why"]["dlq.reason"] == "bad_encoding"
    assert entry["why"]["dlq.attempts"] == "1"
    assert entry["why"]["dlq.source"] == source
    shown, _ = await scene.dlq("show", dead_letter.id)
    assert b"bad_encoding" in shown
    assert '{"broken": "Sữa\\x1b[2J\\xff '.encode() in shown
    raw, _ = await scene.dlq("show", "--raw", dead_letter.id)
    assert raw == body


@pytest.mark.parametrize("source", TRANSPORTS)
async def test_what_can_be_handled_now_is_replayed_and_stored_once(
    scene: Scene, user_service: FakeUserService, source: str
) -> None:
    group_id, user = str(uuid.uuid4()), new_user()
    body = await scene.publish(source, of_group(group_id))
    dead_letter = await scene.dead_letter(source, body)
    assert dead_letter.reason == "unknown_group"
    await again(scene, dead_letter)  # interrupted before the dead letter was removed, a replay leaves two

    before = await scene.listed()
    printed, _ = await scene.dlq(
        "replay", "--all", "--reason", "unknown_group", "--source", source, "--dry-run"
    )
    assert printed.endswith(b"2 would be replayed\n")
    assert await scene.listed() == before
    assert await scene.outcomes(source, "duplicate") == 0

    user_service.add_group(group_id, "Late", [user])
    with scene.redis() as client:  # a day later nobody knows what was said before
        client.delete(*client.keys("*:heard:*"), "none")
    printed, _ = await scene.dlq(
        "replay", "--all", "--reason", "unknown_group", "--source", source, "--rate", "50"
    )
    assert printed.endswith(b"2 replayed\n")
    await scene.hub.stored(user, 1)

    async def both() -> bool:
        """Parked, rejected, and parked twice again, unless the first was stored before the second came. One
        that was parked counts once more, as a duplicate, when it is resolved.
        """
        return await scene.outcomes(source, "duplicate") + await scene.outcomes(source, "parked") >= 3

    await eventually(both, "the event came a second time, and changed nothing")
    assert len(await scene.hub.stored(user, 1)) == 1
    known_by = "select from processed_events where event_id = $1"
    assert len(await scene.hub.rows(known_by, dead_letter.why["dlq.position"])) == 1
    assert await scene.dead_letters(source, body) == []
    _, complaint = await scene.dlq("replay", dead_letter.id, status=1)
    assert f"No dead letter {dead_letter.id}." in complaint


async def again(scene: Scene, dead_letter: DeadLetter) -> None:
    """Write the same dead letter a second time."""
    if dead_letter.source == "kafka":
        records = await scene.hub.records(f"{scene.hub.topic}.dlq")
        (record,) = [
            each for each in records if dead_letter.handle[:2] == ((each.topic, each.partition), each.offset)
        ]
        producer = AIOKafkaProducer(bootstrap_servers=scene.hub.environment["KAFKA_BOOTSTRAP_SERVERS"])
        async with producer:
            await producer.send_and_wait(record.topic, record.value, headers=list(record.headers))
    elif dead_letter.source == "rabbitmq":
        properties = dead_letter.handle.header.properties
        kept = {"headers": properties.headers, "message_id": properties.message_id}
        await scene.rabbitmq.publish(f"{scene.queue}.dlq", dead_letter.body, **kept)
    else:
        with scene.redis() as client:
            stream = f"{scene.hub.environment['LOW_STOCK_STREAM']}.dlq"
            [(_, fields)] = client.xrange(stream, dead_letter.handle, dead_letter.handle)
            client.xadd(stream, fields)


@pytest.mark.parametrize("transport", [*TRANSPORTS, "channel"])
async def test_what_fails_again_has_a_new_dead_letter_that_counts_on(scene: Scene, transport: str) -> None:
    source = "redis" if transport == "channel" else transport
    body = await scene.publish(transport, of_group(str(uuid.uuid4())))
    first = await scene.dead_letter(source, body)
    await scene.dlq("replay", first.id)
    second = await scene.dead_letter(source, body, attempts=2)
    assert second.why["dlq.position"] == first.why["dlq.position"]
    assert second.id != first.id
    assert [each.id for each in await scene.dead_letters(source, body)] == [second.id]
    await scene.dlq("drop", second.id)


async def test_a_record_is_replayed_with_key_headers_and_partition_and_no_header_of_the_dead_letter(
    scene: Scene,
) -> None:
    body = json.dumps({"event_type": "nobody_knows", "mark": uuid.uuid4().hex}).encode()
    producer = AIOKafkaProducer(bootstrap_servers=scene.hub.environment["KAFKA_BOOTSTRAP_SERVERS"])
    async with producer:
        sent = await producer.send_and_wait(
            scene.hub.topic, body, key=b"the key", partition=1, headers=[("trace", b"a"), ("trace", b"b")]
        )
    dead_letter = await scene.dead_letter("kafka", body)
    await scene.dlq("replay", dead_letter.id)
    first, second = [each for each in await scene.hub.records(scene.hub.topic) if each.value == body]
    assert (first.partition, first.offset) == (1, sent.offset)
    assert (second.key, second.partition) == (b"the key", 1)
    position = f"kafka:{scene.hub.topic}:1:{sent.offset}:{sent.timestamp}"
    assert list(second.headers) == [
        ("trace", b"a"),
        ("trace", b"b"),
        ("hub.position", position.encode()),
        ("hub.attempts", b"1"),
    ]


async def test_a_redacted_dead_letter_is_shown_redacted_and_never_replayed(scene: Scene) -> None:
    topic = scene.hub.environment["REGISTRATION_EVENTS_TOPIC"]
    asked = {"email": "no address", "otp_code": "482913", "action": "register"}
    await scene.hub.publish(asked, topic=topic)
    await scene.publish("rabbitmq", {**asked, "event_type": "otp_register"})
    await scene.hub.dead_letters(topic=topic)

    async def both() -> list[dict[str, Any]] | None:
        found = [each for each in await scene.listed() if "dlq.redacted" in each["why"]]
        return found if len(found) == 2 else None

    redacted = await eventually(both, "two dead letters without their codes")
    for each in redacted:
        shown, _ = await scene.dlq("show", each["id"])
        assert b"482913" not in shown
        assert b"impossible: its secret was redacted" in shown
        printed, _ = await scene.dlq("replay", each["id"], status=1)
        assert printed.endswith(b"0 replayed, 1 cannot be\n")
    assert [each for each in await scene.listed() if "dlq.redacted" in each["why"]] == redacted


@pytest.mark.parametrize("source", TRANSPORTS)
async def test_dropped_is_what_was_chosen_and_the_rest_stays_in_its_order(scene: Scene, source: str) -> None:
    bodies = [await scene.publish(source, f"[{uuid.uuid4().int}]".encode()) for _ in range(3)]
    ids = [(await scene.dead_letter(source, body)).id for body in bodies]
    before = [each["id"] for each in await scene.listed("--source", source)]
    await scene.dlq("drop", ids[1], "--dry-run")
    assert [each["id"] for each in await scene.listed("--source", source)] == before
    await scene.dlq("drop", ids[1])
    assert [each["id"] for each in await scene.listed("--source", source)] == [
        each for each in before if each != ids[1]
    ]
    if source == "kafka":
        done = {each["id"]: each["done"] for each in await scene.listed("--source", source, "--all")}
        assert (done[ids[1]], done[ids[0]]) == ("dropped", None)


async def test_an_unavailable_broker_is_named_and_the_dead_letters_of_the_others_are_shown(
    scene: Scene,
) -> None:
    body = await scene.publish("redis", f"[{uuid.uuid4().int}]".encode())
    dead_letter = await scene.dead_letter("redis", body)
    nobody = f"127.0.0.1:{free_port()}"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "run.py", "dlq", "list"),
        cwd=ROOT,
        env={
            **os.environ,
            **scene.hub.environment,
            "RABBITMQ_URL": f"amqp://guest:secret@{nobody}/",
            "KAFKA_BOOTSTRAP_SERVERS": nobody,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, complaints = await process.communicate()
    assert process.returncode == 1
    assert dead_letter.id.encode() in printed
    kafka, rabbitmq = complaints.decode().splitlines()
    assert kafka.endswith(f"Does a broker answer at {nobody}?")
    assert rabbitmq.startswith("rabbitmq: ")
    assert "secret" not in rabbitmq


async def test_dead_letters_of_a_source_that_is_not_set_up_cannot_be_requested(scene: Scene) -> None:
    environment = {**scene.hub.environment, "REDIS_EVENTS_URL": ""}
    status, _, complaint = await asyncio.to_thread(
        run_command, ("dlq", "list", "--source", "redis"), environment
    )
    assert status == 1
    assert complaint.startswith("REDIS_EVENTS_URL is not set.")
