"""`<notification-preferences>` as a person meets it."""

from __future__ import annotations

from playwright.async_api import Page, expect

from tests.support.axe import Axe
from tests.support.browser import needs_chromium
from tests.support.hub import eventually
from tests.support.preference_pages import PreferencesHub, open_preferences, settings

pytestmark = needs_chromium


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
