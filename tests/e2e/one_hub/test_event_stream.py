"""Event streams (Server-Sent Events): the frames, limits and ends of a WebSocket, for clients without one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import jwt
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.support.event_source import EventSource, address, event_source
from tests.support.hub import NO_TLS, Hub, added, eventually, new_user, receive, running_hub, token


@pytest_asyncio.fixture(scope="module")
async def strict_hub(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Hub]:
    """A hub with tight limits, and a separate Kafka topic: it need not read what the other one was sent."""
    limits = {
        "KAFKA_GROUP": environment["KAFKA_GROUP"] + "-events",
        "NOTIFICATION_TOPIC": environment["NOTIFICATION_TOPIC"] + "-events",
        "WS_PING_INTERVAL": "1",
        "WS_MAX_PER_USER": "2",
        "WS_WRITE_BUFFER": "65536",
    }
    async with running_hub({**environment, **limits}, tmp_path_factory.mktemp("strict") / "log") as running:
        yield running


async def test_a_plain_client_gets_what_a_plain_socket_gets(hub: Hub) -> None:
    user = new_user()
    async with event_source(hub, user) as stream, hub.socket(user) as socket:
        headers = stream.response.headers
        assert headers["content-type"] == "text/event-stream"
        assert headers["cache-control"] == "no-store, no-transform"
        assert headers["x-accel-buffering"] == "no"
        await hub.publish(*(added(user) for _ in range(3)))
        for _ in range(3):
            event = await stream.event()
            assert event.data == await receive(socket)
            assert event.id == str(event.data["data"]["seq"])
    assert 1000 <= stream.retry <= 5000


async def test_the_token_may_stand_in_the_address(hub: Hub) -> None:
    user = new_user()
    async with event_source(hub, user, f"?jwt={token(user)}", Authorization="Basic eA==") as stream:
        await hub.publish(added(user))
        assert await stream.seqs(1) == [1]


@pytest.mark.parametrize(
    "way", ["header", "last_event_id", "lastEventId", "after", "header over the address"]
)
async def test_a_client_that_comes_back_gets_what_it_missed_then_goes_live(hub: Hub, way: str) -> None:
    user = new_user()
    await hub.publish(*(added(user) for _ in range(4)))
    await hub.stored(user, 4)
    query = {"header": "", "header over the address": "?after=0"}.get(way, f"?{way}=2")
    async with event_source(hub, user, query, "2" if "header" in way else "") as stream:
        assert await stream.seqs(2) == [3, 4]
        await hub.publish(added(user))
        assert await stream.seqs(1) == [5]


async def test_what_was_missed_is_sent_however_much_it_is(hub: Hub) -> None:
    user = new_user()
    await hub.publish(*(added(user) for _ in range(1200)))
    await hub.stored(user, 1200)
    async with event_source(hub, user, last_event_id="1") as stream:
        assert await stream.seqs(1199) == list(range(2, 1201))


async def test_a_stream_that_ends_before_a_notification_is_resumed_from_where_it_began(hub: Hub) -> None:
    user = new_user()
    await hub.publish(added(user), added(user))
    await hub.stored(user, 2)
    async with event_source(hub, user, "?protocol=hub.v1") as stream:
        await stream.event("connected")
    assert stream.last_event_id == "2"
    await hub.publish(added(user))
    await hub.stored(user, 3)
    async with event_source(hub, user, last_event_id=stream.last_event_id) as stream:
        assert await stream.seqs(1) == [3]


async def test_after_an_erased_inbox_the_new_one_is_streamed(hub: Hub) -> None:
    user = new_user()
    async with event_source(hub, user, last_event_id="50") as stream:
        await hub.publish(added(user))
        assert await stream.seqs(1) == [1]


async def test_the_session_protocol_comes_as_named_events(hub: Hub) -> None:
    user = new_user()
    await hub.publish(added(user), added(user))
    first = (await hub.stored(user, 2))[0]["id"]
    async with event_source(hub, user, "?protocol=hub.v1&after=1") as stream, hub.client(user) as client:
        connected = await stream.event("connected")
        assert (connected.data["unread"], connected.data["last_seq"], connected.id) == (2, 2, "1")
        assert await stream.seqs(1) == [2]
        assert (await stream.event("resumed")).data["complete"]
        await client.patch(f"/notifications/{first}/users/{user}/read")
        read = await stream.event("notification_read")
        assert (read.data["id"], read.data["unread"], read.id) == (first, 1, "2")


@pytest.mark.parametrize(
    ("headers", "query", "status", "code"),
    [
        ({"Authorization": ""}, "", 401, "missing_token"),
        ({"Authorization": "Bearer x.y.z"}, "", 401, "invalid_token"),
        ({"Origin": "https://evil.example"}, "", 403, "foreign_origin"),
        ({"Last-Event-ID": "-1"}, "", 400, "bad_parameter"),
        ({"Last-Event-ID": "9" * 30}, "", 400, "bad_parameter"),
        ({}, "?after=one", 400, "bad_parameter"),
        ({}, "?protocol=hub.v2", 400, "bad_parameter"),
    ],
)
async def test_what_is_wrong_is_answered_as_by_rest(
    hub: Hub, headers: dict[str, str], query: str, status: int, code: str
) -> None:
    async with event_source(hub, new_user(), query, **headers) as stream:
        assert (stream.response.status_code, stream.response.json()["code"]) == (status, code)


async def test_another_users_stream_is_403(hub: Hub) -> None:
    headers = {"Authorization": f"Bearer {token(new_user())}"}
    async with event_source(hub, new_user(), **headers) as stream:
        assert stream.response.status_code == 403


async def test_an_allowed_page_may_read_it_and_send_its_last_event_id(hub: Hub) -> None:
    page, user = "https://app.example.com", new_user()
    async with event_source(hub, user, Origin=page) as stream:
        assert stream.response.headers["access-control-allow-origin"] == page
    asked = {"Origin": page, "Access-Control-Request-Method": "GET"}
    async with httpx.AsyncClient(verify=NO_TLS) as client:
        answer = await client.options(address(hub, user), headers=asked)
    assert "last-event-id" in answer.headers["access-control-allow-headers"].lower()


async def test_head_says_the_same_and_opens_nothing(hub: Hub) -> None:
    user = new_user()
    async with hub.client(user) as client:
        answer = await client.head(address(hub, user))
        refused = await client.head(address(hub, new_user()))
        other = await client.post(address(hub, user))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
    assert (refused.status_code, other.status_code) == (403, 405)

    async def none_open() -> bool:
        return await hub.metric("hub_event_streams") == 0

    await eventually(none_open, "there is no stream, once those of earlier tests are gone")


async def last_event(stream: EventSource) -> tuple[int, str]:
    """The code and the reason with which the hub ends the stream."""
    close = await stream.event("close")
    assert await stream.next() is None
    return close.data["code"], close.data["reason"]


@pytest.mark.parametrize("way", ["logout", "blocklist", "expiry"])
async def test_logout_revocation_and_expiry_end_a_stream_and_say_so(
    hub: Hub, redis_url: str, way: str
) -> None:
    user, other = new_user(), new_user()
    signed = token(user, **({"lifetime": 1} if way == "expiry" else {}))
    headers = {"Authorization": f"Bearer {signed}"}
    async with event_source(hub, user, **headers) as stream, event_source(hub, other) as untouched:
        claims = jwt.decode(signed, options={"verify_signature": False})
        if way == "logout":
            logout = {"event_type": "account_logged_out", "user_id": user, "access_token_id": claims["jti"]}
            await hub.publish({**logout, "timestamp": time.time()}, topic=hub.logout_topic)
        elif way == "blocklist":
            async with Redis.from_url(redis_url) as redis:
                await redis.set(f"user-service:jwt-blocklist:{claims['jti']}", "1")
        code, _ = await last_event(stream)
        assert code == {"logout": 4500, "blocklist": 4501, "expiry": 4401}[way]
        await hub.publish(added(other))
        assert await untouched.seqs(1) == [1]


async def test_streams_count_among_the_users_connections(strict_hub: Hub) -> None:
    user = new_user()
    async with event_source(strict_hub, user), strict_hub.socket(user):
        headers = {"Authorization": f"Bearer {token(user)}"}
        for _ in range(2):
            async with event_source(strict_hub, user, **headers) as third:
                assert third.response.status_code == 429
                assert int(third.response.headers["retry-after"]) > 0
        turned_away = 'hub_connections_refused_total{reason="turned_away"}'
        assert await strict_hub.metric(turned_away) == 1, "the second was refused before it was read"

        async def two() -> bool:
            streams = await strict_hub.metric("hub_event_streams")
            return (await strict_hub.metric("hub_connections"), streams) == (2, 1)

        await eventually(two, "only the two that were let in are open")

    async def gone() -> bool:
        return await strict_hub.metric("hub_connections") == 0

    await eventually(gone, "clients that hung up are forgotten")


async def test_heartbeats_keep_an_idle_stream_alive(strict_hub: Hub) -> None:
    user = new_user()
    async with event_source(strict_hub, user) as stream:
        await asyncio.sleep(2.5)
        await strict_hub.publish(added(user))
        assert await stream.seqs(1) == [1]
        assert stream.comments >= 1


async def test_a_reader_that_stops_is_dropped_and_others_are_served_meanwhile(strict_hub: Hub) -> None:
    slow, healthy = new_user(), new_user()
    large = added(slow, "x" * 500)
    large["data"]["padding"] = "x" * 15_000
    async with event_source(strict_hub, slow), event_source(strict_hub, healthy) as stream:
        for number in range(1, 7):
            await strict_hub.publish(*(large for _ in range(40)), added(healthy))
            assert await stream.seqs(1) == [number]

        async def dropped() -> bool:
            return await strict_hub.metric("hub_event_streams") == 1

        await eventually(dropped, "the slow reader was dropped")


async def test_a_node_that_stops_ends_its_streams_and_says_so(strict_hub: Hub) -> None:
    async with AsyncExitStack() as stack:  # the last test: it stops the module's hub
        streams = [await stack.enter_async_context(event_source(strict_hub, new_user())) for _ in range(3)]
        stopping = asyncio.create_task(strict_hub.stop())
        ends = await asyncio.gather(*map(last_event, streams))
        await stopping
    assert {code for code, _ in ends} == {1012}
    assert all("reconnect_within_ms" in reason for _, reason in ends)
