"""The requests of the services that the hub replaces: only the address and the token are new."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import pytest_asyncio
from openapi_spec_validator import OpenAPIV30SpecValidator

from tests.support.hub import NO_TLS, REST, Hub, added, eventually, new_user, token
from tests.support.smtp_server import SmtpServer

NOTIFICATION: dict[str, type | tuple[type, ...]] = {
    "id": int,
    "user_id": str,
    "type": str,
    "title": str,
    "message": str,
    "content": str,
    "is_read": bool,
    "created_at": str,
    "raw_data": dict,
}
MAIL: dict[str, type | tuple[type, ...]] = {
    "id": int,
    "email": str,
    "subject": str,
    "text": str,
    "status": str,
    "sent_at": (str, type(None)),
    "error_message": (str, type(None)),
}
V1 = "/api/v1/notifications"


def check(body: Any, fields: dict[str, type | tuple[type, ...]]) -> None:
    """Validate as strictly as the old clients: each field is there, and of its type."""
    assert isinstance(body, dict)
    wrong = {name: body.get(name) for name, type_ in fields.items() if not isinstance(body.get(name), type_)}
    assert not wrong
    assert fields.keys() <= body.keys()


@asynccontextmanager
async def client_of(hub: Hub, bearer: str | None) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    async with httpx.AsyncClient(verify=NO_TLS, base_url=hub.http, headers=headers, timeout=20) as client:
        yield client


@pytest_asyncio.fixture
async def service(hub: Hub) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(hub, token("booking-service", scope="notifications:send")) as client:
        yield client


@pytest.fixture
def user() -> str:
    return new_user()


@pytest_asyncio.fixture
async def own(hub: Hub, user: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of this user, without scopes."""
    async with client_of(hub, token(user)) as client:
        yield client


async def mail_to(mail_server: SmtpServer, address: str) -> Any:
    """The mail to this address, once it came."""

    async def came() -> Any:
        found = [each.parsed for each in mail_server.messages if address in each.recipient]
        return found[0] if found else None

    return await eventually(came, f"a mail to {address}")


# The service of single messages.


@pytest.mark.parametrize(
    ("message", "more", "subject"),
    [
        ("Hello!", {}, "Hello!"),
        ("\n  Your seats\nare reserved.", {}, "Your seats"),
        ("Hello!", {"title": "A title"}, "A title"),
        ("Hello!", {"subject": "A subject"}, "A subject"),
    ],
)
async def test_a_message_is_mailed_with_its_first_line_as_subject(
    service: httpx.AsyncClient,
    mail_server: SmtpServer,
    address: str,
    message: str,
    more: dict[str, str],
    subject: str,
) -> None:
    answer = await service.post(
        "/notifications", json={"type": "email", "to": address, "message": message, **more}
    )
    assert answer.status_code == 202, answer.text
    check(answer.json(), {"id": str, "status": str, "follow": str})
    assert (await mail_to(mail_server, address))["Subject"] == subject


@pytest.mark.parametrize("user_id", [1, "1", "user_123"])
async def test_a_message_may_name_a_foreign_user(
    hub: Hub, service: httpx.AsyncClient, mail_server: SmtpServer, address: str, user_id: int | str
) -> None:
    body = {"type": "email", "to": address, "message": "Hello!", "user_id": user_id}
    answer = await service.post("/notifications", json=body)
    assert answer.status_code == 202, answer.text
    await mail_to(mail_server, address)
    kept = "select user_id, foreign_user_id from deliveries where address = $1"
    assert [tuple(row) for row in await hub.rows(kept, address)] == [(None, str(user_id))]
    inbox = {"type": "inapp", "message": "Hello!", "user_id": user_id}
    refused = await service.post("/notifications", json=inbox)
    assert (refused.status_code, refused.json()["code"]) == (400, "bad_field")
    assert "user_id" in refused.json()["detail"]


@pytest.mark.parametrize("spelling", ["inapp", "in_app", "in-app", "IN-APP"])
async def test_a_message_to_an_inbox_is_listed(
    service: httpx.AsyncClient, own: httpx.AsyncClient, user: str, spelling: str
) -> None:
    body = {"type": spelling, "to": "user@example.com", "user_id": user, "message": "Hello!"}
    assert (await service.post("/notifications/", json=body)).status_code == 202
    for path in (f"/users/{user}/notifications", f"/users/{user}/notifications/", "/users/1/notifications"):
        answer = await own.get(path)
        assert answer.status_code == 200, answer.text
        (listed,) = answer.json()
        check(listed, NOTIFICATION)
        assert (listed["user_id"], listed["message"], listed["type"]) == (user, "Hello!", "inapp")


async def test_a_list_of_another_user_is_refused(own: httpx.AsyncClient, hub: Hub) -> None:
    answer = await own.get(f"/users/{new_user()}/notifications")
    assert (answer.status_code, answer.json()["code"]) == (403, "other_user")
    async with client_of(hub, None) as anonymous:
        assert (await anonymous.get("/users/1/notifications")).status_code == 401


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"type": "email", "to": "user@example.com"}, "message"),
        ({"type": "pigeon", "to": "user@example.com", "message": "x"}, "type"),
        ({"type": "email", "to": "nobody", "message": "x"}, "to"),
        ({"type": "inapp", "message": "x", "user_id": True}, "user_id"),
    ],
)
async def test_a_message_that_cannot_be_sent_is_refused_by_the_name_of_the_field(
    service: httpx.AsyncClient, body: dict[str, Any], named: str
) -> None:
    answer = await service.post("/notifications", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert named in answer.json()["detail"]


# The service of mails.


async def test_a_mail_is_accepted(service: httpx.AsyncClient, mail_server: SmtpServer, address: str) -> None:
    body = {"email": address, "subject": "Welcome", "text": "Hello!"}
    answer = await service.post("/notify/email", json=body)
    assert (answer.status_code, answer.json()["status"]) == (202, "accepted")
    assert (await mail_to(mail_server, address))["Subject"] == "Welcome"
    assert (await service.get(answer.headers["location"])).json()["status"] == "processed"


async def test_with_wait_the_outcome_is_the_row_of_a_sent_mail(
    service: httpx.AsyncClient, address: str
) -> None:
    body = {"email": address, "subject": "Welcome", "text": "Hello!"}
    key = {"Idempotency-Key": new_user()}
    answer = await service.post("/notify/email?wait=sent", json=body, headers=key)
    assert answer.status_code == 200, answer.text
    row = answer.json()
    check(row, MAIL)
    assert row.items() >= {**body, "status": "sent", "error_message": None}.items()
    assert row["sent_at"].endswith("Z")
    again = await service.post("/notify/email?wait=sent", json=body, headers=key)
    assert again.json() == row, "a retry with the same key sends nothing"


async def test_with_wait_the_outcome_is_the_row_of_a_failed_mail(
    service: httpx.AsyncClient, mail_server: SmtpServer, address: str
) -> None:
    mail_server.answer("rcpt", "550 5.1.1 no such user", about=address)
    body = {"email": address, "subject": "Welcome", "text": "Hello!"}
    answer = await service.post("/notify/email/?wait=sent", json=body)
    assert answer.status_code == 200, answer.text
    check(answer.json(), MAIL)
    assert (answer.json()["status"], answer.json()["sent_at"]) == ("failed", None)
    assert "no such user" in answer.json()["error_message"]


async def test_when_the_time_is_over_the_answer_says_where_to_follow(
    service: httpx.AsyncClient, mail_server: SmtpServer, address: str
) -> None:
    mail_server.answer("rcpt", "451 4.3.0 later", about=address)
    body = {"email": address, "subject": "Welcome", "text": "Hello!"}
    began = time.monotonic()
    answer = await service.post("/notify/email?wait=sent", json=body)
    assert 1.0 < time.monotonic() - began < 6.0, "HTTP_WAIT is 2 s"
    assert answer.status_code == 202, answer.text
    check(answer.json(), {**MAIL, "follow": str})
    assert (answer.json()["status"], answer.json()["sent_at"]) == ("pending", None)
    assert "later" in answer.json()["error_message"]
    assert answer.json()["follow"] == answer.headers["location"]
    assert (await service.get(answer.headers["location"])).status_code == 200


@pytest.mark.parametrize(
    "make",
    [
        lambda mails: mails,
        lambda mails: {"notifications": mails},
        lambda mails: {"emails": mails},
        lambda mails: b"\xef\xbb\xbf" + json.dumps(mails).encode(),
        lambda mails: {
            "emails": [mail["email"] for mail in mails],
            "subject": "Welcome",
            "text": "Hello!",
        },
    ],
)
async def test_many_mails(
    service: httpx.AsyncClient, mail_server: SmtpServer, make: Callable[[list[dict[str, str]]], Any]
) -> None:
    addresses = [f"user-{uuid.uuid4().hex}@example.com" for _ in range(2)]
    mails = [{"email": each, "subject": "Welcome", "text": "Hello!"} for each in addresses]
    body = make(mails)
    content = body if isinstance(body, bytes) else json.dumps(body)
    answer = await service.post("/notify/bulk", content=content)
    assert answer.status_code == 202, answer.text
    assert (answer.json()["accepted"], answer.json()["rejected"]) == (2, 0)
    for each in addresses:
        assert (await mail_to(mail_server, each))["Subject"] == "Welcome"


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("email", {"email": "nobody", "subject": "x", "text": "y"}, "email"),
        ("email", {"email": "user@example.com", "subject": "x"}, "text"),
        ("email?wait=delivered", {"email": "user@example.com", "subject": "x", "text": "y"}, "wait"),
        ("bulk", [{"email": "user@example.com", "text": "y"}], "subject"),
        ("bulk", {"mails": []}, "mails"),
        ("bulk?wait=sent", [{"email": "user@example.com", "subject": "x", "text": "y"}], "wait"),
        ("bulk", [], "array"),
    ],
)
async def test_a_mail_that_cannot_be_sent_is_refused_by_the_name_of_the_field(
    service: httpx.AsyncClient, path: str, body: Any, named: str
) -> None:
    answer = await service.post(f"/notify/{path}", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert named in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/notifications", "/notify/email", "/notify/bulk"])
async def test_sending_takes_a_service_with_the_scope(hub: Hub, own: httpx.AsyncClient, path: str) -> None:
    refused = await own.post(path, json={})
    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
    async with client_of(hub, None) as anonymous:
        answer = await anonymous.post(path, json={})
    assert (answer.status_code, answer.json()["code"]) == (401, "missing_token")
    assert "Bearer" in answer.headers["www-authenticate"]


# The service of in-app notifications.


@pytest.fixture(params=["", "/"], ids=["bare", "slash"])
def slash(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_the_inbox_is_listed_and_read(hub: Hub, own: httpx.AsyncClient, user: str, slash: str) -> None:
    await hub.publish(*(added(user, f"requester {number}") for number in range(3)))
    await hub.stored(user, 3)
    listed = (await own.get(f"{V1}{slash}")).json()
    assert [each["seq"] for each in listed] == [3, 2, 1]
    for each in listed:
        check(each, NOTIFICATION)
        assert (each["user_id"], each["type"]) == (user, "group_user_added")
    page = await own.get(f"{V1}{slash}", params={"skip": 1, "limit": 1})
    assert [each["seq"] for each in page.json()] == [2]
    assert 'rel="next"' in page.headers["link"]

    read = await own.post(f"{V1}/mark-read/{listed[0]['id']}{slash}")
    assert (read.status_code, read.json()["is_read"]) == (200, True)
    check(read.json(), NOTIFICATION)
    unread = (await own.get(f"{V1}/unread{slash}")).json()
    assert [each["seq"] for each in unread] == [2, 1]
    everything = await own.post(f"{V1}/mark-all-read{slash}")
    assert (everything.status_code, everything.json()["unread"]) == (200, 0)
    assert (await own.get(f"{V1}/unread{slash}")).json() == []


async def test_what_belongs_to_another_user_is_not_found(hub: Hub, own: httpx.AsyncClient, user: str) -> None:
    other = new_user()
    await hub.publish(added(other))
    (row,) = await hub.stored(other, 1)
    answer = await own.post(f"{V1}/mark-read/{row['id']}")
    assert (answer.status_code, answer.json()["code"]) == (404, "no_such_notification")
    assert (await own.get(f"{V1}/")).json() == []
    assert (await hub.stored(other, 1))[0]["is_read"] is False


async def test_preferences(own: httpx.AsyncClient, slash: str) -> None:
    path = f"{V1}/preferences"
    every = (await own.get(f"{path}{slash}")).json()
    for each in every:
        check(each, {"id": str, "category": str, "channel": str, "enabled": bool})
    new = {"category": "food", "channel": "email", "enabled": False}
    made = await own.post(f"{path}{slash}", json=new)
    assert (made.status_code, made.json()["id"]) == (201, "food.email")
    assert made.headers["location"] == f"{path}/food.email"
    assert (await own.post(f"{path}{slash}", json=new)).status_code == 409
    for body in ({"enabled": True}, {**new, "enabled": True}):
        changed = await own.put(f"{path}/food.email{slash}", json=body)
        assert (changed.status_code, changed.json()["enabled"]) == (200, True)
    reset = await own.delete(f"{path}/food.email{slash}")
    assert (reset.status_code, reset.json()["by"]) == (200, "default")
    assert (await own.delete(f"{path}/food.email{slash}")).status_code == 404
    wrong = {"category": "plans", "enabled": True}
    assert (await own.put(f"{path}/food.email{slash}", json=wrong)).status_code == 400
    assert (await own.put(f"{path}/nothing{slash}", json={"enabled": True})).status_code == 404


async def test_a_user_tests_oneself_in_app_and_a_service_every_channel(
    hub: Hub, own: httpx.AsyncClient, user: str
) -> None:
    paths = [f"{V1}/test", f"{V1}/test/"] * 3
    answers = await asyncio.gather(*map(own.post, paths))
    for answer in answers:
        assert (answer.status_code, answer.json()["accepted"]) == (202, 1), answer.text
    assert 1 <= len((await own.get(f"{V1}/")).json()) <= 2, "one a second"
    async with client_of(hub, token(user, scope="notifications:send")) as scoped:
        await asyncio.sleep(1.0)
        assert len((await scoped.post(f"{V1}/test")).json()["results"]) == 3


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/unread"),
        ("POST", "/mark-read/1"),
        ("POST", "/mark-all-read"),
        ("GET", "/preferences"),
        ("POST", "/preferences"),
        ("PUT", "/preferences/food.email"),
        ("DELETE", "/preferences/food.email"),
        ("POST", "/test"),
    ],
)
async def test_without_a_token_nothing_is_answered(hub: Hub, method: str, path: str) -> None:
    async with client_of(hub, None) as anonymous:
        answer = await anonymous.request(method, V1 + path)
    assert (answer.status_code, answer.json()["code"]) == (401, "missing_token")
    assert "Bearer" in answer.headers["www-authenticate"]


# The references.


@pytest.mark.parametrize(
    ("page", "document", "path"),
    [
        ("/docs", "/openapi.json", "/notifications"),
        ("/redoc", "/openapi.json", "/users/{old_user_id}/notifications"),
        ("/api/v1/docs", "/api/v1/openapi.json", "/api/v1/notifications/unread"),
        ("/api/v1/redoc", "/api/v1/openapi.json", "/api/v1/notifications/preferences"),
        (f"{REST}/docs", f"{REST}/docs/openapi.json", "/notify/email"),
        (f"{REST}/redoc", f"{REST}/docs/openapi.json", f"{REST}/notifications"),
    ],
)
async def test_a_reference_describes_its_service(hub: Hub, page: str, document: str, path: str) -> None:
    async with client_of(hub, None) as anyone:
        shown = await anyone.get(page)
        described = (await anyone.get(document)).json()
    assert (shown.status_code, document in shown.text) == (200, True)
    assert path in described["paths"]
    assert [error.message for error in OpenAPIV30SpecValidator(described).iter_errors()] == []
    if not page.startswith(REST):
        assert not any(each.startswith(REST) for each in described["paths"])


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/api/v1/nowhere", "/api/v1/docs"),
        ("/users/1/nowhere", "/docs"),
        ("/notify/fax", f"{REST}/docs"),
        (f"{REST}/nowhere", f"{REST}/docs"),
    ],
)
async def test_a_404_names_the_reference_of_the_service(hub: Hub, path: str, named: str) -> None:
    async with client_of(hub, None) as anyone:
        answer = await anyone.get(path)
    assert answer.status_code == 404
    assert answer.json()["detail"].endswith(f" {named}.")
