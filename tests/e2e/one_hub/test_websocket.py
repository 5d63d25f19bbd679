"""The WebSocket endpoint as plain clients meet it: who gets in, who is sent away, who is dropped."""

from __future__ import annotations

import asyncio
import json
import socket as sockets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
import pytest_asyncio
from redis.asyncio import Redis
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from tests.support.hub import (
    REST,
    WAIT,
    WEBSOCKET,
    Hub,
    added,
    eventually,
    new_user,
    receive,
    running_hub,
    token,
)


@pytest_asyncio.fixture(scope="module")
async def strict_hub(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Hub]:
    """A hub with tight limits, and a separate Kafka topic: it need not read what the other one was sent."""
    limits = {
        "KAFKA_GROUP": environment["KAFKA_GROUP"] + "-strict",
        "NOTIFICATION_TOPIC": environment["NOTIFICATION_TOPIC"] + "-strict",
        "WS_PING_INTERVAL": "1",
        "WS_MAX_PER_USER": "2",
        "WS_MAX_FRAMES": "10",
        "WS_MAX_UPGRADES": "2",
        "WS_MAX_MESSAGE": "1000",
        "WS_WRITE_BUFFER": "65536",
    }
    async with running_hub({**environment, **limits}, tmp_path_factory.mktemp("strict") / "log") as running:
        yield running


async def refused(hub: Hub, user: str, **options: Any) -> Any:
    """The HTTP answer to an upgrade that is not let in."""
    with pytest.raises(InvalidStatus) as caught:
        async with hub.socket(user, **options):
            pass
    return caught.value.response


async def closed(socket: Any) -> int | None:
    """The code the hub closes with."""
    async with asyncio.timeout(WAIT):
        await socket.wait_closed()
    return int(socket.close_code)


@pytest.mark.parametrize("way", ["header", "query", "subprotocol"])
async def test_a_token_is_accepted_in_three_places(hub: Hub, way: str) -> None:
    user = new_user()
    signed = token(user)
    address = hub.socket_address(user)
    options: dict[str, Any] = {}
    match way:
        case "header":
            options = {"additional_headers": {"Authorization": f"Bearer {signed}"}}
        case "query":
            address += f"?jwt={signed}"
        case "subprotocol":
            options = {"subprotocols": [Subprotocol("hub.v1"), Subprotocol(f"bearer.{signed}")]}
    async with connect(address, **options) as socket:
        assert socket.subprotocol == ("hub.v1" if way == "subprotocol" else None)
        if way == "subprotocol":
            assert (await receive(socket))["type"] == "connected"
        await hub.publish(added(user))
        assert (await receive(socket))["data"]["receiver"] == user


async def test_a_bad_token_is_401_and_no_socket(hub: Hub) -> None:
    user = new_user()
    for bad in ("", "Bearer nonsense", f"Bearer {token(user, lifetime=-60)}", f"Bearer {token(user)}="):
        answer = await refused(hub, user, additional_headers={"Authorization": bad})
        assert answer.status_code == 401
        assert json.loads(answer.body)["status"] == 401


async def test_another_users_path_is_403_and_no_socket(hub: Hub) -> None:
    headers = {"Authorization": f"Bearer {token(new_user())}"}
    assert (await refused(hub, new_user(), additional_headers=headers)).status_code == 403


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "https://app.example.com.evil.example", "http://app.example.com"],
)
async def test_a_foreign_origin_is_403_and_no_socket(hub: Hub, origin: str) -> None:
    assert (await refused(hub, new_user(), origin=origin)).status_code == 403


async def test_an_allowed_origin_is_let_in(hub: Hub) -> None:
    async with hub.socket(new_user(), origin="https://app.example.com"):
        pass


async def test_a_revoked_token_is_401(hub: Hub, redis_url: str) -> None:
    user = new_user()
    async with Redis.from_url(redis_url) as redis:
        await redis.set(f"user-service:global_revoke_ts:{user}", int(time.time()) + 5)
    answer = await refused(hub, user)
    assert answer.status_code == 401
    assert json.loads(answer.body)["code"] == "revoked_token"


@pytest.mark.parametrize("way", ["blocklist", "global"])
async def test_revoking_a_token_ends_its_open_connections_within_two_seconds(
    hub: Hub, redis_url: str, way: str
) -> None:
    user, other = new_user(), new_user()
    signed = token(user)
    headers = {"Authorization": f"Bearer {signed}"}
    async with hub.socket(user, additional_headers=headers) as socket, hub.socket(other) as untouched:
        async with Redis.from_url(redis_url) as redis:
            if way == "blocklist":
                claims = jwt.decode(signed, options={"verify_signature": False})
                await redis.sadd(f"user-service:jwt-blocklist:{claims['jti']}", "of any type")
            else:
                await redis.set(f"user-service:global_revoke_ts:{user}", int(time.time()) + 5)
        async with asyncio.timeout(2):
            await socket.wait_closed()
        assert socket.close_code == 4501
        await hub.publish(added(user), added(other))
        assert (await receive(untouched))["data"]["receiver"] == other


async def test_a_request_that_is_no_upgrade_gets_426(hub: Hub) -> None:
    user = new_user()
    async with hub.client(user) as client:
        answer = await client.get(f"{hub.http}{WEBSOCKET}/notifications/users/{user}")
    assert answer.status_code == 426
    assert answer.headers["upgrade"] == "websocket"


async def test_a_clients_own_identity_headers_are_ignored(hub: Hub) -> None:
    user, other = new_user(), new_user()
    headers = {"Authorization": f"Bearer {token(other)}", "X-User-Id": user, "X-Consumer-Custom-Id": user}
    assert (await refused(hub, user, additional_headers=headers)).status_code == 403


async def test_the_end_of_the_token_is_the_end_of_the_connection(hub: Hub) -> None:
    user = new_user()
    headers = {"Authorization": f"Bearer {token(user, lifetime=1)}"}
    async with hub.socket(user, additional_headers=headers) as socket:
        assert await closed(socket) == 4401


async def test_one_connection_too_many_is_closed_with_4429(strict_hub: Hub) -> None:
    user = new_user()
    async with strict_hub.socket(user), strict_hub.socket(user) as second:
        async with strict_hub.socket(user) as third:
            assert await closed(third) == 4429
        await second.close()

        async def another() -> bool:
            async with strict_hub.socket(user) as socket:
                try:
                    await asyncio.wait_for(socket.wait_closed(), 0.2)
                except TimeoutError:
                    return True
            return False

        assert await eventually(another, "the place of the closed one is free")


async def test_too_many_frames_from_a_client_are_4429(strict_hub: Hub) -> None:
    async with strict_hub.socket(new_user()) as socket:
        with suppress(ConnectionClosed):
            for _ in range(1000):
                await socket.send("chatter")
        assert await closed(socket) == 4429


async def test_a_message_too_large_is_1009(strict_hub: Hub) -> None:
    async with strict_hub.socket(new_user()) as socket:
        await socket.send("x" * 2000)
        assert await closed(socket) == 1009


async def test_bad_utf8_is_1007(strict_hub: Hub) -> None:
    async with strict_hub.socket(new_user()) as socket:
        await socket.send(b"\xff\xfe", text=True)
        assert await closed(socket) == 1007


async def test_upgrades_over_the_limit_wait_for_their_turn_and_are_not_refused(strict_hub: Hub) -> None:
    async def come() -> None:
        async with strict_hub.socket(new_user()):
            pass

    async with asyncio.timeout(WAIT):
        await asyncio.gather(*(come() for _ in range(60)))


@asynccontextmanager
async def silent_client(hub: Hub, user: str) -> AsyncIterator[sockets.socket]:
    """A client that upgrades and then never reads, nor answers a ping."""
    where = urlsplit(hub.http)
    with sockets.socket() as raw:
        raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
        raw.connect((where.hostname, where.port))
        raw.sendall(
            f"GET {WEBSOCKET}/notifications/users/{user} HTTP/1.1\r\nHost: hub\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            f"Sec-WebSocket-Version: 13\r\nAuthorization: Bearer {token(user)}\r\n\r\n".encode()
        )
        raw.setblocking(False)
        head = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(raw, 12), WAIT)
        assert head == b"HTTP/1.1 101"
        yield raw


async def connections(hub: Hub) -> int:
    return int(await hub.metric("hub_connections"))


async def test_a_client_that_vanished_is_found_and_dropped(strict_hub: Hub) -> None:
    async def none() -> bool:
        return await connections(strict_hub) == 0

    await eventually(none, "those of earlier tests are gone")
    async with silent_client(strict_hub, new_user()):
        assert await connections(strict_hub) == 1
        await eventually(none, "the silent client was dropped", within=20)


async def test_a_slow_client_is_dropped_and_others_are_served_meanwhile(
    environment: dict[str, str], tmp_path: Path
) -> None:
    settings = {
        **environment,
        "KAFKA_GROUP": environment["KAFKA_GROUP"] + "-slow",
        "NOTIFICATION_TOPIC": environment["NOTIFICATION_TOPIC"] + "-slow",
        "WS_WRITE_BUFFER": "65536",
    }
    slow, healthy = new_user(), new_user()
    large = added(slow, "x" * 500)
    large["data"]["padding"] = "x" * 15_000
    async with (
        running_hub(settings, tmp_path / "log") as hub,
        silent_client(hub, slow),
        hub.socket(healthy) as socket,
    ):
        for _ in range(20):
            await hub.publish(*(large for _ in range(20)), added(healthy))
            assert (await receive(socket))["data"]["receiver"] == healthy

        async def dropped() -> bool:
            return await connections(hub) == 1

        await eventually(dropped, "the slow client was dropped")


async def test_no_token_stands_in_the_log(hub: Hub) -> None:
    user = new_user()
    signed = token(user)
    async with connect(f"{hub.socket_address(user)}?jwt={signed}"):
        pass
    async with hub.client(user) as client:
        await client.get(f"{hub.http}/nowhere?jwt={signed}")
        await client.get(f"{hub.http}{REST}/notifications/users/{user}?jwt={signed}&limit=x")
    log = hub.log.read_text()
    assert "ready" in log
    assert signed not in log
    assert signed.rsplit(".", 1)[1] not in log
