"""Sending again over HTTP: idempotency keys, and ids that are used twice."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import httpx

from tests.support.hub import REST, Hub, new_user, token
from tests.support.sending import inapp


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
