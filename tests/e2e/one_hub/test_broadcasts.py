"""Broadcasts over HTTP and Kafka: notified live, followed, tried out, explained."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest_asyncio

from tests.support.hub import NO_TLS, REST, Hub, eventually, new_user, receive, token


@pytest_asyncio.fixture
async def service(hub: Hub) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {token('shop', scope='notifications:send deliveries:read')}"}
    async with httpx.AsyncClient(base_url=hub.http + REST, headers=headers, verify=NO_TLS) as client:
        yield client


def message(topic: str, **more: Any) -> dict[str, Any]:
    audience = {"topic": topic, "filter": {"locale": ["vi", "en", "ru"]}}
    return {"type": "inapp", "title": "Version 4.2", "message": "It is dark.", "audience": audience, **more}


async def done(service: httpx.AsyncClient, event_id: str) -> dict[str, Any]:
    async def finished() -> dict[str, Any] | None:
        answer = await service.get(f"/broadcasts/{event_id}")
        found: dict[str, Any] = answer.json()
        return found if answer.status_code == 200 and found["finished_at"] else None

    return await eventually(finished, f"the broadcast {event_id}")


async def test_followers_are_notified_live_and_the_sender_follows_the_broadcast(
    hub: Hub, service: httpx.AsyncClient
) -> None:
    topic, event_id, users = f"topic-{uuid4()}", f"release-{uuid4()}", [new_user() for _ in range(3)]
    await service.post(f"/topics/{topic}/followers", json={"add": users})
    tried = (await service.post("/notifications/dry-run", json=message(topic))).json()
    assert tried["people"] == 3
    assert {each["user_id"] for each in tried["outcomes"]} == {*users}
    async with hub.socket(users[0]) as client:
        sent = await service.post("/notifications", json=message(topic, event_id=event_id))
        assert (sent.status_code, sent.json()["id"]) == (202, event_id)
        frame = await receive(client)
        assert frame["data"]["title"] == "Version 4.2"
    found = await done(service, event_id)
    assert (found["state"], found["people"], found["passed"], found["notified"]) == ("done", 3, 3, 3)
    listed = (await service.get("/broadcasts", params={"limit": 1000})).json()
    assert event_id in [each["id"] for each in listed]
    followed = (await service.get(f"/notifications/{event_id}")).json()
    assert (followed["status"], followed["broadcast"]) == ("processed", "done")
    explained = await service.get(f"/events/{event_id}/explain", params={"user_id": users[1]})
    assert [each["verdict"] for each in explained.json()["outcomes"]] == ["send"]
    assert (await service.post(f"/broadcasts/{event_id}/cancel")).json()["code"] == "broadcast_state"
    assert (await service.post("/notifications", json=message(topic, event_id=event_id))).status_code == 202
    assert len(await hub.rows("select 1 from notifications where receiver = any($1::uuid[])", users)) == 3
    other = {"Authorization": f"Bearer {token('another-shop', scope='notifications:send')}"}
    assert (await service.get(f"/broadcasts/{event_id}", headers=other)).status_code == 404


async def test_an_event_over_kafka_names_an_audience_too(hub: Hub, service: httpx.AsyncClient) -> None:
    topic, event_id, user = f"topic-{uuid4()}", f"expired-{uuid4()}", new_user()
    await service.put(f"/topics/{topic}/followers/{user}")
    event = {
        "event_id": event_id,
        "event_type": "food_expired",
        "group_id": str(uuid4()),
        "audience": {"topic": topic},
        "data": {"group_name": "Family", "unit_name": "Milk", "storage_name": "Fridge"},
    }
    await hub.publish(json.dumps(event).encode())
    (stored,) = await hub.stored(user, 1)
    assert stored["template_code"] == "FOOD_EXPIRED"
    assert (await done(service, event_id))["event_type"] == "food_expired"


async def test_what_cannot_be_an_audience_is_refused_by_name(service: httpx.AsyncClient) -> None:
    for changes, named in (
        ({"audience": {"topic": "a b"}}, "`topic`"),
        ({"audience": {"everyone": False}}, "either"),
        ({"audience": {"everyone": True, "topic": "news"}}, "either"),
        ({"audience": {"everyone": True, "filter": {"city": "Hue"}}}, "`filter.city`"),
        ({"audience": {"everyone": True, "filter": {"locale": ["xx"]}}}, "`filter.locale`"),
        ({"audience": {"everyone": True, "filter": {"time_zone": "Mars/Base"}}}, "`filter.time_zone`"),
        ({"user_id": new_user()}, "`user_id`"),
        ({"audience": "everyone"}, "required"),
    ):
        refused = await service.post("/notifications", json=message("news") | changes)
        assert refused.status_code == 400, changes
        assert named in refused.json()["detail"], refused.text
    booking = {"event_type": "booking.confirmed", "booking_id": "1", "audience": {"everyone": True}}
    assert "about one person" in (await service.post("/notifications", json=booking)).json()["detail"]


async def test_a_broadcast_is_paused_resumed_and_cancelled(hub: Hub, service: httpx.AsyncClient) -> None:
    topic, one, other = f"topic-{uuid4()}", f"one-{uuid4()}", f"other-{uuid4()}"
    for event_id in (one, other):
        await hub.rows(
            """
            insert into broadcasts (event_id, event_type, source, sender, audience, body, next_page_at)
            values ($1, 'message', 'http', 'shop', $2, $3, '2100-01-01')
            """,
            event_id,
            json.dumps({"topic": topic}),
            json.dumps(message(topic)).encode(),
        )

    async def move(event_id: str, how: str) -> Any:
        answer = await service.post(f"/broadcasts/{event_id}/{how}")
        return answer.json()["state"] if answer.status_code == 200 else answer.json()["code"]

    assert await move(one, "resume") == "running", "as it is"
    assert [await move(one, "pause") for _ in range(2)] == ["paused", "paused"]
    assert [await move(one, "cancel") for _ in range(2)] == ["cancelled", "cancelled"]
    assert [await move(one, how) for how in ("pause", "resume")] == ["broadcast_state"] * 2
    await move(other, "pause")
    assert await move(other, "resume") == "running"
    assert (await done(service, other))["state"] == "done"
    assert await move(f"none-{uuid4()}", "pause") == "no_such_broadcast"
