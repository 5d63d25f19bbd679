"""Bell and preferences in Firefox, by keyboard alone, with a real hub of another origin."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.support.bell_pages import LIBRARY, page_of
from tests.support.firefox import FirefoxPage, needs_firefox, open_firefox_tabs, page_server, run_firefox
from tests.support.hub import Hub, free_port, running_hub

pytestmark = [needs_firefox, pytest.mark.slow]

PAGE = page_of(
    "<button id='before'>Before</button><notification-bell></notification-bell>",
    f"""
    import "{LIBRARY}/bell.js";
    import "{LIBRARY}/preferences.js";
    const asked = new URLSearchParams(location.search);
    const getToken = async () => (await fetch(`/token?user=${{asked.get("user")}}`)).text();
    const settings = document.createElement("notification-preferences");
    document.querySelector("main").append(settings);
    for (const element of [document.querySelector("notification-bell"), settings]) {{
      element.setAttribute("url", asked.get("hub"));
      element.setAttribute("user-id", asked.get("user"));
      element.getToken = getToken;
    }}
    Object.assign(window, {{ bell: document.querySelector("notification-bell"), settings }});
    window.inbox = bell.inbox;
    window.focused = () => {{
      let element = document.activeElement;
      while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
      return element?.getAttribute("aria-label") ?? element?.textContent ?? "";
    }};
    """,
)
ROWS = "[...bell.shadowRoot.querySelectorAll('[part~=item]')].length"
SWITCH = """settings.shadowRoot.querySelector('[aria-label="Food: Email"]')"""
ENABLED = """inbox.preferences.get().then(
  ({ preferences }) => preferences.find(({ id }) => id === "food.email").enabled,
)"""


@pytest_asyncio.fixture(scope="module")
async def page_origin() -> AsyncIterator[str]:
    async with page_server(free_port(), PAGE) as origin:
        yield origin


@pytest_asyncio.fixture(scope="module")
async def hub(environment: dict[str, str], page_origin: str, tmp_path_factory: Any) -> AsyncIterator[Hub]:
    own = {**environment, "ALLOWED_ORIGINS": page_origin}
    async with running_hub(own, tmp_path_factory.mktemp("hub") / "log") as running:
        yield running


async def test_the_keyboard_alone_reads_deletes_undoes_and_changes_preferences(
    hub: Hub, page_origin: str, tmp_path: Path
) -> None:
    async with (
        run_firefox(tmp_path) as firefox,
        open_firefox_tabs(firefox, page_origin, hub, hub.http) as tabs,
    ):
        await tabs.open()
        await tabs.live()
        await tabs.publish(3)
        (page,) = tabs.pages
        await page.until("inbox.unreadCount() === 3")
        await use_the_list(page)
        await use_the_preferences(page)


async def use_the_list(page: FirefoxPage) -> None:
    await page.evaluate("document.querySelector('#before').focus()")
    await page.press("Tab")
    await page.until("focused().includes('3 unread')")
    await page.press("Enter")
    await page.until(f"bell.open && {ROWS} === 3")
    await page.until("inbox.unseenCount() === 0")
    await page.evaluate("bell.shadowRoot.querySelector('[part~=item-title]').focus()")
    await page.press("ArrowDown", "Delete")
    await page.until(f"{ROWS} === 2")
    await page.press("Control+z")
    await page.until(f"{ROWS} === 3")
    await page.evaluate("bell.shadowRoot.querySelector('[part~=item-title]').focus()")
    await page.press("e")
    await page.until(f"{ROWS} === 2 && inbox.unreadCount() === 2")
    await page.press("Escape")
    await page.until("!bell.open && focused().includes('2 unread')")


async def use_the_preferences(page: FirefoxPage) -> None:
    await page.until(f"Boolean({SWITCH})")
    await page.evaluate(f"{SWITCH}.focus()")
    await page.press(" ")
    await page.until(f"{ENABLED}.then((on) => !on)")
    await page.press("Control+z")
    await page.until(ENABLED)
