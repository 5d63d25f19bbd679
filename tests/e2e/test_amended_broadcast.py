"""An update of a broadcast that runs, through the whole hub: over HTTP, and live."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.support.hub import NO_TLS, REST, Hub, eventually, new_user, quiet, receive, token

PAGE = 3


@pytest.fixture(scope="module")
def environment(environment: dict[str, str]) -> dict[str, str]:
    """A page is as long as the rate, so the broadcast of the test takes some seconds."""
    return {**environment, "BROADCAST_RATE": str(PAGE)}


async def test_all_have_the_newer_text_and_nobody_is_notified_twice(hub: Hub) -> None:
    users = sorted(new_user() for _ in range(3 * PAGE))
    topic, event_id = f"topic-{uuid4()}", f"release-{uuid4()}"
    headers = {"Authorization": f"Bearer {token('shop', scope='notifications:send')}"}
    async with (
        httpx.AsyncClient(base_url=hub.http + REST, headers=headers, verify=NO_TLS) as service,
        hub.socket(users[0]) as first,
        hub.socket(users[-1]) as last,
    ):

        async def begun() -> bool:
            return bool((await service.get(f"/broadcasts/{event_id}")).json()["passed"])

        async def ended() -> dict[str, Any] | None:
            found: dict[str, Any] = (await service.get(f"/broadcasts/{event_id}")).json()
            return found if found["finished_at"] else None

        await service.post(f"/topics/{topic}/followers", json={"add": users})
        message = {"type": "inapp", "title": "Version 4.2", "message": "Soon.", "audience": {"topic": topic}}
        await service.post("/notifications", json={**message, "event_id": event_id})
        await eventually(begun, "the first page")
        new = {"title": "Version 4.3", "severity": "success"}
        answer = await service.patch("/notifications", params={"event_id": event_id}, json=new)
        assert answer.status_code == 202, answer.text
        done = await eventually(ended, "the last page")
        assert (done["state"], done["notified"]) == ("done", len(users))
        assert (await receive(first))["data"]["title"] == "Version 4.2"
        assert (await receive(last))["data"]["title"] == "Version 4.3"
        assert await quiet(first)
        assert await quiet(last)
        for user in users:
            async with hub.client(user) as client:
                (notification,) = (await client.get(f"/notifications/users/{user}")).json()
            shown = [notification[name] for name in ("title", "content", "severity", "seq")]
            assert shown == ["Version 4.3", "Soon.", "success", 1]
