"""Tabs of a headless Chromium that have the browser library, on an origin that a hub answers for."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.async_api import Browser, BrowserContext, Error, Page, Route, WebSocket

from tests.support.hub import WAIT, Hub, added, eventually, new_user

CLIENT = Path(__file__).parents[2] / "client"
README_USER = "456e7890-e89b-12d3-a456-426614174001"
HOUR = 3600
HTML = "text/html; charset=utf-8"
LONGEST_PAUSE = 30  # seconds until the library tries again, when the hub was away for some time
PAGE = """<!doctype html><link rel="icon" href="data:,"><script type="module">
  import { createInbox } from "/notification-hub-client/src/index.js";
  const asked = new URLSearchParams(location.search);
  const userId = asked.get("user");
  const getToken = async () => (await fetch(`/token?user=${userId}`)).text();
  const inbox = createInbox({ url: asked.get("hub") ?? location.origin, userId, getToken });
  Object.assign(window, { inbox, received: [], states: [] });
  inbox.on("notification", ({ seq }) => received.push(seq));
  inbox.on("state", (state) => states.push(state));
  inbox.connect();
</script>"""


class Tabs:
    """The tabs of one browser, on an origin that is the hub's."""

    def __init__(self, context: BrowserContext, origin: str, hub: Hub) -> None:
        self.hub = hub
        self.pages: list[Page] = []
        self.sockets: dict[Page, list[WebSocket]] = defaultdict(list)
        self.lifetimes: list[int] = []
        """Seconds that the next tokens hold; an hour when it is empty."""
        self.away = False
        """Whether who gives tokens doesn't answer."""
        self.tokens = 0
        self.query = ""
        """What is added to the addresses of pages, such as `&hub=…`: another hub than their own origin's."""
        self.user = new_user()
        self.context = context
        self._origin = origin

    async def serve(self) -> None:
        await self.context.route(f"{self._origin}/notification-hub-client/**", self._file)
        await self.context.route(f"{self._origin}/token**", self._token)

    async def open(self, html: str = PAGE) -> Page:
        page = await self.context.new_page()

        def opened(socket: WebSocket) -> None:
            self.sockets[page].append(socket)

        def crashed(_: Page) -> None:
            self.pages.remove(page)

        page.on("websocket", opened)
        page.on("crash", crashed)
        page.on("console", lambda message: print(message.type, message.text))
        page.on("pageerror", lambda error: print("page error:", error))
        await page.route(f"{self._origin}/page**", lambda route: route.fulfill(body=html, content_type=HTML))
        await page.goto(f"{self._origin}/page?user={self.user}{self.query}")
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

    async def crash_leader(self) -> None:
        """The process of the tab that has the connection dies, and with it whatever tabs share it."""
        leader = await self.leader()
        cdp = await self.context.new_cdp_session(leader)
        crashing = asyncio.create_task(cdp.send("Page.crash"))  # which nobody answers any more

        async def gone() -> bool:
            return leader not in self.pages

        await eventually(gone, "the leader crashes")
        crashing.cancel()
        await asyncio.gather(crashing, return_exceptions=True)

    async def received(self, count: int) -> None:
        """Every tab received 1, 2, 3 … count, and lists them."""
        for page in self.pages:
            within = (LONGEST_PAUSE + WAIT) * 1000
            await page.wait_for_function("count => received.at(-1) >= count", arg=count, timeout=within)
            assert await page.evaluate("received") == list(range(1, count + 1))
            assert await page.evaluate("inbox.list().map(({seq}) => seq)") == list(range(count, 0, -1))
            assert await page.evaluate("inbox.unreadCount()") == count

    async def publish(self, count: int = 1) -> None:
        await self.hub.publish(*(added(self.user) for _ in range(count)))

    async def _file(self, route: Route) -> None:
        path = CLIENT / urlsplit(route.request.url).path.removeprefix("/notification-hub-client/")
        await route.fulfill(path=path, content_type="text/javascript")

    async def _token(self, route: Route) -> None:
        if self.away:
            return await route.abort()
        self.tokens += 1
        [user] = parse_qs(urlsplit(route.request.url).query).get("user", [README_USER])
        lifetime = self.lifetimes.pop(0) if self.lifetimes else HOUR
        await route.fulfill(body=self.hub.token(user, lifetime=lifetime))


@asynccontextmanager
async def open_tabs(browser: Browser, origin: str, hub: Hub, **options: Any) -> AsyncIterator[Tabs]:
    """Tabs of a browser that has nothing in store, none open yet; `options` are the context's."""
    context = await browser.new_context(**options)
    context.set_default_timeout(WAIT * 1000)
    # These pages come from no server; newer Chromium asks before it lets such ones reach this machine.
    with suppress(Error):
        await context.grant_permissions(["local-network-access"])
    try:
        tabs = Tabs(context, origin, hub)
        await tabs.serve()
        yield tabs
    finally:
        await context.close()
