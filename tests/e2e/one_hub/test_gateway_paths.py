"""What Kong's routes make of the clients' calls, called on the hub that runs.

`tests/support/kong_router.py` computes the upstream path, and this test requests it from the real router. A
path on which kong.yml and the hub disagree fails. An answer that only a handler can give proves the route.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import httpx
import pytest
import yaml
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from tests.support.hub import NO_TLS
from tests.support.kong_router import match, upstream_path

KONG: dict[str, Any] = yaml.safe_load((Path(__file__).parents[3] / "kong.yml").read_text())
REST = "/api/v2/notification-service"


class Hub(Protocol):
    """A running hub, from the fixture of that name."""

    @property
    def http(self) -> str: ...
    @property
    def ws(self) -> str: ...
    def token(self, user_id: str) -> str: ...


async def _through_kong(hub: Hub, method: str, path: str, user: str | None = None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {hub.token(user)}"} if user else {}
    async with httpx.AsyncClient(base_url=hub.http, verify=NO_TLS) as client:
        return await client.request(method, upstream_path(KONG, method, path, headers), headers=headers)


async def test_a_users_own_list_is_a_json_list(hub: Hub) -> None:
    user = str(uuid4())
    answer = await _through_kong(hub, "GET", f"{REST}/notifications/users/{user}?limit=5", user)
    assert (answer.status_code, answer.json()) == (200, [])
    assert "alt-svc" not in answer.headers, "an empty one is none (RFC 7838, 3)"


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/notifications/users/{}"), ("PUT", "/preferences/users/{}/x")]
)
async def test_a_page_of_an_allowed_origin_may_call_by_the_answer_to_its_preflight(
    hub: Hub, method: str, path: str
) -> None:
    asked = {"Origin": "https://app.example.com", "Access-Control-Request-Method": method}
    upstream = upstream_path(KONG, "OPTIONS", REST + path.format(uuid4()))
    async with httpx.AsyncClient(base_url=hub.http, verify=NO_TLS) as client:
        answer = await client.options(upstream, headers=asked)
    assert answer.is_success
    assert answer.headers["access-control-allow-origin"] == "https://app.example.com"
    assert method in answer.headers["access-control-allow-methods"]


async def test_without_a_token_the_list_is_refused_by_the_hub_too(hub: Hub) -> None:
    answer = await _through_kong(hub, "GET", f"{REST}/notifications/users/{uuid4()}")
    assert answer.status_code == 401


@pytest.mark.parametrize(("method", "end"), [("PATCH", "/read"), ("DELETE", "")])
async def test_read_and_delete_reach_their_handler(hub: Hub, method: str, end: str) -> None:
    """Another user's path is 403, which only the handler of that path can say."""
    answer = await _through_kong(hub, method, f"{REST}/notifications/1/users/{uuid4()}{end}", str(uuid4()))
    assert answer.status_code == 403


@pytest.mark.parametrize("path", ["/health", "/ready", "/docs", "/docs/openapi.json"])
async def test_open_paths_answer_without_a_token(hub: Hub, path: str) -> None:
    answer = await _through_kong(hub, "GET", REST + path)
    assert answer.status_code == 200
    if path.endswith(".json"):
        assert f"{REST}/notifications/users/{{user_id}}" in answer.json()["paths"]


@pytest.mark.parametrize("way", ["header", "argument", "subprotocol"])
async def test_the_websocket_upgrades_with_a_token_in_each_place(hub: Hub, way: str) -> None:
    user = str(uuid4())
    token = hub.token(user)
    path = f"/ws/v2/notification-service/notifications/users/{user}"
    headers: dict[str, str] = {}
    offered: list[Subprotocol] | None = None
    route = "hub-websocket"
    if way == "header":
        headers["Authorization"] = f"Bearer {token}"
    elif way == "argument":
        path += f"?jwt={token}"
    else:
        offered = [Subprotocol("hub.v1"), Subprotocol(f"bearer.{token}")]
        route = "hub-websocket-browser"
    seen_by_kong = headers | ({"Sec-WebSocket-Protocol": ", ".join(offered)} if offered else {})
    taken = match(KONG, "GET", path, seen_by_kong)
    assert taken.route == route
    async with connect(
        hub.ws + taken.upstream_path, additional_headers=headers, subprotocols=offered, proxy=None
    ) as socket:
        assert socket.response is not None
        assert socket.response.status_code == 101
        assert socket.subprotocol == ("hub.v1" if offered else None)
