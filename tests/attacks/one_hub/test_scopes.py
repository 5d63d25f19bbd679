"""Each call with each kind of token that isn't the right one."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import httpx
import pytest
import pytest_asyncio

from tests.support.hub import METRICS_TOKEN, NO_TLS, REST, Hub, new_user, token

OPEN = {"GET /health", "GET /ready"}
SCOPES = {
    "GET /metrics": "metrics:read",
    "GET /deliveries": "deliveries:read",
    "GET /deliveries/{}": "deliveries:read",
    "GET /events/{}/explain": "deliveries:read",
    "POST /deliveries/{}/resend": "deliveries:resend",
    "POST /notifications": "notifications:send",
    "POST /notifications/bulk": "notifications:send",
    "POST /notifications/test": "notifications:send",
    "POST /notifications/dry-run": "notifications:send",
    "POST /notify/email": "notifications:send",
    "GET /notifications/{}": "notifications:send",
    "DELETE /notifications/{}": "notifications:send",
    "PATCH /notifications": "notifications:send",
    "DELETE /notifications": "notifications:send",
    "GET /topics": "notifications:send",
    "GET /broadcasts": "notifications:send",
    "GET /broadcasts/{}": "notifications:send",
    "POST /broadcasts/{}/pause": "notifications:send",
    "POST /broadcasts/{}/resume": "notifications:send",
    "POST /broadcasts/{}/cancel": "notifications:send",
    "PUT /topics/{}": "notifications:send",
    "DELETE /topics/{}": "notifications:send",
    "GET /topics/{}/followers": "notifications:send",
    "POST /topics/{}/followers": "notifications:send",
}
FOR_BOTH = {"PUT /topics/{}/followers/{}", "DELETE /topics/{}/followers/{}", "GET /topics/users/{}"}
"""A user's own calls that a service with `notifications:send` may make as well."""
ALL_SCOPES = " ".join(sorted(set(SCOPES.values())))


class Call(NamedTuple):
    """One that the OpenAPI document lists."""

    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {re.sub('{.*?}', '{}', self.path)}"

    @property
    def of_a_user(self) -> bool:
        return "{user_id}" in self.path

    @property
    def of_who_asks(self) -> bool:
        """Whether it is about the user whose token comes with it: nobody else can be named."""
        return self.path.startswith(("/devices", "/addresses"))

    async def ask(self, client: httpx.AsyncClient, bearer: str | None) -> httpx.Response:
        path = re.sub("{.*?}", lambda _: new_user(), self.path)
        headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}".strip()}
        body: object = None if self.method in ("GET", "DELETE") else {}
        return await client.request(self.method, path, headers=headers, json=body)


@pytest_asyncio.fixture(scope="module")
async def client(hub: Hub) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=hub.http + REST, verify=NO_TLS) as client:
        yield client


@pytest_asyncio.fixture(scope="module")
async def calls(client: httpx.AsyncClient) -> list[Call]:
    """All REST calls but the open ones: who adds one meets these tests."""
    document: dict[str, Any] = (await client.get("/docs/openapi.json")).json()
    listed = [
        Call(method.upper(), path.removeprefix(REST))
        for path, methods in document["paths"].items()
        if path.startswith(REST)
        for method in methods
    ]
    assert {str(call) for call in listed} >= OPEN | SCOPES.keys()
    return [call for call in listed if str(call) not in OPEN]


async def test_without_a_token_no_call_does_anything(client: httpx.AsyncClient, calls: list[Call]) -> None:
    for call in calls:
        for bearer in (None, "", "x", token(new_user()) + "=", token(new_user(), lifetime=-60)):
            answer = await call.ask(client, bearer)
            assert answer.status_code == 401, f"{call} with {bearer}: {answer.text}"
            assert answer.headers["www-authenticate"].startswith("Bearer ")


async def test_a_users_own_calls_are_refused_to_any_other_user_and_to_services(
    client: httpx.AsyncClient, calls: list[Call]
) -> None:
    for call in (call for call in calls if call.of_a_user):
        both = str(call) in FOR_BOTH
        scopes = ALL_SCOPES.replace("notifications:send", "") if both else ALL_SCOPES
        for bearer in (token(new_user()), token(new_user(), scope=scopes)):
            answer = await call.ask(client, bearer)
            assert (answer.status_code, answer.json()["code"]) == (403, "other_user"), str(call)
        assert (await call.ask(client, token("a-service", scope=scopes))).status_code == 401, str(call)
        if both:
            allowed = await call.ask(client, token("a-service", scope=ALL_SCOPES))
            assert allowed.status_code == 200, f"{call}: {allowed.text}"


async def test_what_is_about_who_asks_is_refused_to_services(
    client: httpx.AsyncClient, calls: list[Call]
) -> None:
    own = [call for call in calls if call.of_who_asks]
    assert own
    for call in own:
        assert (await call.ask(client, token("a-service", scope=ALL_SCOPES))).status_code == 401, str(call)


async def test_every_other_call_needs_its_own_scope(client: httpx.AsyncClient, calls: list[Call]) -> None:
    of_services = [call for call in calls if not (call.of_a_user or call.of_who_asks)]
    assert {str(call) for call in of_services} == SCOPES.keys()
    for call in of_services:
        needed = SCOPES[str(call)]
        others = ALL_SCOPES.replace(needed, "")
        for scope in (None, others, needed.upper(), f"{needed}x", needed.replace(":", " "), f"x{needed}"):
            answer = await call.ask(client, token("a-service", scope=scope))
            assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope"), str(call)
            assert f'scope="{needed}"' in answer.headers["www-authenticate"]
        allowed = await call.ask(client, token("a-service", scope=needed))
        assert allowed.status_code in (200, 202, 400, 404, 409), f"{call}: {allowed.text}"


async def test_metrics_are_for_the_scraper_and_for_the_scope(client: httpx.AsyncClient) -> None:
    for bearer in (METRICS_TOKEN, token("prometheus", scope="metrics:read")):
        answer = await client.get("/metrics", headers={"Authorization": f"Bearer {bearer}"})
        assert answer.status_code == 200
        assert "hub_connections" in answer.text
    for bearer in (METRICS_TOKEN[:-1], METRICS_TOKEN + "x", METRICS_TOKEN.upper(), "é", ""):
        header = f"Bearer {bearer}".strip().encode("latin-1")
        answer = await client.get("/metrics", headers=[(b"Authorization", header)])
        assert answer.status_code == 401, bearer
        assert "hub_" not in answer.text
    answer = await client.get("/metrics", params={"jwt": METRICS_TOKEN})
    assert answer.status_code == 401


async def test_the_scrapers_token_opens_nothing_else(client: httpx.AsyncClient, calls: list[Call]) -> None:
    for call in calls:
        if str(call) != "GET /metrics":
            assert (await call.ask(client, METRICS_TOKEN)).status_code == 401, str(call)


@pytest.mark.parametrize("path", ["/metrics/", "//metrics", "/docs/../metrics", "/%6detrics", "/METRICS"])
async def test_metrics_have_no_other_endpoint(client: httpx.AsyncClient, path: str) -> None:
    request = client.build_request("GET", "/metrics")
    request.url = request.url.copy_with(raw_path=f"{REST}{path}".encode())
    answer = await client.send(request)
    assert answer.status_code in (401, 404)
    assert "hub_" not in answer.text
