"""`<notification-preferences>` as a person meets it."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, Route, expect

from tests.e2e.bell.conftest import ORIGIN
from tests.support.axe import Axe
from tests.support.browser import needs_chromium
from tests.support.hub import eventually
from tests.support.npm import run
from tests.support.preference_pages import CODE, PreferencesHub, open_preferences, settings

pytestmark = needs_chromium

STRICT = "default-src 'none'; script-src 'self'; connect-src 'self'; require-trusted-types-for 'script'"
PLAIN = """<!doctype html><html lang="en"><head><title>Kitchen</title>
<script type="module" src="/page.js"></script></head>
<body><notification-preferences user-id="u"></notification-preferences></body></html>"""
SCRIPT = """import "/%s"; document.querySelector("notification-preferences").getToken = () => "a.b.c";"""


async def changed(hub: PreferencesHub, count: int) -> None:
    """The hub was asked for so many changes."""

    async def so_many() -> bool:
        return len(hub.changes) >= count

    await eventually(so_many, f"{count} changes")


async def test_the_keyboard_alone_changes_and_undoes_everything(page: Page, axe: Axe) -> None:
    hub = await open_preferences(page)
    shown = settings(page)
    press = page.keyboard.press
    await expect(shown.get_by_role("switch", name="Food: Email")).to_be_checked()
    await shown.get_by_role("switch", name="Receive notifications").focus()
    for _ in range(6):
        await press("Tab")
    food = shown.get_by_role("switch", name="Food: Email")
    await expect(food).to_be_focused()
    await press("Space")
    await expect(food).not_to_be_checked()
    await expect(shown.get_by_role("status")).to_have_text("Saved")
    await press("Control+z")
    await expect(food).to_be_checked()
    await expect(food).to_be_focused()
    await expect(shown.get_by_role("status")).to_have_text("Undone")
    await shown.get_by_role("switch", name="Quiet hours").focus()
    await press("Space")
    await expect(shown.get_by_label("From")).to_have_value("22:00")
    zone = shown.get_by_role("combobox", name="Time zone")
    await zone.focus()
    await press("ArrowDown")
    await expect(zone).to_have_attribute("aria-expanded", "true")
    await axe.check(page)
    await page.keyboard.insert_text("hồ chi")
    await expect(shown.get_by_role("listbox").get_by_role("option")).to_have_count(1)
    await press("Enter")
    await expect(zone).to_have_value("Asia / Ho Chi Minh (GMT+7)")
    await shown.get_by_role("combobox", name="Language").select_option("vi")
    await changed(hub, 5)
    assert hub.choices == {}
    assert hub.profile["time_zone"] == "Asia/Ho_Chi_Minh"
    assert (hub.profile["quiet_from"], hub.profile["locale"]) == ("22:00", "vi")
    await shown.get_by_role("button", name="Undo").click()
    await changed(hub, 6)
    assert hub.profile["locale"] is None
    await axe.check(page)


async def test_one_switch_turns_everything_off_and_what_is_refused_is_shown_as_it_was(page: Page) -> None:
    hub = await open_preferences(page)
    shown = settings(page)
    every = shown.get_by_role("switch", name="Receive notifications")
    await every.uncheck()
    await expect(shown.get_by_role("switch", name="Plans: Push")).not_to_be_checked()
    await expect(shown.get_by_role("switch", name="Security: Email")).to_be_disabled()
    await changed(hub, 1)
    assert len(hub.choices) == 32
    await every.check()
    await expect(shown.get_by_role("switch", name="Plans: Push")).to_be_checked()
    await expect(shown.get_by_role("switch", name="Stock: Email")).not_to_be_checked()
    hub.refuses = 409
    await shown.get_by_role("switch", name="Plans: Push").click()
    await expect(shown.get_by_text("No, not now.").first).to_be_visible()
    await expect(shown.get_by_role("switch", name="Plans: Push")).to_be_checked()
    hub.refuses = 0
    await shown.get_by_role("button", name="Remove: Firefox").click()
    await expect(shown.get_by_role("button", name="Remove: Firefox")).to_have_count(0)
    assert hub.devices == []


async def test_what_can_not_be_loaded_is_loaded_when_the_network_is_back(page: Page, axe: Axe) -> None:
    hub = PreferencesHub()
    hub.refuses = 503
    await open_preferences(page, hub)
    shown = settings(page)
    await expect(shown.get_by_role("button", name="Try again")).to_be_visible()
    await axe.check(page)
    hub.refuses = 0
    await page.evaluate("dispatchEvent(new Event('online'))")
    await expect(shown.get_by_role("switch", name="Food: Email")).to_be_checked()
    await expect(shown.get_by_role("button", name="Try again")).to_be_hidden()
    await page.evaluate("settings.texts = { lang: 'ar', title: 'إعدادات', categories: { food: 'الطعام' } }")
    await expect(shown.get_by_role("switch", name="الطعام: Email")).to_be_visible()
    assert await shown.locator("[part=root]").evaluate("root => getComputedStyle(root).direction") == "rtl"


async def test_how_often_messages_are_sent_is_chosen_and_undone_by_the_keyboard(page: Page, axe: Axe) -> None:
    loaded: list[str] = []
    page.on("request", lambda request: loaded.append(request.url.rpartition("/")[2]))
    hub = await open_preferences(page)
    shown = settings(page)
    press = page.keyboard.press
    await expect(shown.get_by_role("switch", name="Food: Email")).to_be_checked()
    assert not {"digests.js", "quiet.js"} & set(loaded)
    await shown.get_by_role("switch", name="Messages: Push").focus()
    await press("Tab")
    await press("Enter")
    food = shown.get_by_role("combobox", name="Food: Email")
    await expect(food).to_be_visible()
    await expect(shown.get_by_role("combobox", name="Stock: Email")).to_be_hidden()  # it is off
    await expect(shown.get_by_role("combobox", name="Security: Email")).to_have_count(0)
    await axe.check(page)
    await food.focus()
    await press("W")
    await press("Tab")
    day = shown.get_by_role("combobox", name="Food: Email, day")
    await expect(day).to_be_focused()
    await press("T")
    await expect(day).to_have_value("tuesday")
    await changed(hub, 2)
    zone = hub.changes[0]["profile"]["time_zone"]
    assert hub.changes[0]["digests"] == {"food.email": "weekly on monday at 18:00"}
    assert hub.digests == {"food.email": "weekly on tuesday at 18:00"}
    await expect(shown.get_by_role("combobox", name="Time zone")).to_be_visible()
    await axe.check(page)
    await shown.get_by_label("Food: Email, time").fill("07:30")
    await changed(hub, 3)
    assert hub.digests == {"food.email": "weekly on tuesday at 07:30"}
    assert hub.profile["time_zone"] == zone
    for _ in range(3):
        await press("Control+z")
    await changed(hub, 6)
    await expect(food).to_have_value("")
    await expect(day).to_be_hidden()
    assert (hub.digests, hub.profile["time_zone"]) == ({}, None)
    hub.refuses = 409
    await food.select_option("hourly")
    await expect(shown.get_by_text("No, not now.").first).to_be_visible()
    await expect(food).to_have_value("")


async def test_what_is_loaded_later_and_can_not_be_is_tried_again(page: Page) -> None:
    await page.route("**/digests.js", lambda route: route.abort())
    await open_preferences(page)
    shown = settings(page)
    await shown.locator("summary").click()
    await expect(shown.get_by_text("That didn't work. Try again.").first).to_be_visible()
    await expect(shown.locator("details")).not_to_have_attribute("open", "")
    await page.unroute("**/digests.js")
    await shown.locator("summary").click()
    await expect(shown.get_by_role("combobox", name="Food: Email")).to_be_visible()


async def test_an_address_is_changed_by_a_code_with_the_keyboard_alone(page: Page, axe: Axe) -> None:
    hub = await open_preferences(page)
    shown = settings(page)
    press, write = page.keyboard.press, page.keyboard.insert_text
    await page.evaluate(
        "addEventListener('preferenceschange', ({ detail }) => (window.told = detail.profile))"
    )
    await shown.get_by_role("button", name="Change: Addresses").focus()
    await press("Enter")
    await expect(shown.get_by_role("button", name="Remove: Email")).to_be_focused()
    await press("Tab")
    await press("Enter")
    await expect(shown.get_by_role("textbox", name="Email")).to_be_focused()
    await write("new@example.com")
    await press("Enter")
    code = shown.get_by_role("textbox", name="Code that was sent to new@example.com")
    await expect(code).to_be_focused()
    await axe.check(page)
    await write("000000")
    await press("Enter")
    await expect(shown.get_by_role("alert").first).to_have_text("The code is wrong.")
    await axe.check(page)
    assert hub.profile["email"] == "mai@example.com"
    await code.fill(CODE)
    await press("Enter")
    await expect(shown.get_by_role("button", name="Change: Email")).to_be_focused()
    await expect(shown.get_by_text("new@example.com")).to_be_visible()
    await expect(shown.get_by_role("status")).to_have_text("Saved")
    assert await page.evaluate("told.email") == "new@example.com"
    await shown.get_by_role("button", name="Remove: Email").click()
    await expect(shown.get_by_role("button", name="Add: Email")).to_be_focused()
    assert (hub.profile["email"], hub.addresses) == (None, [])


async def test_an_address_that_was_set_otherwise_is_removed_and_comes_back_by_undo(page: Page) -> None:
    hub = PreferencesHub()
    hub.addresses = [
        {
            "id": "a0",
            "channel": "sms",
            "address": "+84912345678",
            "status": "pending",
            "expires_at": "2030-01-01",
        }
    ]
    await open_preferences(page, hub)
    shown = settings(page)
    await shown.get_by_role("button", name="Change: Addresses").click()
    await expect(shown.get_by_label("Code that was sent to +84912345678")).to_be_visible()
    await shown.get_by_role("button", name="Cancel: SMS").click()
    await expect(shown.get_by_role("button", name="Add: SMS")).to_be_focused()
    await shown.get_by_role("button", name="Remove: Email").click()
    await expect(shown.get_by_role("button", name="Add: Email")).to_be_visible()
    await changed(hub, 1)
    assert (hub.profile["email"], hub.addresses) == (None, [])
    await shown.get_by_role("button", name="Undo").click()
    await expect(shown.get_by_text("mai@example.com")).to_be_visible()


@pytest.mark.parametrize("module", ["src/preferences.js", "dist/preferences.min.js"])
async def test_a_strict_policy_needs_no_exception(browser: Browser, package: Path, module: str) -> None:
    """Neither for the modules, which import others when they are needed, nor for the single file."""
    if module.startswith("dist"):
        built = run(package, "npm", "run", "build")
        assert built.returncode == 0, built.stdout
    pages = {"/": ("text/html", PLAIN), "/page.js": ("text/javascript", SCRIPT % module)}

    async def answer(route: Route) -> None:
        path, *_ = route.request.url.removeprefix(ORIGIN).partition("?")
        headers = {"Content-Security-Policy": STRICT}
        if path in pages:
            kind, body = pages[path]
            await route.fulfill(body=body, headers=headers | {"Content-Type": kind})
        else:
            await route.fulfill(path=package / path.removeprefix("/"), content_type="text/javascript")

    complaints: list[str] = []
    async with await browser.new_context() as context:
        await context.route(f"{ORIGIN}/**", answer)
        await context.route("**/api/v2/notification-service/**", PreferencesHub().answer)
        page = await context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(f"{ORIGIN}/")
        shown = settings(page)
        await shown.get_by_role("switch", name="Quiet hours").check()
        await expect(shown.get_by_label("From")).to_have_value("22:00")
        await shown.locator("summary").click()
        await expect(shown.get_by_role("combobox", name="Food: Email")).to_be_visible()
        await expect(shown.get_by_role("button", name="Remove: Firefox")).to_be_visible()
    assert complaints == []
