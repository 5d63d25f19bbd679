"""Topics over REST: services manage followers, users join and leave."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest_asyncio

from tests.support.hub import NO_TLS, REST, Hub, new_user, token


@pytest_asyncio.fixture
async def service(hub: Hub) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {token('shop', scope='notifications:send')}"}
    async with httpx.AsyncClient(base_url=hub.http + REST, headers=headers, verify=NO_TLS) as client:
        yield client


async def test_a_service_manages_followers_and_users_join_what_is_open(
    hub: Hub, service: httpx.AsyncClient
) -> None:
    key, users = f"topic-{uuid4()}", sorted(new_user() for _ in range(3))
    changed = await service.post(f"/topics/{key}/followers", json={"add": users})
    assert changed.json() == {"added": 3, "removed": 0}
    first = await service.get(f"/topics/{key}/followers", params={"limit": 2})
    assert [each["user_id"] for each in first.json()] == users[:2]
    rest = await service.get(f"{hub.http}{first.links['next']['url']}")
    assert [each["user_id"] for each in rest.json()] == users[2:]
    assert "next" not in rest.links
    me, path = new_user(), f"/topics/{key}/followers"
    async with hub.client(me) as client:
        refused = await client.put(f"{path}/{me}")
        assert (refused.status_code, refused.json()["code"]) == (403, "topic_closed")
        assert (await service.put(f"/topics/{key}", json={"open": True})).json()["open"] is True
        assert (await client.put(f"{path}/{me}")).status_code == 200
        assert [each["key"] for each in (await client.get(f"/topics/users/{me}")).json()] == [key]
        assert (await client.put(f"{path}/{users[0]}")).json()["code"] == "other_user"
        assert (await client.delete(f"{path}/{me}")).status_code == 200
        assert (await client.get(f"/topics/users/{me}")).json() == []
    assert (await service.put(f"{path}/{me}")).status_code == 200
    assert len((await service.get(f"/topics/users/{me}")).json()) == 1
    removed = await service.post(path, json={"remove": [me, users[0], new_user()]})
    assert removed.json() == {"added": 0, "removed": 2}


async def test_a_service_deletes_a_topic(hub: Hub, service: httpx.AsyncClient) -> None:
    key, me = f"topic-{uuid4()}", new_user()
    await service.post(f"/topics/{key}/followers", json={"add": [me, new_user()]})
    async with hub.client(me) as client:
        assert (await client.delete(f"/topics/{key}")).status_code == 403
        deleted = await service.delete(f"/topics/{key}")
        assert (deleted.status_code, deleted.json()) == (200, {"removed": 2, "deleted": True})
        assert (await client.get(f"/topics/users/{me}")).json() == []
    unknown = await service.delete(f"/topics/{key}")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "no_such_topic")
    assert (await service.delete("/topics/users")).status_code == 400


async def test_what_is_wrong_is_named(service: httpx.AsyncClient) -> None:
    me = new_user()
    for path, body, named in (
        ("/topics/news/followers", {"add": [me, "Anna"]}, "`add[1]`"),
        ("/topics/news/followers", {"add": [me], "remove": [me]}, "both"),
        ("/topics/news/followers", {"users": [me]}, "`users`"),
        ("/topics/a%20b/followers", {"add": [me]}, "The key of a topic"),
    ):
        refused = await service.post(path, json=body)
        assert refused.status_code == 400, path
        assert named in refused.json()["detail"]
    assert (await service.put("/topics/users", json={"open": True})).status_code == 400
    assert (await service.get("/topics", params={"limit": 0})).status_code == 400
