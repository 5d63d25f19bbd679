"""The clients behind nginx and HAProxy: what each relies on in every run, the whole suite in test-long.

`CLIENTS_BEHIND=nginx pytest tests/clients` runs that suite behind one of them.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from tests.clients import contract
from tests.clients.test_web_client import COOKIES, ORIGIN, web_client
from tests.support.event_source import event_source
from tests.support.hub import ROOT, Hub, added, new_user, token
from tests.support.reverse_proxies import CONFIGURATIONS, reverse_proxy

each_proxy = pytest.mark.parametrize("proxy", sorted(CONFIGURATIONS))


@pytest.fixture(scope="module", params=sorted(CONFIGURATIONS))
def behind(
    request: pytest.FixtureRequest, hub: Hub, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hub]:
    """The hub as clients of the proxy see it."""
    with reverse_proxy(request.param, hub.port, tmp_path_factory.mktemp(request.param)) as port:
        yield Hub(hub.environment, hub.log, port)


async def test_a_page_is_live_lists_reads_and_deletes(behind: Hub) -> None:
    user = new_user()
    async with web_client(behind, user) as client:
        offered = [Subprotocol("hub.v1"), Subprotocol(f"bearer.{client.token}")]
        headers = {"Cookie": COOKIES.encode().decode("latin-1")}
        plain = connect(f"{client.socket_url}?jwt={client.token}", origin=ORIGIN)
        session = connect(client.socket_url, origin=ORIGIN, subprotocols=offered, additional_headers=headers)
        async with plain as socket, session as other:
            assert other.subprotocol == "hub.v1"
            await behind.publish(added(user))
            data = contract.frame(await asyncio.wait_for(socket.recv(), 20))["data"]
            assert await client.list() == [data]
        assert (await client.read(data["id"]))["is_read"] is True
        await client.delete(data["id"])
        assert await client.list() == []


async def test_an_event_stream_is_not_buffered_and_resumes(behind: Hub) -> None:
    user = new_user()
    async with event_source(behind, user) as stream:
        for number in (1, 2):
            await behind.publish(added(user))
            assert await stream.seqs(1) == [number]
    async with event_source(behind, user, last_event_id="1") as resumed:
        assert await resumed.seqs(1) == [2]


async def test_what_is_refused_is_refused_in_the_hubs_words(behind: Hub) -> None:
    user = new_user()
    for bearer, of, status in (("", user, 401), ("not.a.token", user, 401), (token(user), new_user(), 403)):
        url = f"{behind.ws}/ws/v2/notification-service/notifications/users/{of}?jwt={bearer}"
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, origin=ORIGIN)
        assert refused.value.response.status_code == status
    async with web_client(behind, user) as client:
        answer = await client.http.post("/notifications", content=b"x" * 700_000)
        assert answer.status_code in (403, 413), "a body that nobody wants doesn't hide the answer"


@pytest.mark.slow
@each_proxy
def test_the_whole_suite_of_the_clients_passes(proxy: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    own = "--ignore=tests/clients/test_behind_proxies.py"
    done = subprocess.run(
        [*command, own, "tests/clients"],
        cwd=ROOT,
        env={**os.environ, "CLIENTS_BEHIND": proxy},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:]
