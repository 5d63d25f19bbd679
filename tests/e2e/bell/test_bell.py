"""`<notification-bell>` as a person meets it, against a real hub."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.support.axe import Axe
from tests.support.bell_pages import LIVE, badge, bell, page_of, panel, rows, toasts
from tests.support.browser import needs_chromium, set_online
from tests.support.hub import Hub, added, eventually
from tests.support.network import FaultyProxy
from tests.support.tabs import Tabs, open_tabs

ONE_BELL = page_of("<notification-bell></notification-bell>", LIVE)
GROUPS = page_of("<notification-bell group-by='group'></notification-bell>", LIVE)
TWO_BELLS = page_of("<notification-bell></notification-bell><notification-bell></notification-bell>", LIVE)

pytestmark = needs_chromium
expect.set_options(timeout=10_000)


@pytest_asyncio.fixture
async def tabs(hub: Hub, proxy: FaultyProxy, browser: Browser) -> AsyncIterator[Tabs]:
    noon = f"Etc/GMT{datetime.now(UTC).hour - 12:+d}"  # where no day ends soon
    async with open_tabs(
        browser, proxy.origin, hub, reduced_motion="reduce", locale="en-GB", timezone_id=noon
    ) as opened:
        yield opened


async def live(tabs: Tabs, html: str = ONE_BELL) -> Page:
    page = await tabs.open(html)
    await tabs.live()
    return page


async def come(tabs: Tabs, page: Page, count: int) -> None:
    """So many are published and in the page."""
    there = await page.evaluate("inbox.list().length")
    await tabs.publish(count)
    await page.wait_for_function("count => inbox.list().length === count", arg=there + count)


async def test_what_comes_live_is_counted_in_the_badge_and_shown_in_a_toast(tabs: Tabs, axe: Axe) -> None:
    page = await live(tabs)
    await expect(bell(page)).to_have_accessible_name("Notifications")
    await expect(badge(page)).to_be_hidden()
    await tabs.publish()
    await expect(toasts(page)).to_have_count(1)
    await expect(toasts(page)).to_contain_text("Family Group")
    await expect(page.get_by_role("status")).to_contain_text("Family Group")
    await expect(badge(page)).to_have_text("1")
    await expect(bell(page)).to_have_accessible_name("Notifications, 1 unread")
    await axe.check(page)
    title = toasts(page).get_by_role("button").first
    await title.click()
    await expect(toasts(page)).to_have_count(0)
    await expect(badge(page)).to_be_hidden()
    [opened] = await page.evaluate("opened")
    assert "Family Group" in opened


async def test_many_at_once_are_one_toast_that_opens_the_list(tabs: Tabs) -> None:
    page = await live(tabs)
    await tabs.publish(7)
    await expect(badge(page)).to_have_text("7")
    many = toasts(page).get_by_role("button", name=re.compile("new notifications$")).first
    await many.click()
    await expect(rows(page)).to_have_count(7)


async def test_scrolling_loads_older_ones(tabs: Tabs) -> None:
    await tabs.publish(120)

    async def stored() -> bool:
        async with tabs.hub.client(tabs.user) as client:
            listed = await client.get(f"/notifications/users/{tabs.user}")
        return len(listed.json()) == 120

    await eventually(stored, "all are there")
    page = await live(tabs)
    await expect(badge(page)).to_have_text("99+")
    await bell(page).click()
    await expect(rows(page)).to_have_count(50)
    for count in (100, 120):
        await rows(page).last.scroll_into_view_if_needed()
        await expect(rows(page)).to_have_count(count)
    await expect(panel(page).locator("[part=older]")).to_be_hidden()


async def test_what_is_read_or_deleted_in_one_tab_is_so_in_the_other(tabs: Tabs) -> None:
    page, other = await live(tabs), await live(tabs)
    await come(tabs, page, 3)
    for each in (page, other):
        await bell(each).click()
        await expect(rows(each)).to_have_count(3)
    await rows(page).first.get_by_role("button", name="Mark as read").click()
    await expect(badge(other)).to_have_text("2")
    await rows(page).last.get_by_role("button", name="Delete").click()
    await expect(rows(other)).to_have_count(2)
    await expect(badge(other)).to_have_text("1")
    await panel(other).get_by_role("button", name="Mark all as read").click()
    for each in (page, other):
        await expect(badge(each)).to_be_hidden()
        await expect(rows(each).get_by_role("button", name="Mark as read")).to_have_count(0)


async def test_a_group_grows_live_and_is_archived_and_brought_back_in_both_tabs(tabs: Tabs) -> None:
    page, other = await live(tabs, GROUPS), await live(tabs, GROUPS)
    await come(tabs, page, 3)
    for each in (page, other):
        await bell(each).click()
    heading = re.compile("^Unread: 3 things in Family Group$")
    await expect(rows(other).get_by_role("button", name=heading)).to_be_visible()
    await rows(page).get_by_role("button", name=heading).click()
    await expect(rows(page)).to_have_count(1 + 3)
    await come(tabs, page, 1)
    await expect(rows(page)).to_have_count(1 + 4)
    archive = "Archive: 4 things in Family Group"
    await rows(page).get_by_role("button", name=archive).click()
    for each in (page, other):
        await expect(rows(each)).to_have_count(0)
        await expect(badge(each)).to_be_hidden()
    await panel(page).get_by_role("button", name="Undo").click()
    await expect(rows(page)).to_have_count(1 + 4)
    await expect(rows(other)).to_have_count(1)
    await expect(badge(other)).to_have_text("4")
    await rows(other).get_by_role("button", name="Mark as read: 4 things").click()
    await expect(badge(page)).to_be_hidden()


async def test_the_keyboard_alone_does_it_all(tabs: Tabs) -> None:
    page = await live(tabs)
    await come(tabs, page, 3)
    press = page.keyboard.press
    await press("Tab")
    await expect(bell(page)).to_be_focused()
    await press("Enter")
    title = rows(page).get_by_role("button").first
    await expect(title).to_be_focused()
    await expect(bell(page)).to_have_attribute("aria-expanded", "true")
    await press("ArrowDown")
    await expect(rows(page).nth(1).get_by_role("button").first).to_be_focused()
    await press("Delete")
    await expect(rows(page)).to_have_count(2)
    await expect(rows(page).nth(1).get_by_role("button").first).to_be_focused()
    await press("Tab")
    await press("Enter")
    await expect(badge(page)).to_have_text("1")
    await expect(rows(page).nth(1).get_by_role("button", name="Mark as unread")).to_be_focused()
    await press("Home")
    await press("Enter")
    await expect(badge(page)).to_be_hidden()
    await press("Escape")
    await expect(panel(page)).to_be_hidden()
    await expect(bell(page)).to_be_focused()
    await expect(bell(page)).to_have_attribute("aria-expanded", "false")


async def test_deleting_all_of_them_keeps_the_focus_in_the_list(tabs: Tabs) -> None:
    page = await live(tabs)
    await come(tabs, page, 2)
    await bell(page).click()
    await rows(page).first.get_by_role("button", name="Delete").click()
    await expect(rows(page)).to_have_count(1)
    await expect(rows(page).get_by_role("button", name="Delete")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(panel(page).get_by_text("No notifications yet")).to_be_visible()
    await expect(panel(page)).to_be_focused()
    await expect(page.get_by_role("status")).to_have_text("Deleted")


async def test_the_page_decides_what_choosing_one_does(tabs: Tabs) -> None:
    page = await live(tabs)
    await come(tabs, page, 1)
    await page.evaluate("bell.addEventListener('notificationopen', (event) => event.preventDefault())")
    await bell(page).click()
    await rows(page).get_by_role("button").first.click()
    await page.wait_for_function("opened.length === 1")
    await page.evaluate("inbox.loadMore()")  # nothing was asked of the hub before that
    assert await page.evaluate("inbox.unreadCount()") == 1


async def test_offline_shows_in_the_bell_and_in_the_list_and_goes_again(
    tabs: Tabs, proxy: FaultyProxy
) -> None:
    page = await live(tabs)
    await come(tabs, page, 1)
    await bell(page).click()
    await set_online(page, online=False)
    proxy.refuse()
    await expect(panel(page).get_by_text("You are offline.")).to_be_visible()
    await expect(bell(page)).to_have_accessible_name(re.compile("1 unread, You are offline"))
    await rows(page).get_by_role("button", name="Delete").click()
    await expect(panel(page).get_by_text("Something went wrong. Try again.")).to_be_visible()
    await expect(rows(page)).to_have_count(1)
    await tabs.publish()
    proxy.repair()
    await set_online(page, online=True)
    await expect(rows(page)).to_have_count(2)
    await expect(bell(page)).to_have_accessible_name("Notifications, 2 unread")


async def test_a_logout_leaves_nothing_to_read_and_a_new_token_brings_it_back(tabs: Tabs, axe: Axe) -> None:
    page = await live(tabs)
    await come(tabs, page, 1)
    await expect(page.get_by_role("status")).to_contain_text("Family Group")
    await bell(page).click()
    await expect(rows(page)).to_have_count(1)
    logout = {"event_type": "account_logged_out", "user_id": tabs.user, "access_token_id": "x"}
    await tabs.hub.publish(logout, topic=tabs.hub.logout_topic)
    await expect(panel(page).get_by_text("You are signed out")).to_be_visible()
    await expect(rows(page)).to_have_count(0)
    await expect(page.locator("notification-bell").get_by_text("Family Group")).to_have_count(0)
    await expect(badge(page)).to_be_hidden()
    await axe.check(page)
    await panel(page).get_by_role("button", name="Reconnect").click()
    await expect(rows(page)).to_have_count(1)


async def test_two_bells_share_an_inbox_and_one_of_them_announces(tabs: Tabs) -> None:
    page = await live(tabs, TWO_BELLS)
    assert await tabs.hub.metric("hub_connections") == 1
    await come(tabs, page, 1)
    badges = page.locator("notification-bell [part=badge]")
    await expect(badges).to_have_text(["1", "1"])
    await expect(toasts(page)).to_have_count(1)
    await page.evaluate("document.querySelector('notification-bell').remove()")
    await come(tabs, page, 1)
    await expect(toasts(page)).to_have_count(1)  # the other tells now
    await page.evaluate("document.querySelector('notification-bell').remove()")

    async def gone() -> bool:
        return await tabs.hub.metric("hub_connections") == 0

    await eventually(gone, "nobody is connected")


async def test_a_bell_that_is_moved_keeps_its_connection(tabs: Tabs) -> None:
    page = await live(tabs)
    await page.evaluate("document.querySelector('main').append(bell)")
    await come(tabs, page, 1)
    await expect(badge(page)).to_have_text("1")
    assert len(tabs.sockets[page]) == 1


async def test_who_makes_a_page_reads_in_the_console_why_nothing_comes(tabs: Tabs) -> None:
    page = await tabs.open(ONE_BELL.replace("/token?", "/page?"))  # a page where a token is expected
    reason = "<notification-bell>: getToken gave no JWT"
    async with page.expect_console_message(lambda message: message.text.startswith(reason)):
        pass


async def test_markup_is_shown_as_text(tabs: Tabs) -> None:
    page = await live(tabs)
    name = "<img src=/nothing onerror='window.ran = 1'>"
    await tabs.hub.publish(added(tabs.user, name))
    await expect(toasts(page)).to_contain_text(name)
    await bell(page).click()
    await expect(rows(page)).to_contain_text(name)
    assert await page.evaluate("window.ran") is None


async def test_another_language_of_the_document_is_spoken_at_once(tabs: Tabs) -> None:
    page = await live(tabs)
    await come(tabs, page, 1)
    for language, name in (("ru", "Уведомления, 1 непрочитанное"), ("vi", "Thông báo, 1 chưa đọc")):
        await page.evaluate("language => document.documentElement.lang = language", language)
        await expect(bell(page)).to_have_accessible_name(name)
    await page.evaluate("bell.lang = 'en'")
    await expect(bell(page)).to_have_accessible_name("Notifications, 1 unread")
    await bell(page).click()
    await expect(rows(page)).to_contain_text(
        "added you to the group"
    )  # what is loaded is in that language too
