"""What a person does on the demo page, and where they look."""

from __future__ import annotations

import re

from playwright.async_api import Locator, Page, expect

from app.dev import demo

INBOXES = {demo.JOHN: "Inbox of John", demo.MAI: "Inbox of Mai"}


async def opened(page: Page) -> None:
    await page.goto("/")
    for user in INBOXES:
        await expect(state(inbox(page, user))).to_have_text("Live")


def inbox(page: Page, user: str) -> Locator:
    return page.get_by_role("region", name=INBOXES[user], exact=True)


def state(box: Locator) -> Locator:
    return box.locator(".state").get_by_role("status")


def notifications(box: Locator) -> Locator:
    return box.get_by_role("group", name="Notifications of").get_by_role("listitem")


def frames(box: Locator, text: str) -> Locator:
    """The raw frames of an inbox that contain a text. A connection that resumes adds frames."""
    return box.get_by_role("group", name="Raw frames of").get_by_role("listitem").filter(has_text=text)


def title(notification: Locator) -> Locator:
    return notification.get_by_role("heading")


async def click_event(page: Page, event_type: str) -> None:
    """Publish a sample by its button, and wait until the page says where it went."""
    await page.get_by_role("button", name=event_type).click()
    written = re.compile(rf"^{event_type} → Kafka: [\w.]+, partition \d+, offset \d+$")
    await expect(page.locator("#published")).to_have_text(written)


async def choose_way(page: Page, name: str) -> None:
    await page.get_by_role("group", name="Transport").get_by_role("radio", name=name).check()


async def preferences(page: Page, user: str) -> Locator:
    """The preferences of a user, opened."""
    box = inbox(page, user)
    await box.get_by_text("Preferences", exact=True).click()
    return box.locator("details.preferences")
