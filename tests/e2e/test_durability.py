"""Nothing consumed is lost, nothing is stored twice: shutdown, crash, redelivery, Postgres away."""

from __future__ import annotations

import asyncio
import signal
import uuid
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.support.hub import Hub, added, eventually, new_user, receive


async def _read_all(socket: ClientConnection) -> None:
    with suppress(ConnectionClosed):
        while True:
            await receive(socket)


async def test_shutdown_closes_clients_with_1012_and_loses_nothing_that_was_consumed(own_hub: Hub) -> None:
    users = [new_user() for _ in range(50)]
    published = [added(user, f"name {number}") for number in range(40) for user in users]
    async with own_hub.socket(users[0]) as socket:
        publishing = asyncio.create_task(own_hub.publish(*published))
        await receive(socket)
        reading = asyncio.create_task(_read_all(socket))
        assert await own_hub.stop() == 0
        await reading
        assert socket.close_code == 1012
        await publishing
    await own_hub.start()
    for user in users:
        rows = await own_hub.stored(user, 40)
        assert [row["seq"] for row in rows] == list(range(1, 41))


async def test_a_redelivered_batch_gives_no_second_row(own_hub: Hub) -> None:
    user = new_user()
    events = [{**added(user), "event_id": str(uuid.uuid4())} for _ in range(20)]
    await own_hub.publish(*events)
    await own_hub.stored(user, 20)
    await own_hub.publish(*events, added(user))
    rows = await own_hub.stored(user, 21)
    assert [row["seq"] for row in rows] == list(range(1, 22))


async def test_a_record_that_is_consumed_again_gives_no_second_row(own_hub: Hub) -> None:
    user = new_user()
    await own_hub.publish(*(added(user) for _ in range(20)))
    await own_hub.stored(user, 20)
    await own_hub.stop()
    own_hub.environment = {**own_hub.environment, "KAFKA_GROUP": f"again-{uuid.uuid4().hex[:8]}"}
    await own_hub.start()
    await own_hub.publish(added(user))
    rows = await own_hub.stored(user, 21)
    assert [row["seq"] for row in rows] == list(range(1, 22))


@pytest.mark.parametrize("moment", ["before-publish", "before-offset"])
async def test_a_crash_between_commit_and_offset_loses_no_push(own_hub: Hub, moment: str) -> None:
    """The node dies after the commit; its successor finds the event again and tells who is there, before
    anything newer, and nobody twice.
    """
    user = new_user()
    await all_read(own_hub)
    await own_hub.stop()
    own_hub.command = ("-m", "faults.failing_hub", moment, "die")
    await own_hub.start()
    await own_hub.publish(added(user), partition=0)
    assert await own_hub.wait() == -signal.SIGKILL
    assert len(await own_hub.stored(user, 1)) == 1
    own_hub.command = ("run.py",)
    own_hub.launch()
    async with await connected_first(own_hub, user) as socket:
        assert (await receive(socket))["data"]["seq"] == 1
        await own_hub.publish(added(user), topic=own_hub.topic, partition=1)
        assert (await receive(socket))["data"]["seq"] == 2
    assert len(await own_hub.stored(user, 2)) == 2


async def all_read(hub: Hub) -> None:
    """Returns when the hub has read what earlier tests published: the next one would die of it."""
    last = new_user()
    for partition in range(2):
        await hub.publish(added(last), partition=partition)
    await hub.stored(last, 2)


async def connected_first(hub: Hub, user: str) -> ClientConnection:
    """A socket from the moment that the hub listens: before Kafka assigns its partitions."""

    async def connected() -> ClientConnection | None:
        try:
            return await hub.socket(user)
        except (OSError, InvalidHandshake):
            return None

    return await eventually(connected, "the hub accepts a socket", 90.0)


async def test_while_postgres_is_away_events_wait_and_ready_says_so(own_hub: Hub) -> None:
    user = new_user()
    name = own_hub.database.rsplit("/", 1)[1]
    admin = await asyncpg.connect(own_hub.database.rsplit("/", 1)[0] + "/postgres")
    try:
        logged = len(own_hub.log.read_text())
        await admin.execute(f"alter database {name} allow_connections false")
        await admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name)
        async with own_hub.client(user) as client:
            assert (await client.get("/ready")).status_code == 503
            answer = await client.get(f"/notifications/users/{user}")
            assert answer.status_code == 503
            assert answer.json()["code"] == "dependency_down"
        await own_hub.publish(*(added(user) for _ in range(5)))

        async def stalled() -> bool:
            return "store_unavailable" in own_hub.log.read_text()[logged:]

        await eventually(stalled, "the hub met a Postgres that is away")
        await admin.execute(f"alter database {name} allow_connections true")
    finally:
        await admin.close()
    rows = await own_hub.stored(user, 5)
    assert [row["seq"] for row in rows] == [1, 2, 3, 4, 5]


async def test_two_nodes_of_one_group_share_the_work_and_store_everything_once(
    own_hub: Hub, tmp_path: Path
) -> None:
    """A node joins in the middle and the other leaves: rebalances, but no loss and no second row."""
    users = [new_user() for _ in range(20)]
    second = Hub(own_hub.environment, tmp_path / "second")
    published = [added(user, f"name {number}") for number in range(100) for user in users]
    publishing = asyncio.create_task(own_hub.publish(*published[:1000]))
    await second.start()
    try:
        await publishing
        await own_hub.publish(*published[1000:1500])
        await own_hub.stop()
        await own_hub.publish(*published[1500:])
        for user in users:
            rows = await second.stored(user, 100)
            assert [row["seq"] for row in rows] == list(range(1, 101))
    finally:
        await second.stop()
        print(second.log.read_text()[-4000:])
