"""What the READMEs and examples/ show, as it stands there: a first notification, against a real hub."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, expect

from tests.support.bell_pages import badge, bell, panel, rows, toasts
from tests.support.browser import needs_chromium
from tests.support.hub import NO_TLS, REST, ROOT, Hub, token
from tests.support.network import FaultyProxy
from tests.support.npm import install, run
from tests.support.tabs import README_USER, Tabs, open_tabs

BLOCK = re.compile(r"^```html\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = {"plain": "plain.html", "react": "react/src/main.tsx", "vue": "vue/src/App.vue"}
MAX_LINES = 40
TITLE = """() => {
  const { inbox } = document.querySelector("notification-bell");
  const [newest] = inbox.list();
  return newest.title === "Milk" && document.title === `(${inbox.unreadCount()}) Kitchen`;
}"""
MEDIA = {".js": "text/javascript", ".css": "text/css"}

pytestmark = needs_chromium


@pytest_asyncio.fixture
async def tabs(hub: Hub, proxy: FaultyProxy, browser: Browser) -> AsyncIterator[Tabs]:
    async with open_tabs(browser, proxy.origin, hub, reduced_motion="reduce", locale="en-GB") as opened:
        opened.user = README_USER

        async def session(route: Route) -> None:
            await route.fulfill(json={"users": [{"id": README_USER, "token": hub.token(README_USER)}]})

        await opened.context.route("**/dev/session", session)
        yield opened


@pytest.fixture(scope="module")
def examples(package: Path) -> Path:
    """A copy of the examples beside the library's."""
    folder = package.parent / "examples"
    shutil.copytree(ROOT / "examples", folder, ignore=shutil.ignore_patterns("node_modules", "dist"))
    return folder


async def first_notification(tabs: Tabs, page: Page) -> None:
    await page.wait_for_function("document.querySelector('notification-bell')?.inbox?.state.name === 'live'")
    there = await page.evaluate("document.querySelector('notification-bell').inbox.unreadCount()")
    await tabs.publish()
    await expect(toasts(page)).to_contain_text("Family Group")
    await expect(badge(page)).to_have_text(str(there + 1))
    await bell(page).click()
    await expect(rows(page).first).to_contain_text("Family Group")


async def follow_a_deep_link(tabs: Tabs, page: Page) -> None:
    """With the title's badge, then in the tab of a category, to the page that a notification names."""
    message = {"type": "inapp", "user_id": tabs.user, "title": "Milk", "message": "It expires today."}
    headers = {"Authorization": f"Bearer {token('kitchen-service', scope='notifications:send')}"}
    async with httpx.AsyncClient(headers=headers, verify=NO_TLS) as service:
        sent = {**message, "category": "food", "url": "/food/7"}
        answer = await service.post(f"{tabs.hub.http}{REST}/notifications", json=sent)
        assert answer.is_success, answer.text
    await page.wait_for_function(TITLE)
    if not await panel(page).is_visible():
        await bell(page).click()
    tab = panel(page).get_by_role("tab")
    await expect(tab).to_have_text(["All", "Unread", "Food", "Plans", "Archive"])
    await tab.nth(3).click()
    await expect(rows(page)).to_have_count(0)
    await tab.nth(2).click()
    await page.route("**/food/7", lambda route: route.fulfill(body="<h1>Milk</h1>", content_type="text/html"))
    await rows(page).first.get_by_role("link").click()
    await page.wait_for_url("**/food/7")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_few_lines(page: str) -> None:
    assert len((ROOT / "examples" / PAGES[page]).read_text("utf-8").splitlines()) < MAX_LINES


@pytest.mark.parametrize("document", ["README.md", "client/README.md"])
async def test_the_readme_s_bell_shows_a_first_notification(tabs: Tabs, document: str) -> None:
    found = [
        code for code in BLOCK.findall((ROOT / document).read_text("utf-8")) if "<notification-bell" in code
    ]
    assert len(found) == 1
    await first_notification(tabs, await tabs.open(found[0]))


async def test_plain_html(tabs: Tabs) -> None:
    page = await tabs.open((ROOT / "examples" / "plain.html").read_text("utf-8"))
    await first_notification(tabs, page)
    await rows(page).first.get_by_role("button").first.click()
    await expect(page.locator("#chosen")).to_contain_text("Family Group")
    await follow_a_deep_link(tabs, page)


@pytest.mark.timeout(300)
@pytest.mark.slow  # npm and a bundler, 15 s of CPU each; in every run plain HTML and both READMEs are shown
@pytest.mark.parametrize("framework", ["react", "vue"])
async def test_a_framework_builds_with_it_and_shows_it(tabs: Tabs, examples: Path, framework: str) -> None:
    folder = examples / framework
    install(folder)
    built = run(folder, "npm", "run", "build")
    assert built.returncode == 0, built.stdout

    async def asset(route: Route) -> None:
        path = folder / "dist" / "assets" / route.request.url.rpartition("/")[2]
        await route.fulfill(path=path, content_type=MEDIA[path.suffix])

    await tabs.context.route("**/assets/*", asset)
    page = await tabs.open((folder / "dist" / "index.html").read_text("utf-8"))
    await first_notification(tabs, page)
    await rows(page).first.get_by_role("button").first.click()
    await expect(page.locator("main")).to_contain_text("You chose")
    await follow_a_deep_link(tabs, page)
