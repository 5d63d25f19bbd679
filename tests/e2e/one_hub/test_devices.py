"""Devices over REST, and notifications of their users by web push."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from app.store.suppressions import SuppressionStore
from tests.support.hub import NO_TLS, REST, Hub, eventually, new_user, receive, token
from tests.support.push_service import Browser, PushService
from tests.support.store import engine_on


@pytest_asyncio.fixture
async def service(hub: Hub) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {token('a-service', scope='notifications:send deliveries:read')}"}
    async with httpx.AsyncClient(base_url=hub.http + REST, headers=headers, verify=NO_TLS) as client:
        yield client


async def delivery(service: httpx.AsyncClient, user: str) -> dict[str, Any]:
    """The user's only delivery by web push, once nothing more is done about it."""

    async def finished() -> dict[str, Any] | None:
        answer = await service.get("/deliveries", params={"user_id": user, "channel": "webpush"})
        found: list[dict[str, Any]] = answer.json()
        return found[0] if len(found) == 1 and found[0]["finished_at"] is not None else None

    return await eventually(finished, f"a delivery to {user}")


def inapp(user: str, **more: Any) -> dict[str, Any]:
    return {"type": "inapp", "user_id": user, "title": "Your kitchen", "message": "Three plans.", **more}


async def test_a_device_is_registered_listed_and_removed(hub: Hub, push_service: PushService) -> None:
    user, browser = new_user(), push_service.browser()
    async with hub.client(user) as client:
        key = (await client.get("/devices/key")).json()["public_key"]
        assert len(key) == 87
        first = await client.post("/devices", json=browser.subscription)
        again = await client.post("/devices", json=browser.subscription)
        assert (first.status_code, again.status_code) == (201, 200)
        device = first.json()
        assert device["endpoint"] == browser.endpoint
        assert (await client.get("/devices")).json() == [again.json()]
        async with hub.client(new_user()) as other:
            assert (await other.get("/devices")).json() == []
            gone = await other.delete(f"/devices/{device['id']}")
            assert (gone.status_code, gone.json()["code"]) == (404, "no_such_device")
            taken = {**browser.subscription, "keys": push_service.browser().subscription["keys"]}
            refused = await other.post("/devices", json=taken)
            assert (refused.status_code, refused.json()["code"]) == (409, "foreign_device")
        assert (await client.delete(f"/devices/{device['id']}")).status_code == 200
        assert (await client.delete(f"/devices/{device['id']}")).status_code == 404
        assert (await client.delete("/devices/none")).status_code == 400
        assert (await client.get("/devices")).json() == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"endpoint": "http://push.example.com/a"}, "`endpoint`"),
        ({"endpoint": "https://user:pw@push.example.com/a"}, "`endpoint`"),
        ({"keys": {"p256dh": "AAAA", "auth": "BTBZMqHH6r4Tts7J_aSIgg"}}, "`keys.p256dh`"),
        ({"keys": None}, "keys"),
    ],
)
async def test_what_is_no_subscription_is_refused_with_the_name_of_the_field(
    hub: Hub, push_service: PushService, changes: dict[str, Any], named: str
) -> None:
    async with hub.client(new_user()) as client:
        answer = await client.post("/devices", json={**push_service.browser().subscription, **changes})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_body")
    assert named in answer.json()["detail"]


async def test_devices_need_a_token(hub: Hub) -> None:
    async with httpx.AsyncClient(base_url=hub.http + REST, verify=NO_TLS) as client:
        for method, path in (
            ("GET", "/devices"),
            ("GET", "/devices/key"),
            ("POST", "/devices"),
            ("DELETE", f"/devices/{uuid4()}"),
        ):
            assert (await client.request(method, path)).status_code == 401, path


async def test_a_notification_arrives_on_the_device_and_names_itself(
    hub: Hub, service: httpx.AsyncClient, push_service: PushService
) -> None:
    user, browser = new_user(), push_service.browser()
    device = await registered(hub, user, browser)
    assert (await service.post("/notifications", json=inapp(user, urgent=True))).status_code == 202
    sent = await delivery(service, user)
    assert (sent["status"], sent["address"], sent["category"]) == ("sent", device, "messages")
    (pushed,) = browser.pushed
    (stored,) = await hub.stored(user, 1)
    assert pushed.data == {
        "title": "Your kitchen",
        "text": "Three plans.",
        "notification": stored["id"],
        "severity": "info",
    }
    assert pushed.headers["urgency"] == "high"
    assert push_service.refused == []


async def test_a_user_who_is_connected_is_not_pushed_to(
    hub: Hub, service: httpx.AsyncClient, push_service: PushService
) -> None:
    user, browser = new_user(), push_service.browser()
    await registered(hub, user, browser)
    async with hub.socket(user) as socket:
        await service.post("/notifications", json=inapp(user))
        assert (await receive(socket))["data"]["title"] == "Your kitchen"
        suppressed = await delivery(service, user)
    assert (suppressed["status"], suppressed["reason"]) == ("suppressed", "the user is connected")
    assert browser.pushed == []


async def test_a_device_that_is_gone_disappears(
    hub: Hub, service: httpx.AsyncClient, push_service: PushService
) -> None:
    user, browser = new_user(), push_service.browser()
    await registered(hub, user, browser)
    browser.answers = [(410, {})]
    await service.post("/notifications", json={"type": "webpush", "user_id": user, "message": "Hi."})
    failed = await delivery(service, user)
    assert (failed["status"], failed["error_code"]) == ("failed", "device_gone")
    async with hub.client(user) as client:
        assert (await client.get("/devices")).json() == []


async def test_the_dry_run_says_who_would_be_pushed_to(
    hub: Hub, service: httpx.AsyncClient, push_service: PushService
) -> None:
    user = new_user()
    await registered(hub, user, push_service.browser())
    tried = await service.post("/notifications/dry-run", json=inapp(user))
    assert [(each["channel"], each["verdict"]) for each in tried.json()["outcomes"]] == [
        ("inapp", "send"),
        ("webpush", "send"),
    ]
    async with hub.client(user) as client:
        await client.put(f"/preferences/users/{user}/messages.webpush", json={"enabled": False})
    tried = await service.post("/notifications/dry-run", json=inapp(user))
    assert [(each["channel"], each["verdict"]) for each in tried.json()["outcomes"]] == [
        ("inapp", "send"),
        ("webpush", "suppress"),
    ]


async def test_explain_says_why_something_was_not_sent_in_the_words_of_the_dry_run(
    hub: Hub, service: httpx.AsyncClient, push_service: PushService
) -> None:
    user, stranger = new_user(), new_user()
    await registered(hub, user, push_service.browser())
    async with hub.client(user) as client:
        await client.put(f"/preferences/users/{user}/messages.webpush", json={"enabled": False})
    tried = (await service.post("/notifications/dry-run", json=inapp(user))).json()
    sent = (await service.post("/notifications", json=inapp(user))).json()["id"]
    answer = (await service.get(f"/events/{sent}/explain", params={"user_id": user})).json()
    shared = ("channel", "verdict", "reason", "user_id")
    told, expected = (
        [tuple(each[name] for name in shared) for each in it["outcomes"]] for it in (answer, tried)
    )
    assert told == expected
    assert told[1] == ("webpush", "suppress", "the person turned off messages by webpush", user)
    assert (answer["status"], answer["outcomes"][0]["status"]) == ("processed", "unread")
    whole = (await service.get(f"/events/{sent}/explain")).json()
    assert [each["channel"] for each in whole["outcomes"]] == ["webpush"]
    (nothing,) = (await service.get(f"/events/{sent}/explain", params={"user_id": stranger})).json()[
        "outcomes"
    ]
    assert nothing["reason"].startswith("nothing is kept of this user")
    for path in (f"/events/{new_user()}/explain", "/events/%00/explain"):
        unknown = await service.get(path)
        assert (unknown.status_code, unknown.json()["code"]) == (404, "no_such_event")


async def test_explain_says_what_is_off_by_default_though_no_row_does(
    hub: Hub, service: httpx.AsyncClient
) -> None:
    user, other = new_user(), new_user()
    stock = {"event_type": "low_stock", "product_name": "Beans", "current_stock": 3, "threshold": 10}
    event = {**stock, "receivers": [user, other], "event_id": new_user()}
    tried = (await service.post("/notifications/dry-run", json=event)).json()["outcomes"]
    sent = (await service.post("/notifications", json=event)).json()["id"]
    assert (await service.get(f"/events/{sent}/explain")).json()["outcomes"] == []
    for each in (user, other):
        found = (await service.get(f"/events/{sent}/explain", params={"user_id": each})).json()["outcomes"]
        shared = ("channel", "verdict", "reason", "user_id", "address", "until")
        told, expected = (
            [tuple(one[name] for name in shared) for one in it if one["user_id"] == each]
            for it in (found, tried)
        )
        assert told == expected
        assert told[1][1:3] == ("suppress", "inventory by email is off by default")


async def test_a_mail_to_a_suppressed_address_is_explained_before_and_after(
    hub: Hub, service: httpx.AsyncClient, environment: dict[str, str]
) -> None:
    address = f"{new_user()}@example.com"
    engine = engine_on(environment["DATABASE_URL"])
    await SuppressionStore(engine).add("email", address, "", "it bounced")
    await engine.dispose()
    mail = {"type": "email", "to": address, "title": "T", "message": "M"}
    (tried,) = (await service.post("/notifications/dry-run", json=mail)).json()["outcomes"]
    sent = (await service.post("/notifications", json=mail)).json()["id"]

    async def finished() -> dict[str, Any] | None:
        (found,) = (await service.get(f"/events/{sent}/explain")).json()["outcomes"]
        return found if found["status"] == "suppressed" else None

    done = await eventually(finished, "the mail is suppressed")
    assert done["reason"] == tried["reason"] == "the address is suppressed: it bounced"
    assert done["verdict"] == tried["verdict"] == "suppress"
    assert address not in str(done)


async def registered(hub: Hub, user: str, browser: Browser) -> str:
    """The id of the user's device."""
    async with hub.client(user) as client:
        answer = await client.post("/devices", json=browser.subscription)
    assert answer.status_code == 201, answer.text
    device: str = answer.json()["id"]
    return device
