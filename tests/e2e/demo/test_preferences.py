"""What a person prefers is set on the demo page, and holds; the dry run says so before."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from playwright.async_api import Page, expect

from app.dev import demo
from tests.e2e.demo.people import (
    INBOXES,
    choose_way,
    click_event,
    frames,
    inbox,
    notifications,
    preferences,
    state,
)
from tests.support.mailbox import new_address


async def test_what_is_switched_off_does_not_come_and_the_dry_run_said_so(page: Page) -> None:
    john, mai = inbox(page, demo.JOHN), inbox(page, demo.MAI)
    choices = await preferences(page, demo.JOHN)
    food = choices.get_by_label("food by in-app")
    await expect(food.locator(":checked")).to_have_text("Default: on")
    await food.select_option("Off")
    await expect(choices.get_by_role("status").first).to_have_text("food by in-app: saved.")

    await choose_way(page, "Dry run")
    await page.get_by_role("button", name="food_expired").click()
    outcomes = page.get_by_role("group", name="What would happen").get_by_role("row")
    await expect(outcomes).to_have_count(3)
    await expect(outcomes.filter(has_text="John")).to_have_text(re.compile(r"inapp\s+suppress\s"))
    await expect(outcomes.filter(has_text="Mai")).to_have_text(re.compile(r"inapp\s+send"))

    await choose_way(page, "Kafka")
    await click_event(page, "food_expired")
    await expect(notifications(mai)).to_have_count(1)
    await expect(outcomes.first).to_be_hidden()
    await click_event(page, "group_head_chef_updated")  # later, and for both
    await expect(notifications(john)).to_have_count(1)
    await expect(notifications(john)).to_contain_text("group_head_chef_updated")

    await food.select_option("Default")
    await expect(food.locator(":checked")).to_have_text("Default: on")
    await click_event(page, "food_expired")
    await expect(notifications(john)).to_have_count(2)


async def test_low_stock_is_mailed_to_who_wants_it_and_has_an_address(page: Page) -> None:
    address = new_address()
    await expect(state(inbox(page, demo.MAI))).to_have_text("Live")
    choices = await preferences(page, demo.MAI)
    mail = choices.get_by_label("inventory by mail")
    await expect(mail.locator(":checked")).to_have_text("Default: off")
    await expect(choices.get_by_role("row", name="security")).to_contain_text("always on")
    await mail.select_option("On")
    await choices.get_by_label("Mail address").fill(address)
    await choices.get_by_label("Language").select_option("English")
    await choices.get_by_role("button", name="Save profile").click()
    await expect(choices.locator("form").get_by_role("status")).to_have_text("Profile: saved.")
    await expect(state(inbox(page, demo.MAI))).to_have_text("Live")  # again, in her language
    await click_event(page, "low_stock")
    await expect(page.locator("#mails").get_by_text(address)).to_be_visible()
    await expect(page.frame_locator("#mail iframe").locator("body")).to_contain_text("Espresso beans 1 kg")
    await expect(frames(inbox(page, demo.MAI), "is running low")).to_have_count(1)  # stored in her language


async def test_quiet_hours_make_mail_wait(page: Page) -> None:
    now, hour = datetime.now(UTC), timedelta(hours=1)
    profile = {
        "Mail address": new_address(),
        "Time zone": "UTC",
        "Quiet from": f"{now - hour:%H:%M}",
        "Quiet until": f"{now + hour:%H:%M}",
    }
    choices = await preferences(page, demo.MAI)
    await choices.get_by_label("inventory by mail").select_option("On")
    for label, value in profile.items():
        await choices.get_by_label(label).fill(value)
    await choices.get_by_role("button", name="Save profile").click()
    await expect(choices.locator("form").get_by_role("status")).to_have_text("Profile: saved.")
    await page.reload()
    choices = await preferences(page, demo.MAI)
    await expect(choices.get_by_label("Quiet until")).to_have_value(profile["Quiet until"])
    await choose_way(page, "Dry run")
    await page.get_by_role("button", name="low_stock").click()
    outcomes = page.get_by_role("group", name="What would happen").get_by_role("row")
    await expect(outcomes.filter(has_text="email")).to_have_text(re.compile("wait\\s+quiet hours until"))


async def test_everything_fits_a_phone(page: Page) -> None:
    await page.set_viewport_size({"width": 390, "height": 844})
    for user in INBOXES:
        await preferences(page, user)
    await choose_way(page, "Dry run")
    await page.get_by_role("button", name="food_expiring_soon").click()
    await expect(page.get_by_role("group", name="What would happen")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") == 390
