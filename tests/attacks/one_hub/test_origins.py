"""Pages of other sites: no socket, no leave to read REST answers.

What is an allowed origin is tested in tests/unit/test_origins.py.
"""

from __future__ import annotations

import httpx
import pytest

from tests.support.hub import NO_TLS, WEBSOCKET, Hub, new_user, token

ALLOWED = "https://app.example.com"
FOREIGN = [
    "https://evil.example",
    "null",
    "http://app.example.com",
    "https://app.example.com:444",
    "https://app.example.com.evil.example",
    "https://appXexample.com",
    "https://evil-app.example.com",
    "https://app.example.com@evil.example",
    "https://evil.example/https://app.example.com",
    "https://evil.example#https://app.example.com",
    "https://app.example.com%00.evil.example",
    "https://app.example.comm",
    "https://xn--pp-xia.example.com",
    "//app.example.com",
    "app.example.com",
    "file://",
    "*",
    f"{ALLOWED} https://evil.example",
    f"{ALLOWED}, https://evil.example",
    f"{ALLOWED}/",
]
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


async def upgrade(hub: Hub, origin: str | None, **headers: str) -> int:
    user = new_user()
    given = {**UPGRADE, "Authorization": f"Bearer {token(user)}", **headers}
    given |= {} if origin is None else {"Origin": origin}
    async with httpx.AsyncClient(base_url=hub.http, verify=NO_TLS) as client:
        return (await client.get(f"{WEBSOCKET}/notifications/users/{user}", headers=given)).status_code


@pytest.mark.parametrize("origin", FOREIGN)
async def test_a_foreign_page_gets_no_socket(hub: Hub, origin: str) -> None:
    assert await upgrade(hub, origin) == 403


@pytest.mark.parametrize("origin", [None, ALLOWED])
async def test_an_app_and_an_allowed_page_get_one(hub: Hub, origin: str | None) -> None:
    assert await upgrade(hub, origin) == 101


@pytest.mark.parametrize(
    "header", ["Host", "X-Forwarded-Host", "Sec-WebSocket-Origin", "Referer", "Forwarded"]
)
async def test_no_other_header_makes_a_page_an_allowed_one(hub: Hub, header: str) -> None:
    assert await upgrade(hub, "https://evil.example", **{header: "app.example.com"}) == 403
    assert await upgrade(hub, "https://evil.example", **{header: "evil.example"}) == 403


@pytest.mark.parametrize("origin", FOREIGN)
async def test_a_foreign_page_may_read_no_answer(hub: Hub, origin: str) -> None:
    user = new_user()
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    async with hub.client(user, Origin=origin) as client:
        for answer in (
            await client.get(f"/notifications/users/{user}"),
            await client.options(f"/notifications/users/{user}", headers=asked),
            await client.get("/nowhere"),
        ):
            assert "access-control-allow-origin" not in answer.headers, answer.headers


async def test_an_allowed_page_may_but_brings_no_cookies(hub: Hub) -> None:
    user = new_user()
    async with hub.client(user, Origin=ALLOWED) as client:
        answer = await client.get(f"/notifications/users/{user}")
    assert answer.headers["access-control-allow-origin"] == ALLOWED
    assert "access-control-allow-credentials" not in answer.headers
    assert "origin" in answer.headers["vary"].lower()
    assert "accept-language" in answer.headers["vary"].lower()
