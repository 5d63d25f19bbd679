"""Sending over HTTP for later: it comes then, once, unless it is cancelled."""

from __future__ import annotations

import asyncio

import httpx

from tests.support.hub import Hub, eventually, new_user, quiet, receive, token
from tests.support.sending import in_seconds, inapp


async def test_what_is_for_later_comes_then_and_once(hub: Hub, service: httpx.AsyncClient) -> None:
    user = new_user()
    body = inapp(user, send_at=in_seconds(2.0), event_id=f"later-{user}")
    async with hub.socket(user) as socket:
        answer = await service.post("/notifications", json=body)
        assert (await service.post("/notifications", json=body)).status_code == 202, "the same again"
        stands = (await service.get(f"/notifications/later-{user}")).json()
        assert (answer.status_code, stands["status"]) == (202, "scheduled")
        assert await quiet(socket, 1.0)
        assert (await receive(socket))["data"]["title"] == "Hello"
        assert await quiet(socket, 2.5)

    async def done() -> bool:
        found = await service.get(f"/notifications/later-{user}")
        return bool(found.json()["status"] == "processed")

    await eventually(done, "it is processed")
    refused = await service.delete(f"/notifications/later-{user}")
    assert (refused.status_code, refused.json()["code"]) == (409, "not_cancellable")


async def test_what_is_for_later_can_be_cancelled_until_then(hub: Hub, service: httpx.AsyncClient) -> None:
    user = new_user()
    sent = (await service.post("/notifications", json=inapp(user, send_at=in_seconds(2.0)))).json()
    cancelled = await service.delete(f"/notifications/{sent['id']}")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert (await service.delete(f"/notifications/{sent['id']}")).status_code == 409
    await asyncio.sleep(3.5)
    assert await hub.rows("select 1 from notifications where receiver = $1", user) == []
    assert (await service.get(f"/notifications/{sent['id']}")).json()["status"] == "cancelled"
    unknown = await service.delete(f"/notifications/{new_user()}")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "no_such_event")
    assert (await service.get(f"/notifications/{new_user()}")).status_code == 404


async def test_what_was_cancelled_stays_so_when_it_comes_again(hub: Hub, service: httpx.AsyncClient) -> None:
    user = new_user()
    event = inapp(user, send_at=in_seconds(1.5), event_id=f"cancelled-{user}")
    assert (await service.post("/notifications", json=event)).status_code == 202
    assert (await service.delete(f"/notifications/cancelled-{user}")).status_code == 200
    await asyncio.sleep(1.6)
    assert (await service.post("/notifications", json=event)).status_code == 202
    await hub.publish(event)
    await asyncio.sleep(1.5)
    assert await hub.rows("select 1 from notifications where receiver = $1", user) == []
    assert (await service.get(f"/notifications/cancelled-{user}")).json()["status"] == "cancelled"


async def test_what_a_service_scheduled_is_its_own(hub: Hub, service: httpx.AsyncClient) -> None:
    user = new_user()
    sent = (await service.post("/notifications", json=inapp(user, send_at=in_seconds(60)))).json()["id"]
    headers = {"Authorization": f"Bearer {token('other-service', scope='notifications:send')}"}
    for method in ("GET", "DELETE"):
        answer = await service.request(method, f"/notifications/{sent}", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (404, "no_such_event")
    assert (await service.delete(f"/notifications/{sent}")).status_code == 200
