"""The browser library in headless Chromium, against a real hub, whose origin its pages are on."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, Route, WebSocket

from tests.browser import needs_chromium
from tests.conftest import running_hub
from tests.hub import REST, WAIT, Hub, added, eventually, free_port, new_user
from tests.network import Way, open_way

CLIENT = Path(__file__).parents[2] / "client"
README_USER = "456e7890-e89b-12d3-a456-426614174001"
TABS = 30
HOUR = 3600
PAGE = """<!doctype html><link rel="icon" href="data:,"><script type="module">
  import { createInbox } from "/notification-hub-client/src/index.js";
  const userId = new URLSearchParams(location.search).get("user");
  const getToken = async () => (await fetch(`/token?user=${userId}`)).text();
  const inbox = createInbox({ url: location.origin, userId, getToken });
  Object.assign(window, { inbox, told: [], states: [] });
  inbox.on("notification", ({ seq }) => told.push(seq));
  inbox.on("state", (state) => states.push(state));
  inbox.connect();
</script>"""

pytestmark = needs_chromium


class Tabs:
    """The tabs of one browser, on an origin that is the hub's."""

    def __init__(self, context: BrowserContext, origin: str, hub: Hub) -> None:
        self.hub = hub
        self.pages: list[Page] = []
        self.sockets: dict[Page, list[WebSocket]] = defaultdict(list)
        self.lifetimes: list[int] = []
        """Seconds that the next tokens hold; an hour when it is empty."""
        self.tokens = 0
        self.user = new_user()
        self.context = context
        self._origin = origin

    async def serve(self) -> None:
        await self.context.route(f"{self._origin}/notification-hub-client/**", self._file)
        await self.context.route(f"{self._origin}/token*", self._token)

    async def open(self, html: str = PAGE) -> Page:
        page = await self.context.new_page()

        def opened(socket: WebSocket) -> None:
            self.sockets[page].append(socket)

        page.on("websocket", opened)
        page.on("console", lambda message: print(message.type, message.text))
        page.on("pageerror", lambda error: print("page error:", error))
        # Only the origin of the hub's answer stays: Chromium lets no page from nowhere reach this machine.
        await page.goto(f"{self._origin}{REST}/health?user={self.user}")
        await page.set_content(html)
        self.pages.append(page)
        return page

    async def live(self) -> None:
        for page in self.pages:
            await page.wait_for_function("window.inbox?.state.name === 'live'")

    def open_sockets(self) -> list[WebSocket]:
        return [socket for page in self.pages for socket in self.sockets[page] if not socket.is_closed()]

    async def leader(self) -> Page:
        """The tab that has the connection."""

        async def found() -> Page | None:
            return next(
                (page for page in self.pages if any(not socket.is_closed() for socket in self.sockets[page])),
                None,
            )

        return await eventually(found, "one tab has a connection")

    async def told(self, count: int) -> None:
        """Every tab was told of 1, 2, 3 … count, and lists them."""
        for page in self.pages:
            await page.wait_for_function("count => told.at(-1) >= count", arg=count)
            assert await page.evaluate("told") == list(range(1, count + 1))
            assert await page.evaluate("inbox.list().map(({seq}) => seq)") == list(range(count, 0, -1))
            assert await page.evaluate("inbox.unreadCount()") == count

    async def publish(self, count: int = 1) -> None:
        await self.hub.publish(*(added(self.user) for _ in range(count)))

    async def _file(self, route: Route) -> None:
        path = CLIENT / urlsplit(route.request.url).path.removeprefix("/notification-hub-client/")
        await route.fulfill(path=path, content_type="text/javascript")

    async def _token(self, route: Route) -> None:
        self.tokens += 1
        [user] = parse_qs(urlsplit(route.request.url).query).get("user", [README_USER])
        lifetime = self.lifetimes.pop(0) if self.lifetimes else HOUR
        await route.fulfill(body=self.hub.token(user, lifetime=lifetime))


@pytest_asyncio.fixture(scope="module")
async def way() -> AsyncIterator[Way]:
    """The network between the browser and the hub."""
    async with open_way(free_port()) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module")
async def hub(environment: dict[str, str], way: Way, tmp_path_factory: Any) -> AsyncIterator[Hub]:
    log = tmp_path_factory.mktemp("hub") / "log"
    async with running_hub({**environment, "ALLOWED_ORIGINS": way.origin}, log, way.port_behind) as running:
        yield running


@pytest_asyncio.fixture
async def tabs(hub: Hub, way: Way, browser: Browser) -> AsyncIterator[Tabs]:
    context = await browser.new_context()
    context.set_default_timeout(WAIT * 1000)
    opened = Tabs(context, way.origin, hub)
    await opened.serve()
    yield opened
    await context.close()


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


async def test_thirty_tabs_hold_one_socket_and_two_leaders_die_under_load(tabs: Tabs) -> None:
    await asyncio.gather(*(tabs.open() for _ in range(TABS)))
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
    await tabs.told(bursts * burst)
    assert len(tabs.open_sockets()) == 1
    assert await tabs.hub.metric("hub_connections") == 1


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
    await tabs.told(3)
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
    tabs.lifetimes = [4, 4]
    page = await tabs.open()
    await tabs.live()
    await asyncio.sleep(6)
    await tabs.publish()
    await tabs.told(1)
    assert tabs.tokens >= 3
    assert len(tabs.sockets[page]) == 1
    assert await page.evaluate("states.map(({name}) => name)") == ["connecting", "live"]


async def test_a_network_that_goes_silent_is_noticed_and_nothing_is_missed(tabs: Tabs, way: Way) -> None:
    page = await tabs.open()
    await tabs.live()
    way.silence()
    await tabs.context.set_offline(True)
    await page.wait_for_function("inbox.state.name === 'offline'")
    await tabs.publish(3)
    way.mend()
    await tabs.context.set_offline(False)
    await tabs.told(3)


async def test_a_node_that_restarts_is_come_back_to_within_the_window_it_named(tabs: Tabs) -> None:
    page = await tabs.open()
    await tabs.live()
    await tabs.publish()
    await tabs.told(1)
    assert await tabs.hub.stop() == 0
    assert await page.evaluate("states.find(({name}) => name === 'waiting').code") == 1012
    await tabs.hub.start()
    await tabs.publish()
    await tabs.told(2)
