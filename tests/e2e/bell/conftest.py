"""A hub whose pages have a bell."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from playwright.async_api import Browser, Page, Route

from tests.support.bell_pages import LIBRARY, STUB, page_of
from tests.support.hub import Hub, free_port, running_hub
from tests.support.network import FaultyProxy, open_proxy
from tests.support.npm import CLIENT

ORIGIN = "https://kitchen.example"
PAGE = page_of("<notification-bell></notification-bell>", STUB)


@pytest_asyncio.fixture(scope="module")
async def proxy() -> AsyncIterator[FaultyProxy]:
    """The network between the browser and the hub."""
    async with open_proxy(free_port()) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module")
async def hub(environment: dict[str, str], proxy: FaultyProxy, tmp_path_factory: Any) -> AsyncIterator[Hub]:
    log = tmp_path_factory.mktemp("hub") / "log"
    async with running_hub(
        {**environment, "ALLOWED_ORIGINS": proxy.origin}, log, proxy.port_behind
    ) as running:
        yield running


@pytest_asyncio.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page whose bell shows an inbox that says what the test has it say."""
    context = await browser.new_context(reduced_motion="reduce")
    complaints: list[str] = []

    async def answer(route: Route) -> None:
        path, *_ = route.request.url.removeprefix(ORIGIN).partition("?")
        if path == "/":
            await route.fulfill(content_type="text/html", body=PAGE)
        else:
            file = CLIENT / "src" / path.removeprefix(f"{LIBRARY}/")
            await route.fulfill(path=file, content_type="text/javascript")

    await context.route(f"{ORIGIN}/**", answer)
    opened = await context.new_page()
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    await opened.goto(ORIGIN)
    await opened.wait_for_function("window.bell?.inbox")
    yield opened
    await context.close()
    assert [each for each in complaints if not each.startswith("Failed to load resource")] == []
