"""What a hub can't be made to do at will: the bell with a scripted inbox."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Literal

import pytest
from playwright.async_api import Page, expect

from tests.support.axe import Axe
from tests.support.bell_pages import (
    LIBRARY,
    badge,
    become,
    bell,
    carrying,
    notifications,
    panel,
    rows,
    toasts,
)
from tests.support.browser import needs_chromium

pytestmark = needs_chromium

LIST = {"state": {"name": "live"}, "items": notifications()}


async def test_a_quiet_bell_shows_no_toast_and_is_read_out_all_the_same(page: Page) -> None:
    await page.evaluate("bell.setAttribute('quiet', '')")
    await become(page, LIST, fresh=1)
    await expect(badge(page)).to_have_text("2")
    await expect(page.get_by_role("status")).to_have_text("Plan #41 was assigned")
    await expect(toasts(page)).to_have_count(0)


async def test_a_row_leads_where_its_notification_does_and_the_page_may_go_there_itself(page: Page) -> None:
    await page.evaluate("""() => {
      window.chosen = [];
      for (const name of ["notificationopen", "notificationaction"]) {
        addEventListener(name, (event) => { event.preventDefault(); chosen.push([name, event.detail]); });
      }
    }""")
    await become(page, {**LIST, "items": carrying()})
    await bell(page).click()
    first, *others = [rows(page).nth(number) for number in range(5)]
    link = first.get_by_role("link", name="Unread: Urgent: Plan #41 was assigned")
    await expect(link).to_have_attribute("href", "/orders/7")
    for each in others:  # nothing else leads anywhere, nor loads anything
        await expect(each.locator("a, img")).to_have_count(0)
    await expect(others[2]).to_contain_text("LB")
    await first.get_by_role("button", name="Not now").click()
    await expect(panel(page)).to_be_visible()
    await first.get_by_role("link", name="Pay").click()
    await expect(panel(page)).to_be_hidden()
    await bell(page).click()
    await link.click()
    chosen = await page.evaluate(
        "chosen.map(([name, { id, notification, action }]) => [name, id ?? notification.id, action?.id])"
    )
    assert chosen == [
        ["notificationaction", 1, "later"],
        ["notificationaction", 1, "pay"],
        ["notificationopen", 1, None],
    ]
    assert page.url == "https://kitchen.example/"
    assert await page.evaluate("stub.reported") == []


async def test_a_link_is_followed_and_reported_and_the_panel_closes(page: Page) -> None:
    await become(page, {**LIST, "items": carrying()})
    await bell(page).click()
    await page.evaluate("stub.markRead = async () => {}")
    await page.evaluate("""() => {
      addEventListener("click", (event) => {
        window.followed = !event.defaultPrevented;
        event.preventDefault(); // the page would be left
      });
    }""")
    await rows(page).first.get_by_role("link", name="Urgent").click()
    await expect(panel(page)).to_be_hidden()
    assert await page.evaluate("followed")
    assert await page.evaluate("stub.reported") == [[1, None]]
    await expect(panel(page).locator("[part=status]")).to_be_hidden()
    await page.evaluate("bell.open = true")
    await rows(page).first.get_by_role("button", name="Not now").click()
    assert await page.evaluate("stub.reported") == [[1, None], [1, "later"]]


async def test_a_long_text_is_cut_after_three_lines_until_somebody_wants_more(page: Page) -> None:
    await become(page, {**LIST, "items": carrying()})
    await bell(page).click()
    row = rows(page).nth(1)
    height = "element => element.getBoundingClientRect().height"
    cut = await row.evaluate(height)
    await expect(rows(page).nth(0).locator("[part=item-more]")).to_be_hidden()
    await row.get_by_role("button", name="Show more").click()
    whole = await row.evaluate(height)
    assert whole > cut + 50
    await row.get_by_role("button", name="Show less").click()
    assert await row.evaluate(height) == cut


async def test_a_page_brings_texts_of_its_own_language(page: Page) -> None:
    await page.evaluate("bell.texts = { lang: 'ar', title: 'الإشعارات', readAll: 'قراءة الكل' }")
    await become(page, LIST)
    await bell(page).click()
    await expect(panel(page).get_by_role("heading", name="الإشعارات")).to_be_visible()
    await expect(panel(page).get_by_role("button", name="قراءة الكل")).to_be_visible()
    await expect(panel(page).get_by_role("button", name="Close").first).to_be_visible()
    assert await panel(page).evaluate("panel => [panel.lang, getComputedStyle(panel).direction]") == [
        "ar",
        "rtl",
    ]
    await page.evaluate("bell.texts = undefined")
    await expect(panel(page).get_by_role("heading", name="Notifications")).to_be_visible()
    assert await panel(page).evaluate("panel => getComputedStyle(panel).direction") == "ltr"


async def test_a_page_from_right_to_left_has_the_face_at_the_right(page: Page) -> None:
    await page.evaluate("document.documentElement.dir = 'rtl'")
    await become(page, {**LIST, "items": carrying()})
    await bell(page).click()
    face = await rows(page).first.locator("[part=item-face]").bounding_box()
    title = await rows(page).first.locator("[part=item-title]").bounding_box()
    assert face is not None
    assert title is not None
    assert face["x"] >= title["x"] + title["width"]


async def test_escape_dismisses_a_toast_and_the_focus_goes_to_the_next_then_to_the_bell(page: Page) -> None:
    await become(page, LIST, fresh=2)
    await expect(toasts(page)).to_have_count(2)
    await toasts(page).last.get_by_role("button").first.focus()
    await page.keyboard.press("Escape")
    await expect(toasts(page).get_by_role("button").first).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(toasts(page)).to_have_count(0)
    await expect(bell(page)).to_be_focused()


async def test_a_toast_goes_when_it_was_read_elsewhere_and_all_go_when_the_list_opens(page: Page) -> None:
    await become(page, LIST, fresh=2)
    await expect(toasts(page)).to_have_count(2)
    first, *others = notifications()
    await become(page, {"items": [{**first, "is_read": True}, *others]})
    await expect(toasts(page)).to_have_count(1)
    await bell(page).click()
    await expect(toasts(page)).to_have_count(0)


async def test_a_toast_leaves_by_itself_but_not_while_it_is_looked_at(page: Page) -> None:
    await page.clock.install()
    await become(page, LIST, fresh=1)
    await page.clock.run_for(200)
    await expect(toasts(page)).to_have_count(1)
    await toasts(page).hover()
    await page.clock.run_for(60_000)
    await expect(toasts(page)).to_have_count(1)
    await page.mouse.move(0, 0)
    await page.clock.run_for(10)
    await page.clock.run_for(6_000)
    await expect(toasts(page)).to_have_count(0)


async def test_how_long_ago_goes_on_while_the_list_is_open(page: Page) -> None:
    await page.clock.install()
    await become(page, {**LIST, "items": notifications()})  # by the clock of now
    await bell(page).click()
    await expect(rows(page).first.get_by_role("time")).to_have_text("now")
    await page.clock.run_for(180_000)
    await expect(rows(page).first.get_by_role("time")).to_have_text("3 minutes ago")


async def test_older_ones_that_could_not_be_loaded_are_asked_for_by_the_button(page: Page) -> None:
    await page.evaluate("""() => {
      window.asked = 0;
      stub.loadMore = async () => {
        if (++asked === 1) throw new Error("no");
        stub.become({ hasMore: false });
      };
    }""")
    await become(page, {**LIST, "hasMore": True})
    await bell(page).click()
    await panel(page).locator("[part=older]").scroll_into_view_if_needed()
    await expect(panel(page).get_by_text("Something went wrong. Try again.")).to_be_visible()
    await panel(page).get_by_role("button", name="Show older notifications").click()
    await expect(panel(page).get_by_role("button", name="Show older notifications")).to_be_hidden()
    await expect(panel(page).get_by_text("Something went wrong.")).to_be_hidden()
    assert await page.evaluate("asked") == 2


async def test_after_the_end_nothing_of_what_was_received_is_left(page: Page) -> None:
    await become(page, LIST, fresh=2)
    await expect(toasts(page)).to_have_count(2)
    await expect(page.get_by_role("status")).to_have_text("2 new notifications")
    await become(page, {**LIST, "state": {"name": "closed", "code": 4500}})
    await expect(toasts(page)).to_have_count(0)
    await expect(page.get_by_role("status")).to_have_text("You are signed out")
    await expect(badge(page)).to_be_hidden()
    await bell(page).click()
    await expect(panel(page).get_by_role("button", name="Reconnect")).to_be_visible()
    await expect(rows(page)).to_have_count(0)


async def test_a_bell_that_is_taken_away_listens_to_nothing(page: Page) -> None:
    await become(page, LIST, fresh=1)
    await expect(toasts(page)).to_have_count(1)
    assert await page.evaluate("stub.listeners()") == 3
    await page.evaluate("bell.remove()")
    assert await page.evaluate("stub.listeners()") == 0
    await page.evaluate("document.querySelector('main').append(bell)")
    assert await page.evaluate("stub.listeners()") == 3
    await expect(badge(page)).to_have_text("2")


async def test_a_bell_that_is_taken_away_while_its_list_is_open_leaves_nothing_running(page: Page) -> None:
    await page.evaluate("""() => {
      window.running = new Set();
      const { setInterval: begin, clearInterval: end } = window;
      window.setInterval = (...how) => { const timer = begin(...how); running.add(timer); return timer; };
      window.clearInterval = (timer) => { running.delete(timer); end(timer); };
      window.toggled = [];
      bell.addEventListener("belltoggle", ({ detail }) => toggled.push(detail));
    }""")
    await become(page, LIST)
    await bell(page).click()
    await expect(rows(page)).to_have_count(5)
    assert await page.evaluate("running.size") == 1
    await page.evaluate("bell.remove()")
    assert await page.evaluate("running.size") == 0
    await page.evaluate("document.querySelector('main').append(bell)")
    await expect(bell(page)).to_have_attribute("aria-expanded", "false")
    assert await page.evaluate("toggled") == [True, False]


async def test_what_the_inbox_before_still_does_is_no_matter_of_the_next(page: Page) -> None:
    await page.evaluate("() => { stub.loadMore = () => new Promise((_, no) => { window.fail = no; }); }")
    await become(page, {**LIST, "hasMore": True})
    await bell(page).click()
    await panel(page).locator("[part=older]").scroll_into_view_if_needed()
    await page.wait_for_function("Boolean(window.fail)")
    await page.evaluate("""() => {
      window.asked = 0;
      const loadMore = () => { asked++; return new Promise(() => {}); };
      bell.inbox = Object.create(stub, { loadMore: { value: loadMore } });
    }""")
    await panel(page).get_by_role("button", name="Show older notifications").click()
    await page.wait_for_function("asked === 1")
    await page.evaluate("fail(new Error('no'))")
    await page.wait_for_timeout(100)
    await expect(panel(page).get_by_role("button", name="Loading")).to_be_visible()
    await expect(panel(page).get_by_text("Something went wrong.")).to_be_hidden()


async def test_a_held_delete_key_deletes_one(page: Page) -> None:
    await page.evaluate("""() => {
      window.removed = [];
      stub.remove = async (id) => {
        removed.push(id);
        stub.become({ items: stub.items.filter((one) => one.id !== id) });
      };
    }""")
    await become(page, LIST)
    await bell(page).click()
    await rows(page).first.get_by_role("button").first.focus()
    for count in (4, 4, 4):
        await page.keyboard.down("Delete")  # again and again without an up: the key repeats
        await expect(rows(page)).to_have_count(count)
        await page.wait_for_timeout(100)
    await page.evaluate("bell.open = false")
    await page.wait_for_function("removed.length > 0")
    assert await page.evaluate("removed") == [1]


async def test_a_second_copy_of_the_module_does_no_harm(page: Page) -> None:
    await page.evaluate("async library => { await import(`${library}/bell.js?again`); }", LIBRARY)
    await become(page, LIST)
    await expect(badge(page)).to_have_text("2")


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_a_theme_goes_before_the_system_s(page: Page, theme: Literal["light", "dark"]) -> None:
    await page.emulate_media(color_scheme="dark" if theme == "light" else "light", reduced_motion="reduce")
    await page.evaluate("theme => bell.setAttribute('theme', theme)", theme)
    await bell(page).click()
    colour = await panel(page).evaluate("panel => getComputedStyle(panel).backgroundColor")
    assert colour == {"light": "rgb(255, 255, 255)", "dark": "rgb(28, 32, 42)"}[theme]


async def test_the_list_stays_in_the_window_wherever_the_bell_is(page: Page) -> None:
    await page.set_viewport_size({"width": 1000, "height": 700})
    await become(page, LIST)
    for place in ("0 auto auto 0", "0 0 auto auto", "auto auto 0 0", "auto 0 0 auto"):
        await page.evaluate("place => Object.assign(bell.style, { position: 'fixed', inset: place })", place)
        await bell(page).click()
        await expect(rows(page)).to_have_count(5)
        box = await panel(page).bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["y"] >= 0
        assert box["x"] + box["width"] <= 1000
        assert box["y"] + box["height"] <= 700
        await page.keyboard.press("Escape")


async def test_motion_is_left_out_for_who_wants_none(page: Page) -> None:
    moving = "bell.shadowRoot.getAnimations().length"
    await become(page, {"state": {"name": "connecting"}, "items": []})
    await page.evaluate("bell.inbox = stub")
    await bell(page).click()
    await expect(panel(page)).to_be_visible()
    assert await page.evaluate(moving) == 0
    await page.emulate_media(reduced_motion="no-preference")
    await page.wait_for_function(f"{moving} > 0")


RECORDING = """() => {
  window.calls = [];
  for (const name of ["archive", "unarchive", "remove", "markUnread", "snooze", "archiveAll", "markRead"]) {
    stub[name] = async (id) => void calls.push([name, id]);
  }
}"""


async def test_what_is_deleted_can_be_taken_back_until_the_list_closes(page: Page) -> None:
    await page.evaluate(RECORDING)
    await page.evaluate("bell.setAttribute('title-badge', '')")
    await become(page, LIST)
    await expect(page).to_have_title("(2) Kitchen")
    await bell(page).click()
    await rows(page).first.get_by_role("button", name="Delete").click()
    await expect(rows(page)).to_have_count(4)
    await expect(page).to_have_title("(1) Kitchen")
    await panel(page).get_by_role("button", name="Undo").click()
    await expect(rows(page)).to_have_count(5)
    await expect(panel(page).locator("[part=snackbar]")).to_be_hidden()
    assert await page.evaluate("calls") == []
    await rows(page).first.get_by_role("button").first.focus()
    await page.keyboard.press("Delete")
    await page.keyboard.press("Control+z")
    await expect(rows(page)).to_have_count(5)
    await page.keyboard.press("Delete")
    await page.keyboard.press("Escape")
    await page.wait_for_function("calls.length === 1")
    assert await page.evaluate("calls") == [["remove", 2]]  # the focus stayed where it was


async def test_tabs_show_what_is_unread_and_what_is_archived(page: Page, axe: Axe) -> None:
    await page.evaluate(RECORDING)
    await page.evaluate("bell.setAttribute('preferences-url', '/settings')")
    items = carrying()
    await become(page, {**LIST, "items": items[:4], "archived": items[4:]})
    await bell(page).click()
    tab = panel(page).get_by_role("tab")
    await expect(tab).to_have_text(["All", "Unread", "Archive"])
    await rows(page).nth(2).get_by_role("button", name="Mark as unread").click()
    await rows(page).first.get_by_role("button", name="Archive").click()
    await panel(page).get_by_role("button", name="Undo").click()
    await tab.first.focus()
    await page.keyboard.press("ArrowRight")
    await expect(tab.nth(1)).to_be_focused()
    await expect(rows(page)).to_have_count(2)
    await axe.check(page)
    await page.keyboard.press("ArrowRight")
    await expect(rows(page)).to_have_count(1)
    await expect(tab.nth(2)).to_have_attribute("aria-selected", "true")
    await axe.check(page)
    await rows(page).get_by_role("button", name="Move to inbox").click()
    await axe.check(page)
    changes = [["markUnread", 3], ["archive", 1], ["unarchive", 1], ["unarchive", 5]]
    assert await page.evaluate("calls") == changes
    await become(page, {"archived": []})
    await expect(panel(page).get_by_text("The archive is empty")).to_be_visible()
    await expect(panel(page).get_by_role("link", name="Notification settings")).to_have_attribute(
        "href", "/settings"
    )


async def test_what_the_list_shows_is_seen_and_can_be_snoozed_or_archived_at_once(
    page: Page, axe: Axe
) -> None:
    await page.evaluate(RECORDING)
    await page.evaluate("""() => {
      stub.markAllSeen = async () => { calls.push(["markAllSeen"]); stub.become({ unseen: 0 }); };
      bell.setAttribute("badge", "unseen");
      bell.setAttribute("categories", "food, plans");
    }""")
    items = [{**each, "category": "food" if each["id"] == 2 else "plans"} for each in carrying()]
    await become(page, {**LIST, "items": items, "unseen": 1})
    await expect(bell(page)).to_have_accessible_name("Notifications, 1 new notification")
    await bell(page).click()
    await expect(badge(page)).to_be_hidden()
    await expect(panel(page).get_by_role("tab")).to_have_text(["All", "Unread", "Food", "plans", "Archive"])
    await expect(panel(page).locator("[part=day]").first).to_have_text("Today")
    await rows(page).first.get_by_role("button", name="Snooze").click()
    await axe.check(page)
    await rows(page).first.get_by_role("button", name="In an hour").click()
    await panel(page).get_by_role("button", name="Undo").click()
    await panel(page).get_by_role("tab", name="Food").click()
    await expect(rows(page)).to_have_count(1)
    await panel(page).get_by_role("tab", name="All").click()
    await panel(page).get_by_role("button", name="Archive all").click()
    await expect(rows(page)).to_have_count(0)
    await panel(page).get_by_role("button", name="Undo").click()
    await expect(rows(page)).to_have_count(5)
    await panel(page).get_by_role("button", name="Archive all").click()
    await page.keyboard.press("Escape")
    await page.wait_for_function("calls.length > 3")  # the browser says later that the list has closed
    calls = await page.evaluate("calls")
    assert calls == [["markAllSeen"], ["snooze", 1], ["unarchive", 1], ["archiveAll", 10]]


async def test_a_notification_is_snoozed_until_a_time_of_ones_own_by_keyboard(page: Page, axe: Axe) -> None:
    await page.evaluate(RECORDING)
    await page.evaluate("""() => {
      stub.snooze = async (id, until) => void calls.push([id, until.getFullYear(), until.getHours()]);
    }""")
    await become(page, {**LIST, "items": carrying()})
    await bell(page).click()
    await rows(page).first.get_by_role("button", name="Snooze").press("Enter")
    moment = rows(page).first.get_by_label("Another time")
    await moment.fill("2020-01-01T09:30")
    await moment.press("Enter")
    assert await moment.evaluate("moment => moment.validity.rangeUnderflow")
    assert await page.evaluate("calls") == []
    day = date.today() + timedelta(days=200)
    await moment.press("Delete")  # is the field's, and deletes no notification
    await moment.fill(f"{day}T09:30")
    await axe.check(page)
    await moment.press("Enter")
    await expect(panel(page)).to_contain_text("Snoozed")
    assert await page.evaluate("calls") == [[1, day.year, 9]]


async def test_a_finger_swipes_a_row_away_or_marks_it(page: Page) -> None:
    await page.evaluate(RECORDING)
    await become(page, LIST)
    await bell(page).click()
    touch = await page.context.new_cdp_session(page)
    await touch.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
    for way in (-120, 120, 40):
        box = await rows(page).first.bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + 20
        for kind, points in (
            ("touchStart", [{"x": x, "y": y}]),
            ("touchMove", [{"x": x + way / 2, "y": y}]),
            ("touchMove", [{"x": x + way, "y": y}]),
            ("touchEnd", []),
        ):
            await touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    await page.wait_for_function("calls.length > 1")
    assert await page.evaluate("calls") == [["archive", 1], ["markRead", 1]]


async def test_what_is_new_is_heard_and_seen_outside_of_the_page(page: Page) -> None:
    await page.evaluate("""() => {
      window.heard = [];
      Object.defineProperty(document, "hidden", { get: () => true });
      window.Audio = class { constructor(url) { this.url = url; } async play() { heard.push(this.url); } };
      window.Notification = class {
        static permission = "granted";
        constructor(title, { tag }) { heard.push([title, tag]); window.shown = this; }
        close() {}
      };
      bell.setAttribute("sound", "/ding.mp3");
      for (const name of ["browser-notifications", "favicon-badge"]) bell.setAttribute(name, "");
    }""")
    await page.evaluate(RECORDING)
    plain = await page.evaluate("document.querySelector('link[rel=icon]').href")
    await become(page, LIST, fresh=1)
    await page.wait_for_function("heard.length === 2")
    assert await page.evaluate("heard") == ["/ding.mp3", ["Plan #41 was assigned", "hub-1"]]
    await page.evaluate("shown.onclick()")
    await page.wait_for_function("calls.length === 1")
    await page.wait_for_function("document.querySelector('link[rel=icon]').href.startsWith('data:image/png')")
    await become(page, {"items": []})
    await page.wait_for_function(
        "plain => document.querySelector('link[rel=icon]').href === plain", arg=plain
    )
