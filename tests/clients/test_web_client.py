"""The web client of the main system: a plain WebSocket and three calls, with and without JSend envelope."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from tests.clients import contract
from tests.support.hub import NO_TLS, REST, WEBSOCKET, Hub, added, new_user, quiet, receive, token

ORIGIN = Origin("https://app.example.com")
COOKIES = "ten=Nguyễn Văn Ánh; giỏ_hàng=Phở gà; theme=dark"


class WebClient:
    """It reads what is documented and refuses anything else, as the page's own validators do."""

    def __init__(self, hub: Hub, user: str, bearer: str | None = None, *, enveloped: bool = False) -> None:
        self._user = user
        self._enveloped = enveloped
        self.socket_url = f"{hub.ws}{WEBSOCKET}/notifications/users/{user}"
        self.token = token(user) if bearer is None else bearer
        self.authorization = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        headers = {**self.authorization, "Origin": ORIGIN}
        self.http = httpx.AsyncClient(verify=NO_TLS, base_url=hub.http + REST, headers=headers)

    async def list(self, user: str | None = None) -> list[dict[str, Any]]:
        """Load the list, newest first."""
        listed = self._data(await self.http.get(f"/notifications/users/{user or self._user}"), 200)
        assert type(listed) is list
        return [contract.notification(each) for each in listed]

    async def read(self, notification_id: object) -> dict[str, Any]:
        path = f"/notifications/{notification_id}/users/{self._user}/read"
        return contract.notification(self._data(await self.http.patch(path), 200))

    async def delete(self, notification_id: object) -> None:
        answer = await self.http.delete(f"/notifications/{notification_id}/users/{self._user}")
        self._data(answer, 200)
        assert contract.filled(answer.json()["message"])

    async def refused(self, method: str, path: str, status: int) -> None:
        """Ask for what must be refused. The page shows `message` or `detail`."""
        answer = await self.http.request(method, path)
        assert answer.status_code == status, answer.text
        body = answer.json()
        if self._enveloped:
            contract.conforms(
                body, {"status": contract.text, "message": contract.filled, "data": bool}, others=False
            )
            assert body["status"] == "fail"
        else:
            contract.conforms(body, {"detail": contract.filled, "status": contract.integer})
            assert body["status"] == status

    def _data(self, answer: httpx.Response, status: int) -> Any:
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"].startswith("application/json")
        if not self._enveloped:
            return answer.json()
        fields = {"status": contract.text, "message": contract.filled, "data": lambda _: True}
        body = contract.conforms(answer.json(), fields, others=False)
        assert body["status"] == "success"
        return body["data"]


@asynccontextmanager
async def web_client(hub: Hub, user: str, **options: Any) -> AsyncIterator[WebClient]:
    client = WebClient(hub, user, **options)
    async with client.http:
        yield client


@pytest.fixture(params=["bare", "jsend"])
def place(request: pytest.FixtureRequest) -> tuple[Hub, bool]:
    """A hub, and whether its answers are in the envelope."""
    name = {"bare": "hub", "jsend": "old_deployment"}[request.param]
    return request.getfixturevalue(name), request.param == "jsend"


@pytest.fixture
def user() -> str:
    return new_user()


# The live side.


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("how", ["query", "header"])
async def test_a_notification_arrives_as_a_frame(hub: Hub, user: str, slash: str, how: str) -> None:
    async with web_client(hub, user) as client:
        query, headers = (f"?jwt={client.token}", {}) if how == "query" else ("", client.authorization)
        url = f"{client.socket_url}{slash}{query}"
        async with connect(url, origin=ORIGIN, additional_headers=headers) as socket:
            await hub.publish(added(user))
            data = contract.frame(await asyncio.wait_for(socket.recv(), 20))["data"]
            assert (data["receiver"], data["is_read"]) == (user, False)
            assert await quiet(socket), "a plain client gets notifications only"
        (listed,) = await client.list()
        assert listed == data, "a frame and the list show the same"


async def test_a_page_whose_cookies_are_in_vietnamese_is_connected(hub: Hub, user: str) -> None:
    key = base64.b64encode(os.urandom(16)).decode()
    head = (
        f"GET {WEBSOCKET}/notifications/users/{user}?jwt={token(user)} HTTP/1.1\r\n"
        f"Host: 127.0.0.1:{hub.port}\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        f"Origin: {ORIGIN}\r\nCookie: {COOKIES}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    writer.write(head.encode())
    async with asyncio.timeout(20):
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        await hub.publish(added(user))
        first, length = await reader.readexactly(2)
        assert first == 0x81, "one whole text frame"
        size = int.from_bytes(await reader.readexactly(2)) if length == 126 else length
        contract.frame((await reader.readexactly(size)).decode())
    writer.close()


@pytest.mark.parametrize("said", ["ping", '{"type": "ping"}', '{"event_type": "ping", "data": {}}', b"\x00"])
async def test_what_a_plain_client_says_is_ignored(hub: Hub, user: str, said: str | bytes) -> None:
    async with hub.socket(user) as socket:
        await socket.send(said)
        await hub.publish(added(user))
        assert (await receive(socket))["event_type"] == "group_user_added"


@pytest.mark.parametrize(
    ("of", "bearer", "status"), [("own", "", 401), ("own", "not.a.token", 401), ("other", None, 403)]
)
async def test_who_may_not_listen_gets_a_status_and_no_socket(
    hub: Hub, user: str, of: str, bearer: str | None, status: int
) -> None:
    whose = user if of == "own" else new_user()
    query = f"?jwt={token(user)}" if bearer is None else f"?jwt={bearer}" if bearer else ""
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{hub.ws}{WEBSOCKET}/notifications/users/{whose}{query}", origin=ORIGIN)
    assert refused.value.response.status_code == status


# The calls.


async def test_a_notification_is_listed_read_and_deleted(place: tuple[Hub, bool], user: str) -> None:
    hub, enveloped = place
    async with web_client(hub, user, enveloped=enveloped) as client:
        assert await client.list() == []
        events = [added(user, f"requester {number}") for number in range(3)]
        await hub.publish(*events, key=b"one partition")
        await hub.stored(user, 3)
        listed = await client.list()
        assert [each["raw_data"]["requester_username"] for each in listed] == [
            f"requester {n}" for n in (2, 1, 0)
        ]
        ids = [each["id"] for each in listed]
        assert ids == sorted(ids, reverse=True), "a later notification has a higher id"
        read = await client.read(ids[1])
        assert read == {
            **listed[1],
            "is_read": True,
            **{k: read[k] for k in read.keys() - contract.NOTIFICATION},
        }
        assert await client.read(ids[1]) == read, "a second time changes nothing"
        await client.delete(ids[0])
        assert [(each["id"], each["is_read"]) for each in await client.list()] == [
            (ids[1], True),
            (ids[2], False),
        ]
        for method, path in (("DELETE", ""), ("PATCH", "/read")):
            await client.refused(method, f"/notifications/{ids[0]}/users/{user}{path}", 404)


async def test_what_is_not_the_clients_is_refused(place: tuple[Hub, bool], user: str) -> None:
    hub, enveloped = place
    other = new_user()
    await hub.publish(added(other))
    (row,) = await hub.stored(other, 1)
    own, foreign = f"/notifications/{row['id']}/users/{user}", f"/notifications/{row['id']}/users/{other}"
    async with web_client(hub, user, enveloped=enveloped) as client:
        for method, path, status in (
            ("GET", f"/notifications/users/{other}", 403),
            ("PATCH", f"{foreign}/read", 403),
            ("DELETE", foreign, 403),
            ("PATCH", f"{own}/read", 404),
            ("DELETE", own, 404),
            ("PATCH", f"/notifications/{2**53 - 1}/users/{user}/read", 404),
            ("GET", f"/notifications/users/{user}?limit=many", 400),
            ("DELETE", f"/notifications/first/users/{user}", 400),
        ):
            await client.refused(method, path, status)
    for bearer in ("", "not.a.token", token(user, lifetime=-3600)):
        async with web_client(hub, user, bearer=bearer, enveloped=enveloped) as client:
            await client.refused("GET", f"/notifications/users/{user}", 401)
            await client.refused("PATCH", f"{own}/read", 401)
            await client.refused("DELETE", own, 401)
    assert (await hub.stored(other, 1))[0]["is_read"] is False


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_the_page_may_call_from_its_origin(place: tuple[Hub, bool], user: str, method: str) -> None:
    hub, _ = place
    path = {"GET": f"/notifications/users/{user}", "PATCH": f"/notifications/1/users/{user}/read"}
    headers = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    async with httpx.AsyncClient(verify=NO_TLS, base_url=hub.http + REST) as browser:
        answer = await browser.options(path.get(method, f"/notifications/1/users/{user}"), headers=headers)
    assert answer.status_code in (200, 204)
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert method in answer.headers["access-control-allow-methods"]
    allowed = answer.headers["access-control-allow-headers"].lower()
    assert "authorization" in allowed
    assert "content-type" in allowed


async def test_query_parameters_of_other_programs_are_read_over(hub: Hub, user: str) -> None:
    async with web_client(hub, user) as client:
        for query in ("?_=1732600000000", "?page=1", "?t=", "?limit=20&_=1"):
            assert (await client.http.get(f"/notifications/users/{user}{query}")).status_code == 200
        assert (await client.http.get(f"/notifications/users/{user}/")).status_code == 200
