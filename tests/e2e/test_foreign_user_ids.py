"""FOREIGN_USER_IDS=map: a user of another system has an inbox, by the same id in events, tokens and paths."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import quote
from uuid import UUID, uuid4, uuid5

import pytest
import pytest_asyncio

from tests.support.hub import Hub, added, new_user, receive, running_hub, token

NAMESPACE = UUID("6b1f0c9e-53a5-4c57-9f1b-2f0a3c1d7e88")


@pytest_asyncio.fixture(scope="module")
async def hub(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hub]:
    own = {"FOREIGN_USER_IDS": "map", "FOREIGN_USER_ID_NAMESPACE": str(NAMESPACE)}
    async with running_hub({**environment, **own}, tmp_path_factory.mktemp("hub") / "log") as running:
        yield running


async def test_a_foreign_user_has_an_inbox_of_their_own(hub: Hub) -> None:
    user = f"người dùng/{uuid4()}"
    headers = {"Authorization": f"Bearer {token(user)}"}
    async with hub.socket(quote(user, safe=""), additional_headers=headers) as socket:
        await hub.publish(added(user))
        frame = await receive(socket)
    assert frame["data"]["receiver"] == str(uuid5(NAMESPACE, user))
    async with hub.client(user) as client:
        listed = await client.get(f"/notifications/users/{quote(user, safe='')}")
        other = await client.get(f"/notifications/users/{quote(user.upper(), safe='')}")
        theirs = await client.get(f"/notifications/users/{new_user()}")
    assert [each["id"] for each in listed.json()] == [frame["data"]["id"]]
    assert (other.status_code, theirs.status_code) == (403, 403)
