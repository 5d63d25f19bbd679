"""Forged, spoiled and revoked tokens at every door: REST, and the WebSocket in each way to bring one.

What the verifier itself makes of them is tested in tests/unit/test_tokens.py.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import jwt
import pytest
import pytest_asyncio
from cryptography.fernet import Fernet
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from tests.support.forged import AUDIENCE, PUBLIC_KEY, claims, forged, hs256, rs256
from tests.support.hub import (
    NO_TLS,
    REST,
    WEBSOCKET,
    Hub,
    close_code,
    eventually,
    new_user,
    receive,
    running_hub,
    token,
)
from tests.support.redis_server import RedisServer

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"), durable=True)
    server.start()
    yield server
    server.kill()


@dataclass
class Doors:
    """A hub with one algorithm, and all ways into it."""

    hub: Hub
    algorithm: str
    client: httpx.AsyncClient

    def good(self, user: str) -> str:
        return (hs256 if self.algorithm == "HS256" else rs256)(claims(user, jti=new_user()))

    async def statuses(self, user: str, bearer: str) -> dict[str, int]:
        """What this token gets of each call of its user."""
        header = {"Authorization": f"Bearer {bearer}"}
        socket = f"{WEBSOCKET}/notifications/users/{user}"
        offered = {"Sec-WebSocket-Protocol": f"hub.v1, bearer.{bearer}"}
        requests = {
            "list": self.client.get(f"{REST}/notifications/users/{user}", headers=header),
            "read": self.client.patch(f"{REST}/notifications/users/{user}/read", headers=header),
            "deliveries": self.client.get(f"{REST}/deliveries", headers=header),
            "socket": self.client.get(socket, headers={**UPGRADE, **header}),
            "socket, ?jwt=": self.client.get(socket, headers=UPGRADE, params={"jwt": bearer}),
            "socket, subprotocol": self.client.get(socket, headers={**UPGRADE, **offered}),
        }
        answers = await asyncio.gather(*requests.values())
        return {name: answer.status_code for name, answer in zip(requests, answers, strict=True)}


@pytest_asyncio.fixture(scope="module", params=["HS256", "RS256"])
async def doors(
    request: pytest.FixtureRequest, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Doors]:
    own = {
        **environment,
        "KAFKA_GROUP": f"{environment['KAFKA_GROUP']}-{request.param}",
        "JWT_ALGORITHM": request.param,
        "JWT_PUBLIC_KEY": PUBLIC_KEY.replace("\n", "\\n"),
        "JWT_AUDIENCE": AUDIENCE,
        "DELIVERY_KEYS": Fernet.generate_key().decode(),
    }
    log = tmp_path_factory.mktemp("doors") / "log"
    async with running_hub(own, log) as hub, httpx.AsyncClient(base_url=hub.http, verify=NO_TLS) as client:
        yield Doors(hub, request.param, client)


async def test_a_valid_token_is_accepted_by_every_endpoint_of_its_user(doors: Doors) -> None:
    user = new_user()
    assert await doors.statuses(user, doors.good(user)) == {
        "list": 200,
        "read": 200,
        "deliveries": 403,
        "socket": 101,
        "socket, ?jwt=": 101,
        "socket, subprotocol": 101,
    }


async def test_a_forged_token_opens_none(doors: Doors) -> None:
    user = new_user()
    for name, bearer in forged(user, doors.algorithm).items():
        statuses = await doors.statuses(user, bearer)
        assert set(statuses.values()) == {401}, f"{name}: {statuses}"
        assert bearer not in doors.hub.log.read_text()


async def test_a_forged_token_renews_nothing(doors: Doors) -> None:
    user = new_user()
    protocols = [Subprotocol("hub.v1"), Subprotocol(f"bearer.{doors.good(user)}")]
    async with connect(doors.hub.socket_address(user), subprotocols=protocols) as socket:
        assert (await receive(socket))["type"] == "connected"
        for name, bearer in forged(user, doors.algorithm).items():
            await socket.send(json.dumps({"type": "token", "jwt": bearer}))
            answer = await receive(socket)
            assert answer["type"] == "error", name
            assert answer["code"] in ("invalid_token", "expired_token", "missing_token"), name


async def test_a_token_in_the_address_opens_no_rest(doors: Doors) -> None:
    user = new_user()
    good = doors.good(user)
    for name in ("jwt", "token", "access_token"):
        answer = await doors.client.get(f"{REST}/notifications/users/{user}", params={name: good})
        assert answer.status_code == 401
    answer = await doors.client.get(f"{REST}/notifications/users/{user}", headers={"Cookie": f"jwt={good}"})
    assert answer.status_code == 401


async def test_a_bad_token_is_not_made_good_by_another_beside_it(doors: Doors) -> None:
    user, other = new_user(), new_user()
    socket = f"{WEBSOCKET}/notifications/users/{user}"
    foreign = {"Authorization": f"Bearer {doors.good(other)}"}
    answer = await doors.client.get(socket, headers={**UPGRADE, **foreign}, params={"jwt": doors.good(user)})
    assert answer.status_code == 403
    for bad in ("a.b.c", doors.good(other)):
        for two in ((bad, doors.good(user)), (doors.good(user), bad)):
            both = [("Authorization", f"Bearer {each}") for each in two]
            answer = await doors.client.get(socket, headers=[*UPGRADE.items(), *both])
            assert answer.status_code == 401


async def test_other_schemes_do_not_count(doors: Doors) -> None:
    user = new_user()
    socket = f"{WEBSOCKET}/notifications/users/{user}"
    for other in ("Basic eDp5", "", "Bearer", "Digest username=x", f"Token {doors.good(user)}"):
        answer = await doors.client.get(
            socket, headers={**UPGRADE, "Authorization": other}, params={"jwt": doors.good(user)}
        )
        assert answer.status_code == 101, other
        answer = await doors.client.get(
            f"{REST}/notifications/users/{user}", headers={"Authorization": other}
        )
        assert (answer.status_code, answer.json()["code"]) == (401, "missing_token"), other


def revoke(redis: RedisServer, bearer: str) -> None:
    """As the user service does."""
    claims = jwt.decode(bearer, options={"verify_signature": False})
    with redis.client() as commands:
        commands.set(f"user-service:jwt-blocklist:{claims['jti']}", "1")


async def test_a_revoked_token_never_comes_in_while_redis_is_down(
    environment: dict[str, str], redis: RedisServer, tmp_path: Path
) -> None:
    """Not even where its node took it for good shortly before, and nobody used it since (decision 009)."""
    own = {**environment, "REDIS_URL": redis.url, "KAFKA_GROUP": f"{environment['KAFKA_GROUP']}-revoked"}
    user, faithful = new_user(), new_user()
    bearers = {each: token(each) for each in (user, faithful)}
    async with (
        running_hub(own, tmp_path / "log") as hub,
        httpx.AsyncClient(base_url=hub.http + REST, verify=NO_TLS) as client,
    ):

        async def status(of: str) -> int:
            headers = {"Authorization": f"Bearer {bearers[of]}"}
            return (await client.get(f"/notifications/users/{of}", headers=headers)).status_code

        assert [await status(each) for each in bearers] == [200, 200]
        revoke(redis, bearers[user])
        for _ in range(2):  # each is closed by a separate look; all that is known was reviewed in between
            witness = new_user()
            bearer = token(witness)
            headers = {"Authorization": f"Bearer {bearer}"}
            async with hub.socket(witness, additional_headers=headers) as socket:
                revoke(redis, bearer)
                assert await close_code(socket) == 4501
        redis.kill()
        try:

            async def noticed() -> bool:
                return (await client.get("/ready")).status_code == 503

            await eventually(noticed, "the hub knows that Redis is down")
            assert [await status(each) for each in bearers] == [503, 200]
            for each in bearers:
                address = f"{hub.http}{WEBSOCKET}/notifications/users/{each}"
                headers = {**UPGRADE, "Authorization": f"Bearer {bearers[each]}"}
                assert (await client.get(address, headers=headers)).status_code == 503
            sending = {"Authorization": f"Bearer {token('kitchen', scope='notifications:send')}"}
            assert (await client.post("/notifications", headers=sending, json={})).status_code == 503
        finally:
            redis.start()
        assert [await status(each) for each in bearers] == [401, 200]
