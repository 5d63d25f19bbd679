"""Chromium for tests, where this machine has one."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, Page, async_playwright

from tests.support.install_tools import BROWSERS

CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: the browser tests are skipped")


@asynccontextmanager
async def run_browser() -> AsyncIterator[Browser]:
    """A headless Chromium."""
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield started
        await started.close()


async def set_online(page: Page, *, online: bool) -> None:
    """Tell the page whether the device has a network, as browsers do. The network itself is the proxy's.

    Playwright's `set_offline` keeps a core busy in Chromium 156 while a WebSocket is open: 4 to 7 s a test.
    """
    await page.evaluate(
        """online => {
          Object.defineProperty(navigator, "onLine", { configurable: true, get: () => online });
          dispatchEvent(new Event(online ? "online" : "offline"));
        }""",
        online,
    )
