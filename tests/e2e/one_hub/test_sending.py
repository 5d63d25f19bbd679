"""Sending over HTTP: now, later, many at once, again, and tried out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from tests.support.hub import NO_TLS, REST, Hub, added, event, eventually, new_user, quiet, receive, token
from tests.support.mailbox import new_address
from tests.support.user_service import FakeUserService

USER = b"456e7890-e89b-12d3-a456-426614174001"
MAIL = b'{"type": "email", "to": "a@b.example", "title": "T", "message": "M"'


@pytest_asyncio.fixture
async def service(hub: Hub) -> AsyncIterator[httpx.AsyncClient]:
    """A service that may send."""
    headers = {"Authorization": f"Bearer {token('kitchen-service', scope='other notifications:send')}"}
    rest = hub.http + REST
    async with httpx.AsyncClient(base_url=rest, headers=headers, timeout=20, verify=NO_TLS) as client:
        yield client


def inapp(user: str, **more: Any) -> dict[str, Any]:
    return {"type": "inapp", "user_id": user, "title": "Hello", "message": "How are you?", **more}


async def aislice(lines: AsyncIterator[str], start: str, count: int) -> AsyncIterator[str]:
    """The first `count` lines that begin so."""
    async for line in lines:
        if line.startswith(start):
            yield line
            count -= 1
            if not count:
                return


def in_seconds(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def deliveries(hub: Hub, address: str) -> list[Any]:
    return await hub.rows("select * from deliveries where address = $1", address)


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


async def test_with_a_key_a_request_may_be_sent_again(hub: Hub, service: httpx.AsyncClient) -> None:
    user, key = new_user(), {"Idempotency-Key": f'"{new_user()}"'}
    first = await service.post("/notifications", json=inapp(user), headers=key)
    again = await service.post("/notifications", json=inapp(user), headers=key)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["location"] == first.headers["location"]
    bare = {"Idempotency-Key": key["Idempotency-Key"].strip('"')}
    assert (await service.post("/notifications", json=inapp(user), headers=bare)).content == first.content
    other = await service.post("/notifications", json=inapp(user, title="Other"), headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    bulk = await service.post("/notifications/bulk", json={"notifications": [inapp(user)]}, headers=key)
    assert (bulk.status_code, bulk.json()["code"]) == (422, "idempotency_key_reused")
    assert len(await hub.stored(user, 1)) == 1
    for bad in ("", '""', "x" * 256):
        answer = await service.post("/notifications", json=inapp(user), headers={"Idempotency-Key": bad})
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_idempotency_key")


async def test_a_key_is_one_services_own_and_free_again_after_a_refusal(
    hub: Hub, service: httpx.AsyncClient
) -> None:
    user, key = new_user(), {"Idempotency-Key": new_user()}
    assert (await service.post("/notifications", json={"type": "inapp"}, headers=key)).status_code == 400
    assert (await service.post("/notifications", json=inapp(user), headers=key)).status_code == 202
    other = {"Authorization": f"Bearer {token('other-service', scope='notifications:send')}"}
    assert (await service.post("/notifications", json=inapp(user), headers=key | other)).status_code == 202
    assert len(await hub.stored(user, 2)) == 2


async def test_the_same_key_at_once_is_one_notification(hub: Hub, service: httpx.AsyncClient) -> None:
    user, key = new_user(), {"Idempotency-Key": new_user()}
    answers = await asyncio.gather(
        *(service.post("/notifications", json=inapp(user), headers=key) for _ in range(20))
    )
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert 202 in {answer.status_code for answer in answers}
    assert all(answer.json()["code"] == "request_in_progress" for answer in answers if answer.is_error)
    assert len(await hub.stored(user, 1)) == 1


async def test_a_request_that_a_dead_node_was_handling_is_handled_again(
    hub: Hub, service: httpx.AsyncClient
) -> None:
    user, key = new_user(), {"Idempotency-Key": new_user()}
    first = await service.post("/notifications", json=inapp(user), headers=key)
    in_hand = "update idempotency_keys set status = null, handled_until = now() + $2 where key = $1"
    name = key["Idempotency-Key"]
    await hub.rows(in_hand, name, timedelta(seconds=60))
    during = await service.post("/notifications", json=inapp(user), headers=key)
    assert (during.status_code, during.json()["code"]) == (409, "request_in_progress")
    await hub.rows(in_hand, name, timedelta(seconds=-1))
    after = await service.post("/notifications", json=inapp(user), headers=key)
    assert (after.status_code, after.json()["id"]) == (202, first.json()["id"])
    assert len(await hub.stored(user, 1)) == 1, "the dead node had stored it"


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


async def test_an_id_that_is_used_again_for_other_content_is_refused_and_another_services_is_its_own(
    hub: Hub, service: httpx.AsyncClient
) -> None:
    user, event_id = new_user(), f"order-{new_user()}"
    first, other = inapp(user, event_id=event_id), inapp(user, event_id=event_id, title="Other")
    for body in (first, {**first, "data": {}, "_retry": 1, "urgent": None}):
        answer = await service.post("/notifications", json=body)
        assert answer.status_code == (202 if body is first else 409), "`data` is content, null is not"
    for path in ("/notifications", "/notifications/dry-run"):
        refused = await service.post(path, json=other)
        assert refused.headers["content-type"] == "application/problem+json"
        assert (refused.status_code, refused.json()["code"]) == (409, "event_id_conflict")
        assert event_id in refused.json()["detail"]
    many = await service.post("/notifications/bulk", json={"notifications": [first, other, inapp(user)]})
    codes = [each.get("code", each["status"]) for each in many.json()["results"]]
    assert codes == ["accepted", "event_id_conflict", "accepted"]
    headers = {"Authorization": f"Bearer {token('other-service', scope='notifications:send')}"}
    assert (await service.get(f"/notifications/{event_id}", headers=headers)).status_code == 404
    for _ in range(2):
        theirs = await service.post("/notifications", json=other, headers=headers)
        assert (theirs.status_code, theirs.json()["id"]) == (202, event_id)
    assert (await service.get(theirs.json()["follow"].removeprefix(REST), headers=headers)).status_code == 200
    rows = await hub.stored(user, 3)
    assert [row["title"] for row in rows] == ["Hello", "Hello", "Other"]


async def test_a_key_that_was_forgotten_gives_another_request_an_id_of_its_own(
    hub: Hub, service: httpx.AsyncClient
) -> None:
    user, key = new_user(), {"Idempotency-Key": new_user()}
    for title in ("One", "Two"):
        answer = await service.post("/notifications", json=inapp(user, title=title), headers=key)
        assert answer.status_code == 202
        await hub.rows("delete from idempotency_keys where key = $1", key["Idempotency-Key"])
    assert len(await hub.stored(user, 2)) == 2


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
