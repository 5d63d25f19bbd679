"""Whatever the bell shows, light and dark, on phone and desktop, in three languages: axe finds nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, expect

from tests.axe import Axe
from tests.browser import needs_chromium
from tests.e2e.bell.pages import LIBRARY, STUB, bell, page_of, panel, rows, toasts
from tests.npm import CLIENT

ORIGIN = "https://kitchen.example"
SIZES = {"phone": (390, 780), "desktop": (1100, 760)}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
LANGUAGES = ("vi", "en", "ru")
LEAST_TARGET = 24  # CSS px, WCAG 2.2, 2.5.8
PAGE = page_of("<notification-bell></notification-bell>", STUB)

pytestmark = needs_chromium


def notifications() -> list[dict[str, Any]]:
    """Five of them, two unread, of the last weeks."""
    now = datetime.now(UTC)
    ages = [
        timedelta(seconds=5),
        timedelta(hours=2),
        timedelta(days=1),
        timedelta(days=4),
        timedelta(days=400),
    ]
    return [
        {
            "id": f"id-{number}",
            "seq": 10 - number,
            "title": f"Plan #{41 + number} was assigned",
            "content": "It is due tomorrow at half past six. Please look after the milk, too.\nAnd the rice.",
            "template_code": "PLAN_ASSIGNED",
            "is_read": number > 1,
            "created_at": (now - age).isoformat(),
        }
        for number, age in enumerate(ages)
    ]


STATES: dict[str, dict[str, Any]] = {
    "loading": {"state": {"name": "connecting"}},
    "empty": {"state": {"name": "live"}},
    "list": {"state": {"name": "live"}, "items": notifications(), "older": 3, "hasMore": True},
    "offline": {"state": {"name": "offline"}, "items": notifications()},
    "coming-back": {"state": {"name": "waiting"}, "items": notifications()},
    "logged-out": {"state": {"name": "closed", "code": 4500}},
    "forbidden": {"state": {"name": "closed", "code": 403}},
}


@pytest_asyncio.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    context = await browser.new_context(reduced_motion="reduce")
    complaints: list[str] = []

    async def answer(route: Route) -> None:
        path = route.request.url.removeprefix(ORIGIN)
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
    assert complaints == []


async def become(page: Page, changes: dict[str, Any], fresh: int = 0) -> None:
    """The inbox says this, and that so many are new."""
    await page.evaluate(
        "async ([changes, fresh]) => { stub.become(changes, (changes.items ?? []).slice(0, fresh)); }",
        [changes, fresh],
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", SCHEMES)
async def test_axe_finds_nothing(page: Page, axe: Axe, scheme: Literal["light", "dark"], size: str) -> None:
    width, height = SIZES[size]
    await page.set_viewport_size({"width": width, "height": height})
    await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    for language in LANGUAGES:
        await page.evaluate("language => document.documentElement.lang = language", language)
        await become(page, {**STATES["list"], "hasMore": False}, fresh=2)
        await expect(toasts(page)).to_have_count(2)
        await axe.check(page)
        await bell(page).click()
        for changes in STATES.values():
            await page.evaluate("bell.inbox = stub")  # as a page that is opened in this state
            await become(page, {"items": [], "older": 0, "hasMore": False, **changes})
            await expect(rows(page)).to_have_count(len(changes.get("items", [])))
            await axe.check(page)
        await page.keyboard.press("Escape")
        await expect(panel(page)).to_be_hidden()
        await become(page, STATES["empty"])


@pytest.mark.parametrize("size", SIZES)
async def test_nothing_is_too_small_to_hit_or_wider_than_the_page(page: Page, size: str) -> None:
    width, height = SIZES[size]
    await page.set_viewport_size({"width": width, "height": height})
    await become(page, STATES["list"], fresh=1)
    await expect(toasts(page)).to_have_count(1)
    buttons = page.locator(
        "notification-bell button:not([part$=title]):visible"
    )  # a title's is as large as its row
    seen = [await each.bounding_box() for each in await buttons.all()]
    await bell(page).click()
    await expect(rows(page)).to_have_count(5)
    seen += [await each.bounding_box() for each in await buttons.all()]
    assert len(seen) > 8
    for box in seen:
        assert box is not None
        assert min(box["height"], box["width"]) >= LEAST_TARGET
    assert await page.evaluate("document.documentElement.scrollWidth") == width
