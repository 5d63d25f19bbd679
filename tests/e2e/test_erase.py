"""`run.py erase` on a running hub: nothing of the person is left, and another one is as before."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis as redis_py
from websockets.asyncio.client import connect

from app.dev import samples
from tests.support.command import Ended, run_command
from tests.support.hub import (
    NO_TLS,
    REST,
    Hub,
    added,
    close_code,
    eventually,
    new_user,
    receive,
    running_hub,
    token,
)
from tests.support.rabbitmq_server import RabbitMQ
from tests.support.redis_server import RedisServer
from tests.support.services import BROKER

STREAM = "inventory:low-stock:stream"
QUEUE = "notifications"


@pytest.fixture(scope="module")
def redis_events(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def environment(environment: dict[str, str], rabbitmq: RabbitMQ, redis_events: RedisServer) -> dict[str, str]:
    return {**environment, "RABBITMQ_URL": rabbitmq.url, "REDIS_EVENTS_URL": redis_events.url}


@dataclass
class Someone:
    user: str
    email: str
    phone: str

    @property
    def marks(self) -> tuple[str, ...]:
        return (self.user, self.user.replace("-", ""), self.email, self.phone)


def someone(number: int) -> Someone:
    return Someone(new_user(), f"Mai.{uuid.uuid4().hex}@Example.com", f"+8491234567{number}")


async def run_erase(hub: Hub, *arguments: str) -> Ended:
    return await asyncio.to_thread(run_command, ("erase", *arguments), hub.environment)


async def leave_traces(hub: Hub, rabbitmq: RabbitMQ, redis_events: RedisServer, who: Someone) -> None:
    """Each kind of row, dead letter and key that a person can leave."""
    profile = {"email": who.email, "phone": who.phone, "locale": "en"}
    async with hub.client(who.user) as client:
        answer = await client.put(f"/preferences/users/{who.user}/profile", json=profile)
        assert answer.status_code < 300, answer.text
    booked = samples.load("booking.confirmed").message
    await hub.publish(
        {**added(who.user), "event_id": f"welcome-{who.user}"},
        {**booked, "event_id": f"booked:{who.email}", "user_id": who.user, "user_email": who.email},
        {**booked, "event_id": None, "user_id": None, "user_email": who.email.lower()},
        {**added(who.user.upper()), "event_type": "group_exploded"},
    )
    code = {"email": who.email, "otp_code": "482913", "action": "register"}
    await hub.publish(code, topic=hub.environment["REGISTRATION_EVENTS_TOPIC"])
    headers = {"Authorization": f"Bearer {token('kitchen', scope='notifications:send')}"}
    async with httpx.AsyncClient(base_url=hub.http + REST, headers=headers, verify=NO_TLS) as service:
        later = {"type": "inapp", "user_id": who.user, "message": "Hi", "send_at": "2099-01-01T00:00:00Z"}
        key = {"Idempotency-Key": f"to {who.user}"}
        assert (await service.post("/notifications", json=later, headers=key)).status_code == 202
        now = {"event_id": f"to:{who.phone}", "type": "sms", "to": who.phone, "message": "Hi"}
        key = {"Idempotency-Key": uuid.uuid4().hex}
        assert (await service.post("/notifications", json=now, headers=key)).status_code == 202
    bad = {"event_type": "group_exploded", "user_email": who.email, "receivers": [who.user]}
    await rabbitmq.publish(QUEUE, bad)
    with redis_events.client() as client:
        client.xadd(STREAM, {"data": json.dumps(bad)})

    async def all_there() -> bool:
        done = "select count(*) from deliveries where finished_at is not null and lower(address) = any($1)"
        [deliveries] = await hub.rows(done, [who.email.lower(), who.phone])
        dead_letters = len(await dead_letters_naming(who, hub, rabbitmq, redis_events))
        return deliveries["count"] == 4 and dead_letters == 3

    await hub.stored(who.user, 2)
    await eventually(all_there, "all has come to its end")
    await hub.rows("""
        insert into delivery_attempts (delivery_id, number, started_at, seconds, outcome, error)
        select id, 1, now(), 0.1, 'failed', 'no such mailbox: ' || address from deliveries
        on conflict do nothing
    """)
    await hub.rows(
        """
        insert into devices (id, user_id, endpoint, public_key, auth)
        values (gen_random_uuid(), $1, 'https://push.example.com/a', '', '')
        """,
        uuid.UUID(who.user),
    )
    await hub.rows(
        """
        insert into addresses (id, user_id, channel, address, expires_at, confirmed_at)
        values (gen_random_uuid(), $1, 'email', $2, now(), now())
        """,
        uuid.UUID(who.user),
        who.email,
    )
    await hub.rows(
        """
        insert into broadcasts (event_id, event_type, source, audience, body, state)
        values ($1, 'message', 'http', '{"everyone": true}', convert_to('for ' || $1, 'UTF8'), 'paused')
        """,
        who.user,
    )
    await hub.rows(
        "insert into topic_followers (topic_key, user_id) values ('news', $1)", uuid.UUID(who.user)
    )
    await hub.rows(
        """
        insert into archived_notifications
          (id, receiver, created_at, template_code, raw_data, is_read, title, content, seq)
        select max(id) + 1, $1, now(), 'MESSAGE', '{}', true, 'T', 'C', 1 from (
          select id from notifications union all select id from archived_notifications
        ) as known
        """,
        uuid.UUID(who.user),
    )
    await hub.rows(
        """
        with made as (
          insert into webhook_endpoints (id, url, kinds, secret, disabled_at)
          values (gen_random_uuid(), 'https://hooks.example.com/', '{}', '', now()) returning id
        )
        insert into webhook_messages (endpoint_id, kind, user_id, data)
        select id, 'notification.read', $1, '{}' from made
        """,
        uuid.UUID(who.user),
    )
    await hub.rows(
        "insert into decisions (event_id, channel, user_id, reason) values ('e', 'email', $1, 'off')",
        uuid.UUID(who.user),
    )
    await hub.rows("""
        insert into delivery_events (delivery_id, key, kind, happened_at, detail)
        select id, 'k', 'deferred', now(), 'mailbox full: ' || address from deliveries
        on conflict do nothing
    """)
    await hub.rows(
        """
        insert into parked_events
          (position, lane, event_id, source, dedup_key, body, deadline, next_attempt_at)
        select $1, gen_random_uuid(), $1, 'kafka', $1, $2, tomorrow, tomorrow
        from (select now() + interval '1 day' as tomorrow) as soon
        """,
        f"parked-{uuid.uuid4()}",
        json.dumps(bad).encode(),
    )


def names(text: object, who: Someone) -> bool:
    return any(mark.lower() in str(text).lower() for mark in who.marks)


async def rows_naming(who: Someone, hub: Hub) -> dict[str, list[str]]:
    """By table, each row in which they stand anywhere, as text."""
    tables = await hub.rows("select tablename from pg_tables where schemaname = 'public'")
    found = {}
    for (table,) in tables:
        rows = [str(tuple(row)) for row in await hub.rows(f"select * from {table}")]
        found[table] = sorted(row for row in rows if names(row, who))
    return found


async def dead_letters_naming(
    who: Someone, hub: Hub, rabbitmq: RabbitMQ, redis_events: RedisServer
) -> list[object]:
    """Dead letters of all three brokers. Those of RabbitMQ stay where they are."""
    dead_letters: list[object] = [record.value for record in await hub.records(f"{hub.topic}.dlq")]
    async with rabbitmq.channel() as channel:
        queue = await channel.get_queue(f"{QUEUE}.dlq")
        while (dead_letter := await queue.get(fail=False)) is not None:
            dead_letters.append(dead_letter.body)
    with redis_events.client() as client:
        entries: Any = client.xrange(f"{STREAM}.dlq")
        dead_letters += [fields for _, fields in entries]
    return [dead_letter for dead_letter in dead_letters if names(dead_letter, who)]


def topics_of(hub: Hub) -> list[str]:
    return [value for name, value in hub.environment.items() if name.endswith("_TOPIC")]


def presence(hub: Hub) -> set[bytes]:
    """Who is connected, as Redis knows it."""
    with redis_py.Redis.from_url(hub.environment["REDIS_URL"]) as client:
        buckets: Any = client.keys(f"{hub.environment['REDIS_PREFIX']}:presence:*")
        return {user for bucket in buckets for user in client.hkeys(bucket)}


def redis_naming(who: Someone, hub: Hub, redis_events: RedisServer) -> list[str]:
    """The keys of the hub in which they stand, by name or value, as text or as an id's bytes."""
    marks = [*(mark.lower() for mark in who.marks), repr(uuid.UUID(who.user).bytes)[2:-1].lower()]
    ours = (hub.environment["REDIS_PREFIX"].encode(), STREAM.encode())
    with redis_py.Redis.from_url(hub.environment["REDIS_URL"]) as hubs, redis_events.client() as events:
        return [
            key.decode()
            for client in (hubs, events)
            for key in client.scan_iter()
            if key.startswith(ours)
            and key != STREAM.encode()  # the publishers' own
            and any(mark in f"{key} {value_of(client, key)}".lower() for mark in marks)
        ]


def value_of(client: redis_py.Redis, key: bytes) -> object:
    read: dict[bytes, Callable[[], object]] = {
        b"string": lambda: client.get(key),
        b"hash": lambda: client.hgetall(key),
        b"list": lambda: client.lrange(key, 0, -1),
        b"set": lambda: client.smembers(key),
        b"zset": lambda: client.zrange(key, 0, -1),
        b"stream": lambda: client.xrange(key),
        b"none": lambda: None,  # it expired
    }
    kind: Any = client.type(key)
    return read[kind]()


async def test_nothing_of_the_person_is_left_and_another_is_untouched(
    hub: Hub, rabbitmq: RabbitMQ, redis_events: RedisServer, pytestconfig: pytest.Config
) -> None:
    gone, other = someone(1), someone(2)
    for who in (gone, other):
        await leave_traces(hub, rabbitmq, redis_events, who)
    before = await rows_naming(other, hub)
    empty = {table for table, rows in (await rows_naming(gone, hub)).items() if not rows}
    # A suppression names a hash of an address only, and stays: mail must not begin again.
    tables_without = {"alembic_version", "suppressions", "webhook_endpoints", "topics"}
    assert empty - {"archive_sweeps"} == tables_without, "each other table names them"
    async with hub.socket(gone.user) as socket, hub.socket(other.user) as others:
        dry = await run_erase(hub, gone.user, "--dry-run")
        assert dry.status == 0, dry.errors
        assert sum(map(len, (await rows_naming(gone, hub)).values())) > 0
        assert len(redis_naming(gone, hub, redis_events)) > 1, "presence, and a dead letter"
        erased = await run_erase(hub, gone.user, "--yes")
        assert erased.status == 0, erased
        assert await close_code(socket) == 4500
        assert uuid.UUID(gone.user).bytes not in presence(hub)
        assert redis_naming(gone, hub, redis_events) == []
        assert uuid.UUID(other.user).bytes in presence(hub)
        await hub.publish(added(other.user))
        assert (await receive(others))["data"]["seq"] == 3
    assert not any((await rows_naming(gone, hub)).values())
    after = await rows_naming(other, hub)
    assert [
        table for table in before if not set(before[table]) - set(after[table]) <= {*before["inboxes"]}
    ] == []
    kept = "mock" in pytestconfig.stash[BROKER].description  # the embedded broker removes no records
    assert len(await dead_letters_naming(gone, hub, rabbitmq, redis_events)) == int(kept)
    assert len(await dead_letters_naming(other, hub, rabbitmq, redis_events)) == 3
    removed, _, left = erased.output.decode().partition("Removed:")[2].partition("Left:")
    assert dict(line.rsplit(maxsplit=1) for line in removed.splitlines() if line) == {
        "  nodes they are connected to": "1",
        **{f"  Kafka topic {topic}.dlq": "0" for topic in topics_of(hub)},
        **({} if kept else {f"  Kafka topic {hub.topic}.dlq": "1"}),
        "  RabbitMQ queue notification.booking_events.dlq": "0",
        "  RabbitMQ queue notification.payment_events.dlq": "0",
        "  RabbitMQ queue notifications.dlq": "1",
        f"  Redis stream {STREAM}.dlq": "1",
        "  scheduled_events": "1",
        "  parked_events": "1",
        "  broadcasts": "1",
        "  idempotency_keys": "2",
        "  processed_events": "3",
        "  delivery_attempts": "4",
        "  delivery_events": "4",
        "  deliveries": "4",
        "  webhook_messages": "1",
        "  decisions": "1",
        "  inboxes": "1",
        "  notifications": "2",
        "  archived_notifications": "1",
        "  archive_sweeps": "0",
        "  topic_followers": "1",
        "  devices": "1",
        "  addresses": "1",
        "  preferences": "1",
    }
    assert ("it removes no records" in left) == kept
    assert f"Redis stream {STREAM} " in left


async def test_again_nothing_is_found_and_a_new_notification_is_the_first(hub: Hub) -> None:
    who = someone(3)
    await hub.publish(added(who.user), added(who.user))
    await hub.stored(who.user, 2)
    assert (await run_erase(hub, who.user, "--yes")).status == 0
    again = await run_erase(hub, who.user, "--yes", "--address", who.email)
    assert again.status == 0
    removed = again.output.decode().partition("Removed:")[2].partition("Left:")[0]
    assert {line.split()[-1] for line in removed.splitlines() if line} == {"0"}
    protocols: Any = ["hub.v1", f"bearer.{token(who.user)}"]
    async with connect(hub.socket_address(who.user) + "?after=2", subprotocols=protocols) as socket:
        assert (await receive(socket))["last_seq"] == 0
        assert (await receive(socket))["complete"] is False
        await hub.publish(added(who.user))
        assert (await receive(socket))["data"]["seq"] == 1
    assert [row["seq"] for row in await hub.stored(who.user, 1)] == [1]


async def test_without_a_terminal_nothing_is_removed_without_confirmation(hub: Hub) -> None:
    user = new_user()
    await hub.publish(added(user))
    await hub.stored(user, 1)
    refused = await run_erase(hub, user)
    assert refused.status == 1
    assert "Add --yes" in refused.errors
    assert len(await hub.stored(user, 1)) == 1
    assert (await run_erase(hub, "not-a-uuid")).status == 2


async def test_when_something_does_not_answer_nothing_is_removed(hub: Hub) -> None:
    user = new_user()
    await hub.publish(added(user))
    await hub.stored(user, 1)
    away = Hub({**hub.environment, "RABBITMQ_URL": "amqp://guest:guest@127.0.0.1:1/"}, hub.log)
    failed = await run_erase(away, user, "--yes")
    assert failed.status == 1
    assert failed.errors.startswith("rabbitmq: ")
    assert "Nothing was removed: run the command again" in failed.errors
    assert "guest" not in failed.errors
    assert len(await hub.stored(user, 1)) == 1


async def test_connections_end_on_every_node(environment: dict[str, str], tmp_path: Path) -> None:
    user, other = new_user(), new_user()
    own = {**environment, "WORKERS": "2"}
    async with running_hub(own, tmp_path / "log") as nodes, AsyncExitStack() as opened:
        theirs = [await opened.enter_async_context(nodes.socket(user)) for _ in range(8)]
        others = await opened.enter_async_context(nodes.socket(other))
        erased = await run_erase(nodes, user, "--yes")
        assert erased.status == 0, erased
        assert {await close_code(socket) for socket in theirs} == {4500}
        await nodes.publish(added(other))
        assert (await receive(others))["data"]["seq"] == 1
    assert uuid.UUID(user).bytes not in presence(nodes)
