"""Whatever the bell shows, light and dark, on phone and desktop, in three languages: axe finds nothing."""

from __future__ import annotations

from itertools import product
from typing import Any, Literal

import pytest
from playwright.async_api import Page, expect

from tests.support.axe import Axe
from tests.support.bell_pages import become, bell, carrying, notifications, panel, rows, toasts
from tests.support.browser import needs_chromium
from tests.support.preference_pages import open_preferences, settings

SIZES = {"phone": (390, 780), "desktop": (1100, 760)}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
LANGUAGES = ("vi", "en", "ru")
LEAST_TARGET = 24  # CSS px, WCAG 2.2, 2.5.8

pytestmark = needs_chromium


STATES: dict[str, dict[str, Any]] = {
    "loading": {"state": {"name": "connecting"}},
    "empty": {"state": {"name": "live"}},
    "list": {"state": {"name": "live"}, "items": notifications(), "older": 3, "hasMore": True},
    "carrying": {"state": {"name": "live"}, "items": carrying()},
    "offline": {"state": {"name": "offline"}, "items": notifications()},
    "coming-back": {"state": {"name": "waiting"}, "items": notifications()},
    "logged-out": {"state": {"name": "closed", "code": 4500}},
    "forbidden": {"state": {"name": "closed", "code": 403}},
}


# Each size and each scheme is in every run; all of each with all others and all languages takes long.
ALWAYS = {("phone", "light", "ru"), ("desktop", "dark", "vi")}
LOOKS = [
    pytest.param(*look, marks=() if look in ALWAYS else pytest.mark.slow)
    for look in product(SIZES, SCHEMES, LANGUAGES)
]


@pytest.mark.parametrize(("size", "scheme", "language"), LOOKS)
async def test_axe_finds_nothing(
    page: Page, axe: Axe, scheme: Literal["light", "dark"], size: str, language: str
) -> None:
    width, height = SIZES[size]
    await page.set_viewport_size({"width": width, "height": height})
    await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
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
    await become(page, {**STATES["list"], "hasMore": False})
    await bell(page).click()
    await rows(page).first.get_by_role("button").nth(1).click()  # the inbox can't mark it read
    await expect(panel(page).locator("[part=status]")).to_be_visible()
    await axe.check(page)
    await page.keyboard.press("Escape")
    await open_preferences(page)
    await expect(settings(page).get_by_role("switch").first).to_be_checked()
    await axe.check(page)
    await settings(page).locator("summary").click()
    food = settings(page).locator("details li").nth(1)
    await food.get_by_role("combobox").first.select_option("weekly")
    await expect(food.locator("input[type=time]").first).to_be_visible()
    await settings(page).locator("[part=change]").click()
    await settings(page).locator("[part=address-action]:visible").last.click()
    await expect(settings(page).locator("input[type=tel]")).to_be_focused()
    await page.evaluate("scrollTo(0, document.body.scrollHeight)")  # nothing is behind the snackbar there
    await axe.check(page)
    assert await page.evaluate("document.documentElement.scrollWidth") == width


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
