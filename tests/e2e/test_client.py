"""The browser library in headless Chromium, against a real hub, whose origin its pages are on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.support.browser import needs_chromium, set_online
from tests.support.hub import Hub, eventually, free_port, running_hub
from tests.support.network import FaultyProxy, open_proxy
from tests.support.tabs import CLIENT, README_USER, Tabs, open_tabs

pytestmark = needs_chromium


@pytest_asyncio.fixture(scope="module")
async def proxy() -> AsyncIterator[FaultyProxy]:
    """The network between the browser and the hub."""
    async with open_proxy(free_port()) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module")
async def other_proxy(proxy: FaultyProxy) -> AsyncIterator[FaultyProxy]:
    """Another origin that the hub answers for, as a frontend's own server might."""
    async with open_proxy(proxy.port_behind) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module")
async def hub(
    environment: dict[str, str], proxy: FaultyProxy, other_proxy: FaultyProxy, tmp_path_factory: Any
) -> AsyncIterator[Hub]:
    log = tmp_path_factory.mktemp("hub") / "log"
    own = {**environment, "ALLOWED_ORIGINS": f"{proxy.origin},{other_proxy.origin}"}
    async with running_hub(own, log, proxy.port_behind) as running:
        yield running


@pytest_asyncio.fixture
async def tabs(hub: Hub, proxy: FaultyProxy, browser: Browser) -> AsyncIterator[Tabs]:
    async with open_tabs(browser, proxy.origin, hub) as opened:
        yield opened


async def test_the_example_of_the_readme_shows_a_first_notification(tabs: Tabs) -> None:
    readme = (CLIENT / "README.md").read_text("utf-8")
    example = re.search(r"^```html\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    assert example
    page = await tabs.open(example[1])
    tabs.user = README_USER

    async def connected() -> bool:
        return await tabs.hub.metric("hub_connections") == 1

    await eventually(connected, "the example is connected")
    await tabs.publish()
    await page.get_by_text("Family Group").wait_for()


@pytest.mark.parametrize("count", [8, pytest.param(30, marks=pytest.mark.slow)])
async def test_many_tabs_hold_one_socket_and_two_leaders_die_under_load(tabs: Tabs, count: int) -> None:
    await asyncio.gather(*(tabs.open() for _ in range(count)))
    await tabs.live()
    assert len(tabs.open_sockets()) == 1
    assert await tabs.hub.metric("hub_connections") == 1
    bursts, burst = 20, 10
    for number in range(bursts):
        await tabs.publish(burst)
        if number in (5, 12):
            dying = await tabs.leader()
            tabs.pages.remove(dying)
            await dying.close()
    await tabs.received(bursts * burst)
    assert len(tabs.open_sockets()) == 1
    assert await tabs.hub.metric("hub_connections") == 1


async def test_when_the_process_of_the_leader_crashes_under_load_nothing_is_missed(tabs: Tabs) -> None:
    await asyncio.gather(*(tabs.open() for _ in range(4)))
    await tabs.live()
    bursts, burst = 12, 5
    for number in range(bursts):
        await tabs.publish(burst)
        if number == 4:
            await tabs.crash_leader()
            assert tabs.pages, "all tabs had one process, and none is left"
    await tabs.received(bursts * burst)
    assert len(tabs.open_sockets()) == 1


async def test_where_a_proxy_answers_upgrades_with_400_it_is_live_over_an_event_stream_and_returns(
    tabs: Tabs, proxy: FaultyProxy
) -> None:
    proxy.passes_upgrades = False
    page = await tabs.open()
    await tabs.open()
    for each in tabs.pages:
        await each.wait_for_function("inbox.state.over === 'sse'")
    assert await tabs.hub.metric("hub_event_streams") == 1
    await tabs.publish(3)
    await tabs.received(3)
    proxy.repair()
    await page.evaluate("dispatchEvent(new Event('online'))")
    for number in range(4, 20):
        await tabs.publish()
        await tabs.received(number)
        if await page.evaluate("inbox.state.over") == "websocket":
            break
    await tabs.publish(2)
    await tabs.received(number + 2)
    assert await tabs.hub.metric("hub_event_streams") == 0
    assert len(tabs.open_sockets()) == 1


async def test_a_logout_shows_in_all_tabs_and_none_comes_back(tabs: Tabs) -> None:
    for _ in range(3):
        await tabs.open()
    await tabs.live()
    logout = {"event_type": "account_logged_out", "user_id": tabs.user, "access_token_id": "x"}
    await tabs.hub.publish(logout, topic=tabs.hub.logout_topic)
    for page in tabs.pages:
        await page.wait_for_function("inbox.state.name === 'closed'")
        assert await page.evaluate("inbox.state.code") == 4500
    assert sum(map(len, tabs.sockets.values())) == 1


async def test_what_one_tab_reads_and_removes_the_others_show(tabs: Tabs) -> None:
    for _ in range(3):
        await tabs.open()
    await tabs.live()
    await tabs.publish(3)
    await tabs.received(3)
    follower = next(page for page in tabs.pages if not tabs.sockets[page])
    await follower.evaluate("inbox.markRead(inbox.list()[0].id).then(() => inbox.remove(inbox.list()[2].id))")
    for page in tabs.pages:
        await page.wait_for_function("inbox.list().length === 2 && inbox.unreadCount() === 1")
    await follower.evaluate("inbox.markAllRead()")
    for page in tabs.pages:
        await page.wait_for_function(
            "inbox.unreadCount() === 0 && inbox.list().every(({is_read}) => is_read)"
        )


async def test_a_token_is_renewed_in_place_before_it_expires(tabs: Tabs) -> None:
    lifetime = 6
    tabs.lifetimes = [lifetime] * 2
    page = await tabs.open()
    await tabs.live()

    async def renewed() -> bool:
        return tabs.tokens >= 3

    await eventually(renewed, "the page asks for a third token")
    await asyncio.sleep(lifetime)
    await tabs.publish()
    await tabs.received(1)
    assert len(tabs.sockets[page]) == 1
    assert await page.evaluate("states.map(({name}) => name)") == ["connecting", "live"]


async def test_an_unresponsive_network_is_noticed_and_nothing_is_missed(
    tabs: Tabs, proxy: FaultyProxy
) -> None:
    page = await tabs.open()
    await tabs.live()
    proxy.silence()
    await set_online(page, online=False)
    await page.wait_for_function("inbox.state.name === 'offline'")
    await tabs.publish(3)
    proxy.repair()
    await set_online(page, online=True)
    await tabs.received(3)


async def test_a_node_that_restarts_is_come_back_to_within_the_window_it_named(tabs: Tabs) -> None:
    page = await tabs.open()
    await tabs.live()
    await tabs.publish()
    await tabs.received(1)
    assert await tabs.hub.stop() == 0
    assert await page.evaluate("states.find(({name}) => name === 'waiting').code") == 1012
    await tabs.hub.start()
    await tabs.publish()
    await tabs.received(2)


async def test_a_token_that_expires_all_the_same_is_replaced_and_nothing_is_missed(tabs: Tabs) -> None:
    tabs.lifetimes = [6] * 20
    pages = [await tabs.open() for _ in range(2)]
    await tabs.live()
    tabs.away = True
    for page in pages:
        await page.wait_for_function("states.some(({code}) => code === 4401)")
    await tabs.publish(2)
    await tabs.hub.stored(tabs.user, 2)
    tabs.away, tabs.lifetimes = False, []
    await tabs.received(2)
    assert len(tabs.open_sockets()) == 1


async def test_without_web_locks_each_tab_has_a_connection_and_receives_all(tabs: Tabs) -> None:
    await tabs.context.add_init_script("Object.defineProperty(navigator, 'locks', { value: undefined })")
    for _ in range(3):
        await tabs.open()
    await tabs.live()
    assert len(tabs.open_sockets()) == 3
    await tabs.publish(3)
    await tabs.received(3)
    dying = tabs.pages.pop(0)
    await dying.close()
    await tabs.publish(2)
    await tabs.received(5)


async def test_a_page_of_another_allowed_origin_reads_and_changes_the_inbox(
    hub: Hub, proxy: FaultyProxy, other_proxy: FaultyProxy, browser: Browser
) -> None:
    async with open_tabs(browser, other_proxy.origin, hub) as tabs:
        tabs.query = f"&hub={proxy.origin}"
        await tabs.publish(55)
        await hub.stored(tabs.user, 55)
        page = await tabs.open()
        await tabs.live()
        assert await page.evaluate("[inbox.list().length, inbox.hasMore, inbox.unreadCount()]") == [
            50,
            True,
            55,
        ]
        await page.evaluate("inbox.markRead(inbox.list()[0].id).then(() => inbox.remove(inbox.list()[1].id))")
        assert await page.evaluate("[inbox.list().length, inbox.unreadCount()]") == [49, 53]
        await page.evaluate("inbox.markAllRead()")
        assert await page.evaluate("inbox.unreadCount()") == 0
        await tabs.publish()
        await page.wait_for_function("received.at(-1) === 56 && inbox.unreadCount() === 1")
