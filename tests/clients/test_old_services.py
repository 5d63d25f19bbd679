"""The clients of the three services, from request to what arrives, as strict as they are about each answer.

`test_compat_routes.py` has what else the hub promises at these paths.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.clients import contract
from tests.clients.mails import mail_to, part_of
from tests.support.hub import NO_TLS, Hub, added, eventually, new_user, token
from tests.support.smtp_server import SmtpServer

WRONG: dict[str, Any] = {"a": {"b": [1]}}
STORED: Mapping[str, contract.Check] = {"id": contract.filled, "status": contract.filled}
MESSAGE: Mapping[str, contract.Check] = {
    "id": contract.integer,
    "user_id": contract.filled,
    "type": contract.filled,
    "message": contract.filled,
    "is_read": contract.boolean,
    "created_at": contract.moment,
}
MAIL: Mapping[str, contract.Check] = {
    "id": contract.integer,
    "email": contract.filled,
    "subject": contract.filled,
    "text": contract.filled,
    "status": lambda status: status in ("sent", "failed"),
    "sent_at": contract.or_null(contract.moment),
    "error_message": contract.or_null(contract.filled),
}
PREFERENCE: Mapping[str, contract.Check] = {
    "id": contract.filled,
    "category": contract.filled,
    "channel": contract.filled,
    "enabled": contract.boolean,
}
V1 = "/api/v1/notifications"


@pytest_asyncio.fixture
async def service(hub: Hub) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {token('shop', scope='notifications:send')}"}
    async with httpx.AsyncClient(verify=NO_TLS, base_url=hub.http, headers=headers, timeout=20) as client:
        yield client


@pytest.fixture
def user() -> str:
    return new_user()


@pytest_asyncio.fixture
async def own(hub: Hub, user: str) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {token(user)}"}
    async with httpx.AsyncClient(verify=NO_TLS, base_url=hub.http, headers=headers, timeout=20) as client:
        yield client


def data_of(answer: httpx.Response) -> Any:
    """The body of a success."""
    assert answer.is_success, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    return answer.json()


# RabbitMQ and FastAPI.


async def test_the_documented_message_is_mailed(service: httpx.AsyncClient, mail_server: SmtpServer) -> None:
    body = {"type": "email", "to": "user@example.com", "message": "Hello!", "user_id": 1}
    contract.conforms(data_of(await service.post("/notifications", json=body)), STORED)
    mail = await mail_to(mail_server, "user@example.com", "Hello!")
    assert (mail["Subject"], part_of(mail, "plain").splitlines()[0]) == ("Hello!", "Hello!")


@pytest.mark.parametrize(
    "more",
    [
        {"user_id": None, "title": None, "subject": None},
        {"user_id": True},
        {"user_id": WRONG},
        {"user_id": ""},
        {"user_id": "x" * 300},
        {"user_id": 1.0},
        {"title": "", "subject": ""},
        {
            "priority": "high",
            "metadata": WRONG,
            "id": 1,
            "status": "pending",
            "created_at": "2026-11-21T07:00:00",
        },
    ],
)
async def test_what_the_hub_cannot_use_never_costs_the_message(
    service: httpx.AsyncClient, mail_server: SmtpServer, address: str, more: dict[str, Any]
) -> None:
    body = {"type": "email", "to": address, "message": "Hello!", **more}
    data_of(await service.post("/notifications", json=body))
    assert (await mail_to(mail_server, address))["Subject"] == "Hello!"


@pytest.mark.parametrize(
    "content_type", [None, "application/x-www-form-urlencoded", "application/json; charset=UTF-8"]
)
async def test_json_is_read_under_any_content_type(
    service: httpx.AsyncClient, mail_server: SmtpServer, address: str, content_type: str | None
) -> None:
    """curl -d, and clients that name none."""
    body = f'{{"type": "EMAIL", "to": "{address}", "message": "Xin chào!"}}'.encode()
    headers = {"Content-Type": content_type} if content_type else {}
    data_of(await service.post("/notifications", content=body, headers=headers))
    assert (await mail_to(mail_server, address))["Subject"] == "Xin chào!"


async def test_a_message_by_sms_and_one_in_app(
    service: httpx.AsyncClient, own: httpx.AsyncClient, user: str
) -> None:
    sms = {"type": "sms", "to": "+84901234567", "message": "Hello!", "user_id": 1}
    contract.conforms(data_of(await service.post("/notifications", json=sms)), STORED)
    inapp = {"type": "in_app", "to": "", "message": "Hello!", "user_id": user}
    contract.conforms(data_of(await service.post("/notifications", json=inapp)), STORED)
    for path in (f"/users/{user}/notifications", "/users/1/notifications?skip=0&limit=10&_=1"):
        (listed,) = data_of(await own.get(path))
        contract.conforms(listed, MESSAGE)
        assert (listed["user_id"], listed["message"]) == (user, "Hello!")


# The service of mails.


async def test_the_row_of_a_mail(service: httpx.AsyncClient, address: str) -> None:
    body = {"email": address, "subject": "Welcome", "text": "Hello!"}
    contract.conforms(data_of(await service.post("/notify/email", json=body)), STORED)
    rows = [data_of(await service.post("/notify/email?wait=sent", json=body)) for _ in range(2)]
    for row in rows:
        contract.conforms(row, MAIL, others=False)
        assert row.items() >= {**body, "status": "sent", "error_message": None}.items()
    assert rows[0]["id"] < rows[1]["id"]


@pytest.mark.parametrize(
    "more", [{"html": None}, {"html": ""}, {"cc": [], "priority": 1, "template": None, "user_id": 1}]
)
async def test_what_the_hub_cannot_use_never_costs_the_mail(
    service: httpx.AsyncClient, mail_server: SmtpServer, address: str, more: dict[str, Any]
) -> None:
    body = {"email": address, "subject": "Welcome", "text": "Hello!", **more}
    data_of(await service.post("/notify/email", json=body))
    await mail_to(mail_server, address)
    bulk = data_of(await service.post("/notify/bulk", json=[{**body, "subject": "In bulk"}]))
    assert (bulk["accepted"], bulk["rejected"]) == (1, 0)
    await mail_to(mail_server, address, "In bulk")


# The service of in-app notifications.


async def test_the_inbox_of_the_token(hub: Hub, own: httpx.AsyncClient, user: str) -> None:
    await hub.publish(added(user, "one"), added(user, "two"), key=b"one partition")
    await hub.stored(user, 2)
    listed = data_of(await own.get(f"{V1}/"))
    for each in listed:
        contract.conforms(contract.notification(each), MESSAGE)
    assert data_of(await own.get(f"{V1}/?limit=50&offset=0&page=1")) == listed
    for query in ("skip=1", "offset=1", "page=2&limit=1", "page=2&page_size=1", "offset=1&unread_only=True"):
        assert data_of(await own.get(f"{V1}/?{query}")) == listed[1:], query
    assert data_of(await own.get(f"{V1}/unread")) == listed
    read = data_of(await own.post(f"{V1}/mark-read/{listed[0]['id']}", json={}))
    assert (read["id"], read["is_read"]) == (listed[0]["id"], True)
    assert data_of(await own.get(f"{V1}/?unread_only=1")) == listed[1:]
    data_of(await own.post(f"{V1}/mark-all-read"))
    assert data_of(await own.get(f"{V1}/unread")) == []
    for path in ("mark-read/999999999", f"mark-read/{2**63}"):
        assert (await own.post(f"{V1}/{path}")).status_code in (400, 404)


async def test_a_preference_is_written_as_it_was_read(own: httpx.AsyncClient) -> None:
    every = data_of(await own.get(f"{V1}/preferences"))
    for each in every:
        contract.conforms(each, PREFERENCE)
    one = next(each for each in every if each["category"] == "food" and each["channel"] == "email")
    new = {**one, "enabled": not one["enabled"], "user_id": 1, "frequency": "daily"}
    made = data_of(await own.post(f"{V1}/preferences", json=new))
    contract.conforms(made, PREFERENCE)
    changed = data_of(
        await own.put(f"{V1}/preferences/{made['id']}", json={**made, "enabled": one["enabled"]})
    )
    assert (changed["id"], changed["enabled"]) == (made["id"], one["enabled"])
    assert (await own.delete(f"{V1}/preferences/{made['id']}")).is_success
    found = [each for each in data_of(await own.get(f"{V1}/preferences")) if each["id"] == one["id"]]
    assert found == [one]


async def test_a_user_tests_oneself_with_an_ordinary_token(own: httpx.AsyncClient) -> None:
    data_of(await own.post(f"{V1}/test", json={"message": "Test"}))

    async def came() -> Any:
        return data_of(await own.get(f"{V1}/unread"))

    (listed,) = await eventually(came, "the test in the inbox")
    contract.conforms(contract.notification(listed), MESSAGE)


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/api/v1/docs", "/api/v1/redoc", "/api/v1/docs/"])
async def test_a_reference_is_a_page(hub: Hub, path: str) -> None:
    async with httpx.AsyncClient(verify=NO_TLS, base_url=hub.http) as browser:
        answer = await browser.get(path, follow_redirects=True)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "<html" in answer.text.lower()
