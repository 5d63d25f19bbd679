"""SQL wherever a request has a place for text: refused, or looked for as it is written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio

from tests.support.hub import NO_TLS, REST, Hub, added, new_user, token

SQL = [
    "' or '1'='1",
    "'; drop table notifications; --",
    '" or ""="',
    "1; select pg_sleep(10)",
    "1 union select null, version()",
    "0) or (1=1",
    "%",
    "_%",
    "\\'",
    "$1",
    ":receiver",
    "%(receiver)s",
    "{0}",
    "1e9",
    "0x10",
    "-1",
    "١",  # a digit in Arabic
    "9223372036854775808",
]
SCOPES = "deliveries:read deliveries:resend notifications:send"


@pytest_asyncio.fixture(scope="module")
async def owner(hub: Hub) -> AsyncIterator[httpx.AsyncClient]:
    """A user with three notifications, two of them unread; somebody else has one, too."""
    user, other = new_user(), new_user()
    await hub.publish(*(added(user) for _ in range(3)), added(other))
    await hub.stored(user, 3)
    await hub.stored(other, 1)
    async with hub.client(user) as client:
        client.headers["X-Test-User"] = user
        yield client


@pytest_asyncio.fixture(scope="module")
async def service(hub: Hub) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {token('support', scope=SCOPES)}"}
    async with httpx.AsyncClient(base_url=hub.http + REST, headers=headers, verify=NO_TLS) as client:
        mail = {"type": "email", "to": "user@example.com", "title": "Hello", "message": "Hi."}
        assert (await client.post("/notifications", json=mail)).status_code == 202
        yield client


async def counts(hub: Hub) -> list[tuple[int, ...]]:
    tables = ("notifications", "deliveries", "inboxes", "processed_events", "preferences")
    selected = ", ".join(f"(select count(*) from {table})" for table in tables)
    unread = "(select count(*) from notifications where not is_read)"
    return [tuple(row) for row in await hub.rows(f"select {selected}, {unread}")]


@pytest.mark.parametrize("text", SQL)
async def test_a_filter_or_cursor_is_refused_or_finds_nothing(
    hub: Hub, owner: httpx.AsyncClient, service: httpx.AsyncClient, text: str
) -> None:
    user, before = owner.headers["X-Test-User"], await counts(hub)
    inbox = f"/notifications/users/{user}"
    for name in ("limit", "before", "unread"):
        assert (await owner.get(inbox, params={name: text})).status_code == 400, name
    assert (await owner.patch(f"{inbox}/read", params={"up_to": text})).status_code == 400
    for name in ("limit", "before", "status", "channel", "since", "until"):
        assert (await service.get("/deliveries", params={name: text})).status_code == 400, name
    for name in ("event_id", "user_id"):  # any text may be one
        found = await service.get("/deliveries", params={name: text})
        assert (found.status_code, found.json()) == (200, []), name
    assert await counts(hub) == before


@pytest.mark.parametrize("text", SQL)
async def test_a_path_is_refused_or_names_nothing(
    hub: Hub, owner: httpx.AsyncClient, service: httpx.AsyncClient, text: str
) -> None:
    user, before, there = owner.headers["X-Test-User"], await counts(hub), quote(text, safe="")
    requests: list[tuple[httpx.AsyncClient, str, str, dict[str, Any]]] = [
        (owner, "GET", f"/notifications/users/{there}", {}),
        (owner, "PATCH", f"/notifications/{there}/users/{user}/read", {}),
        (owner, "DELETE", f"/notifications/{there}/users/{user}", {}),
        (owner, "DELETE", f"/notifications/{new_user()}/users/{there}", {}),
        (owner, "PUT", f"/preferences/users/{user}/{there}", {"json": {"enabled": False}}),
        (owner, "DELETE", f"/preferences/users/{user}/{there}", {}),
        (service, "GET", f"/deliveries/{there}", {}),
        (service, "POST", f"/deliveries/{there}/resend", {}),
        (service, "GET", f"/notifications/{there}", {}),
        (service, "DELETE", f"/notifications/{there}", {}),
    ]
    for client, method, path, more in requests:
        answer = await client.request(method, path, **more)
        assert answer.status_code in (400, 404), (method, path, answer.text)
    assert await counts(hub) == before


@pytest.mark.parametrize("text", SQL)
async def test_a_text_is_stored_as_it_is_written(hub: Hub, service: httpx.AsyncClient, text: str) -> None:
    user = new_user()
    body = {"type": "inapp", "user_id": user, "title": text, "message": text, "event_id": f"{text}{user}"}
    for status in (202, 202):  # the second is the same event
        sent = await service.post("/notifications", json=body)
        assert sent.status_code == status, sent.text
    (row,) = await hub.stored(user, 1)
    assert (row["title"], row["content"]) == (text, text)
    follow = await service.get(f"/notifications/{quote(body['event_id'], safe='')}")
    assert (follow.status_code, follow.json()["status"]) == (200, "processed")
    key = {"Idempotency-Key": text} if text.isascii() else {}
    body["event_id"] = f"again {text}{user}"
    ids = {(await service.post("/notifications", json=body, headers=key)).json()["id"] for _ in range(2)}
    assert len(ids) == 1
    assert len(await hub.stored(user, 2)) == 2
