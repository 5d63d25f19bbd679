"""Severity, links, buttons, expiry: what a notification carries, on a running hub."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx

from tests.support.hub import Hub, added, new_user, receive
from tests.support.sending import in_seconds, inapp


async def aislice(lines: AsyncIterator[str], start: str, count: int) -> AsyncIterator[str]:
    """The first `count` lines that begin so."""
    async for line in lines:
        if line.startswith(start):
            yield line
            count -= 1
            if not count:
                return


async def test_who_reads_details_gets_them_live_and_listed_and_plain_clients_get_what_they_got(
    hub: Hub, service: httpx.AsyncClient
) -> None:
    user = new_user()
    details = {
        "severity": "warning",
        "url": "/orders/7",
        "actions": [{"id": "pay", "label": "Pay", "url": "https://shop.example.com/7"}],
        "icon": "card",
        "actor": {"name": "Lê Thị B", "avatar": "/b.png"},
        "thread_key": "order-7",
        "expires_at": "2999-01-01T00:00:00Z",
    }
    refused = await service.post("/notifications", json=inapp(user, **{**details, "url": "javascript:x"}))
    assert (refused.status_code, refused.json()["code"]) == (400, "bad_field")
    assert "`url`" in refused.json()["detail"]
    inbox = f"/notifications/users/{user}"
    async with hub.socket(user) as plain, hub.socket(user, subprotocols=["hub.v1"]) as session:
        await receive(session)
        for event in (inapp(user, **details), added(user)):
            assert (await service.post("/notifications", json=event)).status_code == 202
        documented = [(await receive(plain))["data"] for _ in range(2)]
        live = [(await receive(session))["data"] for _ in range(2)]
    assert documented[0].keys() == documented[1].keys()
    assert not documented[0].keys() & details.keys()
    assert live[0] == {**documented[0], "category": "messages", **details}
    added_details = {"category": "groups", "severity": "info", "icon": "users", "actor": {"name": "john_doe"}}
    assert live[1] == {**documented[1], **added_details}
    async with hub.client(user) as client:
        assert (await client.get(f"{inbox}?protocol=hub.v1")).json() == live[::-1]
        assert (await client.get(inbox)).json() == [documented[1], live[0]]
        for query, shown in (("", [live[0], documented[1]]), ("&protocol=hub.v1", live)):
            async with client.stream("GET", f"{inbox}/events?after=0{query}") as stream:
                lines = stream.aiter_lines()
                frames = [json.loads(line[5:]) async for line in aislice(lines, 'data: {"event_type"', 2)]
            assert [frame["data"] for frame in frames] == shown
        read = await client.patch(f"/notifications/{live[1]['id']}/users/{user}/read?protocol=hub.v1")
        assert read.json() == {**live[1], "is_read": True}


async def test_what_expires_vanishes_from_lists_and_counts_on_all_devices(
    hub: Hub, service: httpx.AsyncClient
) -> None:
    user = new_user()
    async with hub.socket(user, subprotocols=["hub.v1"]) as session, hub.client(user) as client:
        await receive(session)
        for event in (inapp(user), inapp(user, expires_at=in_seconds(2))):
            assert (await service.post("/notifications", json=event)).status_code == 202
        ids = [(await receive(session))["data"]["id"] for _ in range(2)]
        gone = await receive(session)
        assert (gone["type"], gone["id"]) == ("notification_deleted", ids[1])
        assert (gone["unread"], gone["last_seq"], gone["rev"], gone["unseen"]) == (1, 2, 1, 1)
        listed = (await client.get(f"/notifications/users/{user}")).json()
        assert [each["id"] for each in listed] == ids[:1]
