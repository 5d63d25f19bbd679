"""Event streams through a real nginx and a real HAProxy, as their packages come."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.event_source import event_source
from tests.support.hub import Hub, added, new_user
from tests.support.reverse_proxies import CONFIGURATIONS, reverse_proxy

pytestmark = pytest.mark.slow


@pytest.fixture(params=sorted(CONFIGURATIONS))
def proxied(request: pytest.FixtureRequest, own_hub: Hub, tmp_path: Path) -> Iterator[Hub]:
    """The hub as clients of the proxy see it."""
    folder = tmp_path / request.param
    folder.mkdir()
    with reverse_proxy(request.param, own_hub.port, folder) as port:
        yield Hub(own_hub.environment, own_hub.log, port)


async def test_an_event_stream_passes_unbuffered_and_its_end_with_it(own_hub: Hub, proxied: Hub) -> None:
    user = new_user()
    async with event_source(proxied, user) as stream:
        for number in range(1, 6):
            await own_hub.publish(added(user))
            async with asyncio.timeout(3):
                assert await stream.seqs(1) == [number]
        async with event_source(proxied, user, last_event_id="2") as resumed:
            assert await resumed.seqs(3) == [3, 4, 5]
        stopping = asyncio.create_task(own_hub.stop())
        close = await stream.event("close")
        assert close.data["code"] == 1012
        assert await stream.next() is None
        await stopping


async def test_a_client_that_leaves_the_proxy_leaves_the_hub(own_hub: Hub, proxied: Hub) -> None:
    async with event_source(proxied, new_user()):
        assert await own_hub.metric("hub_event_streams") == 1
    for _ in range(100):
        if await own_hub.metric("hub_event_streams") == 0:
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the stream is still open")
