"""Pictures of everything that bell and preferences can show: `python -m tests.support.bell_screens FOLDER`.

They need Chromium and no hub. Whoever changes how something looks takes them, and looks at each.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from playwright.async_api import Browser, Page, Route

from tests.support.bell_pages import (
    LIBRARY,
    STUB,
    become,
    bell,
    carrying,
    grouped,
    notifications,
    page_of,
    panel,
    rows,
)
from tests.support.browser import run_browser
from tests.support.npm import CLIENT
from tests.support.preference_pages import PreferencesHub, open_preferences, settings

ORIGIN = "https://kitchen.example"
PAGE = page_of("<notification-bell title-badge preferences-url='/settings'></notification-bell>", STUB)
SIZES = {"phone": (390, 780), "desktop": (1100, 760)}
ARABIC = {
    "lang": "ar",
    "title": "الإشعارات",
    "readAll": "تعليم الكل كمقروء",
    "tabAll": "الكل",
    "tabUnread": "غير مقروءة",
    "tabArchive": "الأرشيف",
    "settings": "إعدادات الإشعارات",
    "archiveAll": "أرشفة الكل",
    "more": "عرض المزيد",
    "unread": {"two": "{n} غير مقروءتين", "other": "{n} غير مقروءة"},
}
ARABIC_ITEMS = ("تم تعيين الخطة 42 لك", "تنتهي صلاحية الحليب قريبا", "انضم عضو جديد")
LIVE: dict[str, Any] = {"state": {"name": "live"}}

Shows = Callable[[Page], Awaitable[object]]


class Look(NamedTuple):
    """One way to look at a state."""

    size: str
    scheme: Literal["light", "dark"]


LOOKS = (Look("desktop", "light"), Look("desktop", "dark"), Look("phone", "light"), Look("phone", "dark"))


def _opened(changes: dict[str, Any], then: Shows | None = None) -> Shows:
    """The list, open with this inbox."""

    async def show(page: Page) -> None:
        await become(page, {"items": [], "older": 0, "hasMore": False, **LIVE, **changes})
        await page.evaluate("bell.inbox = stub")  # as a page that is opened in this state
        await bell(page).click()
        if then is not None:
            await then(page)

    return show


async def _arabic(page: Page) -> None:
    items = [
        {**each, "title": title, "content": "من فضلك، انتبه للحليب أيضا. الموعد غدا في السادسة والنصف."}
        for each, title in zip(carrying(), ARABIC_ITEMS, strict=False)
    ]
    await page.evaluate("texts => { bell.texts = texts; document.documentElement.dir = 'rtl'; }", ARABIC)
    await _opened({"items": items})(page)


async def _toasts(page: Page) -> None:
    await become(page, {**LIVE, "items": carrying()}, fresh=2)
    await page.locator("[part=toast]").nth(1).wait_for()


async def _badge(page: Page) -> None:
    await become(page, {**LIVE, "items": notifications(), "older": 120})


async def _hover(page: Page) -> None:
    await rows(page).nth(1).hover()


def _groups(then: Shows | None = None) -> Shows:
    """The list in groups, of now and of some days before."""

    async def show(page: Page) -> None:
        await page.evaluate("bell.setAttribute('group-by', 'group')")
        older = [{**each, "id": each["id"] + 100, "seq": each["seq"] - 10} for each in grouped()]
        await _opened({"items": grouped(datetime.now(UTC)) + older}, then)(page)

    return show


async def _expand(page: Page) -> None:
    await panel(page).get_by_role("button", expanded=False, name="things in").first.click()


async def _arabic_groups(page: Page) -> None:
    name = "مجموعة العائلة"
    words = {**ARABIC, "things": {"few": "{n} إشعارات في {name}", "other": "{n} إشعارا في {name}"}}
    await page.evaluate("texts => { bell.texts = texts; document.documentElement.dir = 'rtl'; }", words)
    await page.evaluate("bell.setAttribute('group-by', 'group')")
    items = [
        {**each, "title": ARABIC_ITEMS[place % 3], "group_name": name}
        for place, each in enumerate(grouped(datetime.now(UTC)))
    ]
    await _opened({"items": items})(page)
    await panel(page).get_by_role("button", expanded=False, name=name).first.click()


async def _undo(page: Page) -> None:
    await rows(page).nth(1).hover()
    await rows(page).nth(1).get_by_role("button", name="Delete").click()


async def _archive(page: Page) -> None:
    await panel(page).get_by_role("tab", name="Archive").click()


async def _categories(page: Page) -> None:
    await page.evaluate("bell.setAttribute('categories', 'food,plans')")
    items = [{**each, "category": "food"} for each in carrying()]
    await _opened({"items": items})(page)
    await panel(page).get_by_role("tab", name="Food").click()


async def _snooze(page: Page) -> None:
    await rows(page).nth(1).hover()
    await rows(page).nth(1).get_by_role("button", name="Snooze").click()


async def _error(page: Page) -> None:
    await rows(page).first.hover()
    await rows(page).first.get_by_role("button", name="Mark as read").click()
    await panel(page).locator("[part=status]").wait_for()


async def _long(page: Page) -> None:
    await panel(page).get_by_role("button", name="Show more").first.click()


async def _preferences(page: Page) -> None:
    hub = PreferencesHub()
    hub.profile |= {"quiet_from": "22:00", "quiet_until": "07:00", "time_zone": "Asia/Ho_Chi_Minh"}
    await open_preferences(page, hub)
    await settings(page).get_by_role("switch").first.wait_for()


async def _digests(page: Page) -> None:
    hub = PreferencesHub()
    hub.profile |= {"time_zone": "Asia/Ho_Chi_Minh"}
    hub.choices = {"plans.sms": False, "inventory.sms": False, "messages.email": False, "messages.sms": False}
    hub.digests = {"groups.email": "hourly", "food.email": "daily at 18:00", "food.sms": "immediate"}
    hub.digests["plans.email"] = "weekly on wednesday at 09:30"
    await open_preferences(page, hub)
    await settings(page).locator("summary").click()
    await settings(page).locator("li select").first.wait_for()


async def _addresses(page: Page) -> None:
    await _preferences(page)
    shown = settings(page)
    await shown.get_by_role("button", name="Change: Addresses").click()
    await shown.get_by_role("button", name="Add: SMS").click()
    await shown.get_by_role("textbox", name="SMS").fill("+84912345678")
    await shown.get_by_role("button", name="Send code").click()
    await shown.get_by_role("textbox", name="Code that").fill("123456")
    await shown.get_by_role("button", name="Confirm").click()
    await shown.get_by_text("The code is wrong.").wait_for()
    await shown.get_by_role("button", name="Change: Email").click()


async def _digests_ru(page: Page) -> None:
    await page.evaluate("document.documentElement.lang = 'ru'")
    await _digests(page)


async def _zones(page: Page) -> None:
    await _preferences(page)
    await settings(page).get_by_role("combobox", name="Time zone").fill("asia")


async def _saved(page: Page) -> None:
    await _preferences(page)
    await settings(page).get_by_role("switch", name="Meals: Email").click()
    await settings(page).get_by_role("button", name="Undo").wait_for()


async def _preferences_failed(page: Page) -> None:
    hub = PreferencesHub()
    hub.refuses = 503
    await open_preferences(page, hub)
    await settings(page).get_by_role("button", name="Try again").wait_for()


async def _preferences_vi(page: Page) -> None:
    await page.evaluate("document.documentElement.lang = 'vi'")
    await _preferences(page)


STATES: dict[str, Shows] = {
    "badge": _badge,
    "toasts": _toasts,
    "list": _opened({"items": carrying()}),
    "hover": _opened({"items": carrying()}, _hover),
    "groups": _groups(),
    "groups-expanded": _groups(_expand),
    "groups-arabic": _arabic_groups,
    "undo": _opened({"items": carrying()}, _undo),
    "archive": _opened({"items": carrying(), "archived": notifications()[2:]}, _archive),
    "archive-empty": _opened({"items": carrying(), "archived": []}, _archive),
    "categories": _categories,
    "snooze": _opened({"items": carrying()}, _snooze),
    "empty": _opened({}),
    "loading": _opened({"state": {"name": "connecting"}}),
    "offline": _opened({"items": notifications(), "state": {"name": "offline"}}),
    "error": _opened({"items": notifications()}, _error),
    "signed-out": _opened({"state": {"name": "closed", "code": 4500}}),
    "long-text": _opened({"items": carrying()[1:2]}, _long),
    "old-events": _opened({"items": notifications()}),
    "arabic": _arabic,
    "preferences": _preferences,
    "preferences-digests": _digests,
    "preferences-addresses": _addresses,
    "preferences-digests-ru": _digests_ru,
    "preferences-zones": _zones,
    "preferences-saved": _saved,
    "preferences-failed": _preferences_failed,
    "preferences-vi": _preferences_vi,
}


@asynccontextmanager
async def stub_page(browser: Browser, **options: Any) -> AsyncIterator[Page]:
    """A page whose bell shows an inbox that says what the test has it say."""
    context = await browser.new_context(reduced_motion="reduce", **options)

    async def answer(route: Route) -> None:
        path, *_ = route.request.url.removeprefix(ORIGIN).partition("?")
        if path == "/":
            await route.fulfill(content_type="text/html", body=PAGE)
        else:
            file = CLIENT / "src" / path.removeprefix(f"{LIBRARY}/")
            await route.fulfill(path=file, content_type="text/javascript")

    await context.route(f"{ORIGIN}/**", answer)
    page = await context.new_page()
    await page.goto(ORIGIN)
    await page.wait_for_function("window.bell?.inbox")
    yield page
    await context.close()


async def main(folder: Path, only: str = "") -> None:
    """Take the pictures whose name contains `only`."""
    async with run_browser() as browser:
        for name, show in STATES.items():
            for look in LOOKS:
                path = folder / f"{name}-{look.size}-{look.scheme}.png"
                if only not in path.name:
                    continue
                width, height = SIZES[look.size]
                viewport = {"width": width, "height": height}
                async with stub_page(browser, viewport=viewport, color_scheme=look.scheme) as page:
                    await show(page)
                    await page.wait_for_timeout(150)
                    await page.screenshot(path=path, full_page=name.startswith("preferences"))


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:3]))
