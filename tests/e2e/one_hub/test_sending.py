"""Sending over HTTP: one, many at once, refused, and tried out."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import asyncpg
import httpx
import pytest

from tests.support.hub import NO_TLS, REST, Hub, added, event, eventually, new_user, receive, token
from tests.support.mailbox import new_address
from tests.support.sending import inapp
from tests.support.user_service import FakeUserService

USER = b"456e7890-e89b-12d3-a456-426614174001"
MAIL = b'{"type": "email", "to": "a@b.example", "title": "T", "message": "M"'


async def deliveries(hub: Hub, address: str) -> list[Any]:
    return await hub.rows("select * from deliveries where address = $1", address)


async def test_a_service_updates_and_retracts_what_it_sent(hub: Hub, service: httpx.AsyncClient) -> None:
    user = new_user()
    async with hub.socket(user, subprotocols=["hub.v1"]) as session, hub.client(user) as client:
        await receive(session)
        sent = (await service.post("/notifications", json=inapp(user, thread_key="order 7"))).json()
        first = (await receive(session))["data"]
        by_thread = {"thread_key": "order 7", "user_id": user}
        new = {"title": "Arrived", "severity": "success", "unread": True, "actions": []}
        assert (await service.patch("/notifications", params=by_thread, json=new)).status_code == 202
        frame = await receive(session)
        assert (frame["type"], frame["id"], frame["place"]) == ("notification_updated", first["id"], "inbox")
        assert (frame["data"]["title"], frame["data"]["severity"]) == ("Arrived", "success")
        assert frame["data"]["content"] == first["content"]
        listed = (await client.get(f"/notifications/users/{user}?protocol=hub.v1")).json()
        assert listed == [frame["data"]]
        gone = await service.delete("/notifications", params={"event_id": sent["id"]})
        assert gone.status_code == 202
        frame = await receive(session)
        assert (frame["type"], frame["id"], frame["unread"]) == ("notification_retracted", first["id"], 0)
        assert (await client.get(f"/notifications/users/{user}")).json() == []
        unknown = await service.delete("/notifications", params={"event_id": "never sent"})
        assert (unknown.status_code, unknown.json()["code"]) == (404, "no_such_event")
        for query in ({}, {"thread_key": "a"}, {"event_id": "a", **by_thread}):
            assert (await service.delete("/notifications", params=query)).status_code == 400
        wrong = await service.patch("/notifications", params=by_thread, json={"titel": "x"})
        assert (wrong.status_code, "title" in wrong.json()["detail"]) == (400, True)
        assert (await client.delete("/notifications", params=by_thread)).status_code == 403


async def test_a_message_is_stored_when_the_answer_comes_and_pushed(
    hub: Hub, service: httpx.AsyncClient
) -> None:
    user = new_user()
    async with hub.socket(user) as socket:
        answer = await service.post("/notifications", json=inapp(user, data={"order": 7}))
        assert answer.status_code == 202, answer.text
        rows = await hub.rows("select * from notifications where receiver = $1", user)
        assert [(row["title"], row["content"]) for row in rows] == [("Hello", "How are you?")]
        frame = await receive(socket)
        assert frame["event_type"] == "message"
        assert frame["data"]["raw_data"] == {"order": 7}
    followed = await service.get(answer.headers["location"].removeprefix(REST))
    assert followed.json()["status"] == "processed"
    assert answer.json()["follow"] == answer.headers["location"]


async def test_any_event_is_taken_in_the_form_it_has_on_kafka(hub: Hub, service: httpx.AsyncClient) -> None:
    user = new_user()
    event = added(user) | {"event_id": f"an id/with a slash, {user}"}
    answer = await service.post("/notifications", json=event)
    assert (answer.status_code, answer.json()["id"]) == (202, event["event_id"])
    await hub.publish(event)
    again = await service.post("/notifications", json=event)
    assert again.status_code == 202
    await asyncio.sleep(1.0)
    assert len(await hub.stored(user, 1)) == 1, "one event, three times, on two ways"
    followed = await service.get(answer.json()["follow"].removeprefix(REST))
    assert (followed.status_code, followed.json()["id"]) == (200, event["event_id"])


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "not_json"),
        (b"[]", "not_an_object"),
        (b"\xff{}", "bad_encoding"),
        (b"{}", "no_event_type"),
        (b'{"type": "pigeon", "to": "x", "message": "y"}', "bad_field"),
        (b'{"type": "sms", "to": "0912", "message": "y"}', "bad_field"),
        (b'{"type": "email", "to": "nobody", "title": "x", "message": "y"}', "bad_field"),
        (b'{"type": "email", "to": "a@b.example", "title": "x"}', "bad_field"),
        (b'{"type": "inapp", "message": "to nobody"}', "bad_field"),
        (b'{"type": "inapp", "to": "me", "message": "x"}', "bad_field"),
        (b'{"type": "sms", "to": "+84912345678", "template_code": "nothing"}', "bad_field"),
        (b'{"type": "email", "to": "a@b.example", "template_code": "payment_failed"}', "bad_field"),
        (b'{"type": "inapp", "to": "x", "message": "y", "category": "security"}', "bad_field"),
        (b'{"event_type": "unheard_of"}', "unknown_event_type"),
        (b'{"event_type": "account_logged_out", "user_id": "x"}', "wrong_way"),
        (b'{"event_type": "otp_register", "email": "a@b.example", "otp_code": "482913"}', "wrong_way"),
        (b'{"type": "email", "to": "a@b.example", "template_code": "otp_register"}', "bad_field"),
        (
            b'{"type": "inapp", "message": "x", "event_id": "bulk", "user_id": "' + USER + b'"}',
            "bad_event_id",
        ),
        (b'{"type": "inapp", "message": "x", "user_id": "' + USER + b'", "to": "someone"}', "bad_field"),
        (MAIL + b', "send_at": "9999-12-31T23:59:59-14:00"}', "bad_field"),
        (MAIL + b', "send_at": "2027-01-01T00:00:00"}', "bad_field"),
        (MAIL + b', "attachments": [{"name": "a.txt"}]}', "bad_field"),
        (MAIL + b', "attachments": [{"content": "YQ=="}]}', "bad_field"),
    ],
)
async def test_what_can_not_be_sent_is_refused_with_the_reason(
    service: httpx.AsyncClient, body: bytes, code: str
) -> None:
    answer = await service.post("/notifications", content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, code), answer.text


async def test_no_depth_of_nesting_is_an_error_of_the_hub(service: httpx.AsyncClient) -> None:
    """The depth at which the decoder gives up depends on the process's stack, so all near it are tried."""
    codes = set()
    for depth in range(900, 1001):
        body = b'{"event_type": "account_logged_out", "x": ' + b"[" * depth + b"]" * depth + b"}"
        answer = await service.post("/notifications", content=body)
        assert answer.status_code == 400, (depth, answer.text)
        codes.add(answer.json()["code"])
    assert codes == {"wrong_way", "not_json"}


async def test_of_many_each_is_taken_or_refused_by_itself(hub: Hub, service: httpx.AsyncClient) -> None:
    user = new_user()
    many = [inapp(user, title=f"number {number}") for number in range(500)]
    many[7] = {"type": "inapp"}
    answer = await service.post("/notifications/bulk", json={"notifications": many})
    assert answer.status_code == 202
    body = answer.json()
    assert (body["accepted"], body["rejected"], len(body["results"])) == (499, 1, 500)
    assert (body["results"][7]["status"], body["results"][7]["code"]) == ("rejected", "bad_field")
    rows = await hub.stored(user, 499)
    assert [row["title"] for row in rows] == [f"number {n}" for n in range(500) if n != 7]
    malformed: tuple[Any, ...] = ({"notifications": []}, {}, [], {"notifications": 5})
    for bad in malformed:
        refused = await service.post("/notifications/bulk", json=bad)
        assert (refused.status_code, refused.json()["code"]) == (400, "bad_body")


async def test_a_mail_that_a_service_wrote(hub: Hub, service: httpx.AsyncClient) -> None:
    address = new_address()
    mail = {"email": address, "subject": "Invoice", "html": "<p>Please <b>pay</b></p><script>x()</script>"}
    answer = await service.post("/notify/email", json=mail)
    assert answer.status_code == 202, answer.text

    async def simulated() -> Any:
        return [row for row in await deliveries(hub, address) if row["status"] == "simulated"] or None

    (row,) = await eventually(simulated, "the delivery is simulated, as mail isn't configured")
    assert (row["template"], row["event_id"]) == ("plain", answer.json()["id"])
    followed = (await service.get(f"/notifications/{answer.json()['id']}")).json()
    assert [each["status"] for each in followed["deliveries"]] == ["simulated"]
    logged = [json.loads(line) for line in hub.log.read_text().splitlines() if line.startswith("{")]
    at_starts = [line for line in logged if line["event"] == "deliveries_simulated"]
    (of_it,) = (line for line in logged if line.get("delivery") == str(row["id"]))
    starts = [line for line in logged if line["event"] == "ready"]
    assert len(at_starts) == len(starts) > 0, "each start says so once"
    assert all("SMTP_HOST" in line["why"] for line in at_starts)
    assert (of_it["event"], of_it["channel"]) == ("delivery_simulated", "email")
    assert {line["level"] for line in (*at_starts, of_it)} == {"warning"}
    for bad in ({"email": address, "subject": "nothing"}, {"email": "x", "subject": "y", "text": "z"}):
        assert (await service.post("/notify/email", json=bad)).status_code == 400


async def test_one_that_is_parked_is_accepted_and_does_not_delay_the_others_of_a_bulk(
    hub: Hub, service: httpx.AsyncClient, user_service: FakeUserService
) -> None:
    user, group, key = new_user(), new_user(), {"Idempotency-Key": new_user()}
    user_service.add_group(group, "Late", [user])
    waiting = event("food_expired", unit_name="Fridge", storage_name="Top") | {"group_id": group}
    many = {"notifications": [inapp(user), waiting, inapp(user)]}
    user_service.awake.clear()
    try:
        for _ in range(2):
            answer = await service.post("/notifications/bulk", json=many, headers=key)
            assert answer.status_code == 202
            body = answer.json()
            assert (body["accepted"], body["rejected"], body["unknown"]) == (3, 0, 0)
        assert len(await hub.stored(user, 2)) == 2
        followed = await service.get(f"/notifications/{body['results'][1]['id']}")
        assert followed.json()["status"] == "parked"
    finally:
        user_service.calm()
    assert len(await hub.stored(user, 3)) == 3, "sent again it is the same"


async def test_while_nothing_can_be_stored_no_more_is_taken_than_can_wait(
    hub: Hub, service: httpx.AsyncClient
) -> None:
    user = new_user()
    bulk = {"notifications": [{"type": "inapp", "user_id": user, "message": "x"}] * 8000}
    lock = await asyncpg.connect(hub.database)
    try:
        await lock.execute("begin; lock table processed_events in exclusive mode")
        answers = await asyncio.gather(
            *(service.post("/notifications/bulk", json=bulk, timeout=30) for _ in range(5))
        )
    finally:
        await lock.close()
    assert sorted(answer.status_code for answer in answers) == [202, 202, 503, 503, 503]
    unknown = [answer.json()["unknown"] for answer in answers if answer.status_code == 202]
    assert unknown == [8000, 8000]
    assert len(await hub.stored(user, 16_000)) == 16_000


async def test_a_test_comes_on_each_channel_to_whom_the_token_belongs(hub: Hub) -> None:
    user, address = new_user(), new_address()
    profile = {"email": address, "phone": "+84912345678"}
    async with hub.client(user) as owner:
        assert (await owner.put(f"/preferences/users/{user}/profile", json=profile)).status_code == 200
    headers = {"Authorization": f"Bearer {token(user, scope='notifications:send')}"}
    async with httpx.AsyncClient(base_url=hub.http + REST, headers=headers, verify=NO_TLS) as tester:
        answer = await tester.post("/notifications/test")
    assert (answer.status_code, answer.json()["accepted"]) == (202, 4)
    assert len(await hub.stored(user, 1)) == 1
    sent = await hub.rows("select channel, address from deliveries where user_id = $1 order by 1", user)
    assert [tuple(row) for row in sent] == [("email", address), ("sms", "+84912345678"), ("webpush", None)]


async def test_a_service_is_nobody_to_send_a_test_to(service: httpx.AsyncClient) -> None:
    answer = await service.post("/notifications/test")
    assert (answer.status_code, answer.json()["code"]) == (400, "no_user")


async def test_sending_needs_the_scope(hub: Hub) -> None:
    calls = [
        ("POST", "/notifications"),
        ("POST", "/notifications/bulk"),
        ("POST", "/notifications/test"),
        ("POST", "/notifications/dry-run"),
        ("POST", "/notify/email"),
        ("GET", "/notifications/x"),
        ("DELETE", "/notifications/x"),
    ]
    tokens = {None: 401, token(new_user()): 403, token("reader", scope="deliveries:read"): 403}
    async with httpx.AsyncClient(base_url=hub.http + REST, verify=NO_TLS) as client:
        for method, path in calls:
            for given, status in tokens.items():
                headers = {"Authorization": f"Bearer {given}"} if given else {}
                answer = await client.request(method, path, headers=headers)
                assert answer.status_code == status, (method, path)


async def test_the_list_is_also_where_v1_had_it(hub: Hub, service: httpx.AsyncClient) -> None:
    user = new_user()
    await service.post("/notifications/bulk", json={"notifications": [inapp(user)] * 3})
    async with hub.client(user) as owner:
        first = await owner.get(f"/users/{user}/notifications", params={"limit": 2})
        assert [each["seq"] for each in first.json()] == [3, 2]
        rest = await owner.get(first.links["next"]["url"].removeprefix(REST))
        assert [each["seq"] for each in rest.json()] == [1]
    async with hub.client(new_user()) as stranger:
        assert (await stranger.get(f"/users/{user}/notifications")).status_code == 403
