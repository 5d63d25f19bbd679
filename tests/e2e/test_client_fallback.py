"""The browser library behind a proxy that passes upgrades now and then: nothing is missed or shown twice.

FALLBACK_SCHEDULES=… runs more, FIRST=… others. A failure names its seed, which repeats what is done, but not
who wins each race.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.support.browser import needs_chromium
from tests.support.firefox import FirefoxTabs, needs_firefox, open_firefox_tabs, page_server, run_firefox
from tests.support.hub import Hub, eventually, free_port, running_hub
from tests.support.network import FaultyProxy, open_proxy
from tests.support.tabs import Tabs, open_tabs

SCHEDULES = int(os.environ.get("FALLBACK_SCHEDULES", "8"))
FIRST = int(os.environ.get("FIRST", "1"))
STEPS = 12

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120 + 60 * SCHEDULES)]


@pytest_asyncio.fixture(scope="module")
async def proxy() -> AsyncIterator[FaultyProxy]:
    async with open_proxy(free_port()) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module")
async def page_origin() -> AsyncIterator[str]:
    """Where Firefox's pages come from."""
    async with page_server(free_port()) as origin:
        yield origin


@pytest_asyncio.fixture(scope="module")
async def hub(
    environment: dict[str, str], proxy: FaultyProxy, page_origin: str, tmp_path_factory: Any
) -> AsyncIterator[Hub]:
    own = {**environment, "ALLOWED_ORIGINS": f"{proxy.origin},{page_origin}"}
    log = tmp_path_factory.mktemp("hub") / "log"
    async with running_hub(own, log, proxy.port_behind) as running:
        yield running


async def run(tabs: Tabs | FirefoxTabs, proxy: FaultyProxy, seed: int) -> list[str]:
    """Random steps; then everything gets through again. The kinds of connections that were seen."""
    chance = random.Random(seed)
    count = 0
    seen: set[str] = set()
    proxy.passes_upgrades = chance.random() < 0.5
    for _ in range(chance.randint(1, 2)):
        await tabs.open()
    await tabs.live()
    for _ in range(STEPS):
        match chance.choice(("publish", "publish", "publish", "block", "pass", "cut", "wake")):
            case "publish":
                more = chance.randint(1, 4)
                count += more
                await tabs.publish(more)
            case "block":
                proxy.passes_upgrades = False
            case "pass":
                proxy.passes_upgrades = True
            case "cut":
                proxy.cut()
            case "wake":
                for page in tabs.pages:
                    await page.evaluate("dispatchEvent(new Event('online'))")
        await asyncio.sleep(chance.choice((0, 0.02, 0.3)))
        seen |= {await page.evaluate("inbox.state.over ?? ''") for page in tabs.pages}
    proxy.passes_upgrades = True
    await tabs.publish()
    await tabs.received(count + 1)

    async def on_socket() -> bool:
        for page in tabs.pages:
            await page.evaluate("dispatchEvent(new Event('online'))")
        return all([await page.evaluate("inbox.state.over === 'websocket'") for page in tabs.pages])

    await eventually(on_socket, "every tab is live over the socket again", within=40)
    await tabs.publish()
    await tabs.received(count + 2)
    return sorted(seen - {""})


async def run_all(proxy: FaultyProxy, open_for: Callable[[], AbstractAsyncContextManager[Any]]) -> None:
    seen: set[str] = set()
    for seed in range(FIRST, FIRST + SCHEDULES):
        proxy.repair()
        async with open_for() as tabs:
            try:
                seen.update(await run(tabs, proxy, seed))
            except BaseException:
                print(f"FIRST={seed}")
                raise
    assert seen >= {"websocket", "sse"}


@needs_chromium
async def test_no_gap_and_no_double_across_changes_between_socket_and_event_stream(
    hub: Hub, proxy: FaultyProxy, browser: Browser
) -> None:
    await run_all(proxy, lambda: open_tabs(browser, proxy.origin, hub))


@needs_firefox
async def test_no_gap_and_no_double_in_firefox(
    hub: Hub, proxy: FaultyProxy, page_origin: str, tmp_path: Path
) -> None:
    async with run_firefox(tmp_path) as firefox:
        await run_all(proxy, lambda: open_firefox_tabs(firefox, page_origin, hub, proxy.origin))
