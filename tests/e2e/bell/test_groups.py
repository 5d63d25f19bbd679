"""Notifications that belong together are one row, which expands: the bell with `group-by`."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from playwright.async_api import Locator, Page, Route, expect

from tests.support.axe import Axe
from tests.support.bell_pages import become, bell, grouped, panel, rows
from tests.support.browser import needs_chromium

pytestmark = needs_chromium

LIVE = {"state": {"name": "live"}}
FAMILY = "5 things in Family Group"
OF_FAMILY = [1, 3, 6, 7, 9]
RECORDING = """() => {
  window.calls = [];
  for (const name of ["archive", "unarchive", "remove", "markUnread", "snooze", "markRead"]) {
    stub[name] = async (id) => void calls.push([name, id]);
  }
}"""


async def open_groups(page: Page, changes: dict[str, Any] | None = None, by: str = "group") -> None:
    """The list with the ten notifications, grouped."""
    await page.evaluate("by => bell.setAttribute('group-by', by)", by)
    await become(page, {**LIVE, "items": grouped(), **(changes or {})})
    await bell(page).click()
    await expect(rows(page).first).to_be_visible()


def group(page: Page, name: str = FAMILY) -> Locator:
    """The button of a group, which expands it."""
    return panel(page).get_by_role("heading").get_by_role("button", name=name)


def lead(page: Page) -> Locator:
    """The row of the first group."""
    return panel(page).locator(".lead").first


def titles(page: Page) -> Locator:
    return panel(page).locator("[part=item-title]:visible")


async def calls(page: Page, count: int) -> list[Any]:
    await page.wait_for_function("count => calls.length >= count", arg=count)
    made: list[Any] = await page.evaluate("calls.splice(0)")
    return made


async def test_those_of_a_group_and_a_day_are_one_row_that_expands_in_place(page: Page) -> None:
    yesterday = [
        {**each, "id": each["id"] + 100, "seq": each["seq"] - 10, "created_at": "2026-01-01T12:00:00Z"}
        for each in grouped()[:3]
    ]
    await open_groups(page, {"items": grouped() + yesterday})
    expected = [
        f"Unread: Warning: {FAMILY}",
        "Unread: Coffee runs out",  # two of the office stay apart
        "Unread: Your password was changed",
        "Unread: Urgent: The fridge is open",  # what is critical is in no group
        "Tea was bought",
        "Welcome",
        "Unread: Lan added milk to the fridge",  # of another day there are two of the family
    ]
    await expect(titles(page)).to_have_text([*expected, re.compile("Coffee"), re.compile("Rice")])
    await expect(group(page)).to_have_attribute("aria-expanded", "false")
    await expect(group(page)).to_have_accessible_description("Lan added milk to the fridge 2 unread")
    await group(page).click()
    members = panel(page).get_by_role("list").nth(1).get_by_role("listitem")
    await expect(members).to_have_count(5)
    await expect(members.first).to_contain_text("Lan added milk to the fridge")
    await expect(members.last).to_contain_text("Lan was added")
    await expect(titles(page)).to_have_count(9 + 5)
    await group(page).click()
    await expect(members).to_have_count(0)
    await expect(titles(page)).to_have_count(9)
    await expect(group(page)).to_be_focused()


async def test_a_bell_that_groups_nothing_loads_nothing_for_it(page: Page) -> None:
    await become(page, {**LIVE, "items": grouped()})
    await bell(page).click()
    await expect(rows(page)).to_have_count(10)
    loaded = "performance.getEntriesByType('resource').some(({ name }) => name.endsWith('/groups.js'))"
    assert not await page.evaluate(loaded)
    await page.evaluate("bell.setAttribute('group-by', 'group')")
    await expect(group(page)).to_be_visible()
    assert await page.evaluate(loaded)
    await page.evaluate("bell.removeAttribute('group-by')")
    await expect(rows(page)).to_have_count(10)


async def test_each_is_a_row_until_the_part_that_groups_can_be_loaded(page: Page) -> None:
    async def refuse(route: Route) -> None:
        await route.abort()

    await page.context.route("**/groups.js", refuse)
    await open_groups(page)
    await expect(rows(page)).to_have_count(10)
    await page.context.unroute("**/groups.js", refuse)
    await page.keyboard.press("Escape")
    await expect(panel(page)).to_be_hidden()
    await bell(page).click()
    await expect(group(page)).to_be_visible()


async def test_nothing_is_shown_apart_while_the_part_that_groups_is_loaded(page: Page) -> None:
    may_come = asyncio.Event()

    async def wait(route: Route) -> None:
        await may_come.wait()
        await route.fallback()

    await page.context.route("**/groups.js", wait)
    await page.evaluate("bell.setAttribute('group-by', 'group')")
    await become(page, {**LIVE, "items": grouped()})
    await bell(page).click()
    await expect(panel(page)).to_have_attribute("aria-busy", "true")
    await expect(rows(page)).to_have_count(0)
    may_come.set()
    await expect(group(page)).to_be_visible()
    await expect(panel(page)).to_have_attribute("aria-busy", "false")


async def test_the_keyboard_goes_through_a_group_and_does_what_it_does_to_all_of_it(page: Page) -> None:
    await page.evaluate(RECORDING)
    await page.evaluate("bell.setAttribute('group-by', 'group')")
    await become(page, {**LIVE, "items": grouped()})
    await bell(page).press("Enter")
    await expect(group(page)).to_be_focused()
    press = page.keyboard.press
    await press("ArrowDown")
    await expect(titles(page).nth(1)).to_be_focused()
    await press("Home")
    await press("Enter")
    await expect(group(page)).to_have_attribute("aria-expanded", "true")
    await expect(group(page)).to_be_focused()
    await press("ArrowDown")
    await press("ArrowDown")
    await expect(titles(page).nth(2)).to_be_focused()
    await expect(titles(page).nth(2)).to_contain_text("Rice expires tomorrow")
    await press("e")
    assert await calls(page, 1) == [["archive", 3]]
    await press("Home")
    await press("Delete")
    await expect(titles(page)).to_have_count(5)
    await expect(titles(page).first).to_be_focused()
    await press("Control+z")
    await expect(titles(page)).to_have_count(6 + 5)
    await press("Home")
    await press("e")
    assert await calls(page, 5) == [["archive", number] for number in OF_FAMILY]
    await press("Control+z")
    assert await calls(page, 5) == [["unarchive", number] for number in OF_FAMILY]


async def test_one_that_comes_joins_its_group_and_the_focus_stays(page: Page) -> None:
    office = grouped()[1]
    await open_groups(page, {"items": [{**office, "id": 50, "seq": 21}, *grouped()]})
    await expect(titles(page).first).to_have_text("Unread: 3 things in Office")
    await group(page).press("Enter")
    new = {**grouped()[0], "id": 60, "seq": 22, "title": "Eggs are gone", "actor": {"name": "Minh"}}
    items = [new, {**office, "id": 50, "seq": 21}, *grouped()]
    await become(page, {"items": items}, fresh=1)
    six = group(page, "6 things in Family Group")
    await expect(titles(page).first).to_have_text("Unread: Warning: 6 things in Family Group")
    await expect(six).to_be_focused()
    await expect(six).to_have_attribute("aria-expanded", "true")
    await expect(six).to_have_accessible_description("Eggs are gone 3 unread")
    await expect(titles(page).nth(1)).to_have_text("Unread: Eggs are gone")
    await expect(lead(page).locator("[part=item-face]")).to_have_text("M")
    await expect(page.get_by_role("status")).to_have_text("Eggs are gone")
    archive = lead(page).get_by_role("button", name="Archive: 6 things in Family Group")
    await archive.focus()
    await become(page, {"items": items[1:]})  # it was read and archived elsewhere
    await expect(titles(page).nth(1)).to_contain_text(FAMILY)
    await expect(panel(page).get_by_role("button", name=f"Archive: {FAMILY}")).to_be_focused()


async def test_the_list_follows_a_group_that_moves_only_for_who_uses_the_keyboard(page: Page) -> None:
    family = [each for each in grouped() if each["id"] in OF_FAMILY]
    others = [{**grouped()[3], "id": 70 + number, "seq": 70 - number} for number in range(9)]
    new = {**family[0], "id": 60, "seq": 80}
    six = group(page, "6 things in Family Group")
    await page.set_viewport_size({"width": 1000, "height": 400})
    await open_groups(page, {"items": [*others, *family]})
    await group(page).click()
    await become(page, {"items": [new, *others, *family]})
    await expect(six).to_be_focused()
    await expect(six).not_to_be_in_viewport()
    await become(page, {"items": [*others, *family]})
    await group(page).press("Home")
    await page.keyboard.press("End")
    await page.keyboard.press("ArrowUp")
    await become(page, {"items": [new, *others, *family]})
    await expect(titles(page).nth(5)).to_be_focused()  # one of the group
    await expect(titles(page).nth(5)).to_be_in_viewport()


async def test_a_group_that_forms_under_a_reader_is_expanded(page: Page) -> None:
    two = [each for each in grouped() if each["id"] in {6, 7}]
    await open_groups(page, {"items": two})
    await titles(page).nth(1).focus()
    await become(page, {"items": [grouped()[0], *two]})
    await expect(group(page, "3 things in Family Group")).to_have_attribute("aria-expanded", "true")
    await expect(titles(page).nth(3)).to_be_focused()
    await expect(titles(page).nth(3)).to_contain_text("Dinner was planned")


async def test_a_whole_group_is_marked_moved_and_deleted_and_each_can_be_undone(page: Page) -> None:
    await page.evaluate(RECORDING)
    await open_groups(page)
    undo = panel(page).get_by_role("button", name="Undo")
    status = page.get_by_role("status")

    async def do(name: str) -> None:
        await lead(page).hover()
        await lead(page).get_by_role("button", name=f"{name}: {FAMILY}").click()

    await do("Mark as read")
    assert await calls(page, 2) == [["markRead", 1], ["markRead", 3]]
    await expect(status).to_have_text("Marked as read")
    await undo.click()
    assert await calls(page, 2) == [["markUnread", 1], ["markUnread", 3]]  # those that were read stay so
    await become(page, {"items": [{**each, "is_read": True} for each in grouped()]})
    await do("Mark as unread")
    assert await calls(page, 5) == [["markUnread", number] for number in OF_FAMILY]
    await become(page, {"items": grouped()})
    await do("Archive")
    assert await calls(page, 5) == [["archive", number] for number in OF_FAMILY]
    await undo.click()
    assert await calls(page, 5) == [["unarchive", number] for number in OF_FAMILY]
    await do("Snooze")
    await lead(page).get_by_role("button", name="Tomorrow morning").click()
    assert await calls(page, 5) == [["snooze", number] for number in OF_FAMILY]
    await undo.click()
    assert await calls(page, 5) == [["unarchive", number] for number in OF_FAMILY]
    await do("Delete")
    await expect(group(page)).to_have_count(0)
    await undo.click()
    await expect(group(page)).to_be_visible()
    await do("Delete")
    await page.keyboard.press("Escape")
    assert await calls(page, 5) == [["remove", number] for number in OF_FAMILY]


async def test_an_archived_group_vanishes_at_once_and_comes_back_if_the_hub_refuses(page: Page) -> None:
    await page.evaluate("""() => {
      stub.archive = (id) => new Promise((_, reject) => { window.refuse = () => reject(new Error("no")); });
    }""")
    await open_groups(page)
    await lead(page).hover()
    await lead(page).get_by_role("button", name=f"Archive: {FAMILY}").click()
    await expect(group(page)).to_have_count(0)
    await expect(bell(page)).to_have_accessible_name("Notifications, 3 unread")
    await page.evaluate("refuse()")
    await expect(group(page)).to_be_visible()
    await expect(panel(page).locator("[part=status]")).to_have_text("Something went wrong. Try again.")
    await expect(bell(page)).to_have_accessible_name("Notifications, 5 unread")


async def test_every_tab_has_groups(page: Page) -> None:
    await page.evaluate(RECORDING)
    await page.evaluate("bell.setAttribute('categories', 'food,plans')")
    unread = [{**each, "is_read": False} for each in grouped()]
    archived = [{**each, "is_read": True} for each in grouped()]
    await open_groups(page, {"items": unread, "archived": archived})
    tab = panel(page).get_by_role("tab")
    await group(page).click()
    for name in ("Unread", "Food"):
        await tab.get_by_text(name).click()
        await expect(group(page)).to_have_attribute("aria-expanded", "true")
        await expect(titles(page)).to_have_count(6 + 5)
    await tab.get_by_text("plans").click()
    await expect(titles(page)).to_have_count(0)
    await tab.get_by_text("Archive").click()
    await group(page).focus()
    await page.keyboard.press("e")
    assert await calls(page, 5) == [["unarchive", number] for number in OF_FAMILY]
    await expect(page.get_by_role("status")).to_have_text("Moved to inbox")


async def test_a_finger_swipes_a_whole_group_or_one_of_it(page: Page) -> None:
    await page.evaluate(RECORDING)
    await open_groups(page)
    await group(page).click()
    touch = await page.context.new_cdp_session(page)
    await touch.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
    for row in (lead(page), panel(page).locator(".members .row").nth(3)):
        await row.scroll_into_view_if_needed()
        box = await row.bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + 20
        for kind, points in (
            ("touchStart", [{"x": x, "y": y}]),
            ("touchMove", [{"x": x + 60, "y": y}]),
            ("touchMove", [{"x": x + 120, "y": y}]),
            ("touchEnd", []),
        ):
            await touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert await calls(page, 3) == [["markRead", 1], ["markRead", 3], ["markUnread", 7]]


async def test_a_group_says_that_it_may_be_larger_and_does_not_load_all_pages_by_itself(page: Page) -> None:
    await page.evaluate("""() => {
      window.pages = 0;
      stub.loadMore = async () => {
        const [last] = stub.items.slice(-1);
        const older = (place) => ({ ...last, id: last.id + 1 + place, seq: last.seq - 1 - place });
        const page = Array.from({ length: 50 }, (_, place) => older(place));
        pages += 1;
        stub.become({ items: [...stub.items, ...page], hasMore: pages < 4 });
      };
    }""")
    family = [{**each, "seq": 1000 - each["id"]} for each in grouped() if each["id"] in OF_FAMILY]
    await open_groups(page, {"items": family, "hasMore": True})
    await expect(titles(page)).to_have_text(["Unread: Warning: 55+ things in Family Group"])
    older = panel(page).get_by_role("button", name="Show older notifications")
    for count in ("105+", "155+", "205"):
        await older.click()
        await expect(titles(page)).to_contain_text([f"{count} things in Family Group"])
    await expect(older).to_be_hidden()
    assert await page.evaluate("pages") == 4


async def test_a_group_is_a_thread_or_a_category_if_the_page_wants_that(page: Page) -> None:
    await open_groups(page, by="thread")
    await expect(group(page, "Dinner was planned and 2 more")).to_be_visible()
    await page.evaluate("bell.setAttribute('group-by', 'category')")
    await expect(group(page, "9 things in food")).to_be_visible()
    await bell(page).click()
    await bell(page).click()
    await expect(group(page, "9 things in Food")).to_be_visible()  # as the hub names it
    await page.evaluate("bell.setAttribute('categories', 'food')")
    await expect(group(page, "9 things in Food")).to_be_visible()
    await panel(page).get_by_role("tab", name="Food").click()
    await expect(titles(page)).to_have_count(10)  # a tab has no group of all that it shows
    await panel(page).get_by_role("tab", name="All").click()
    await page.evaluate("bell.texts = { categories: { food: 'Meals' }, things: { other: '{name} ({n})' } }")
    await expect(group(page, "Meals (9)")).to_be_visible()
    await page.evaluate("bell.setAttribute('group-by', 'nothing')")
    await expect(titles(page)).to_have_count(10)


@pytest.mark.parametrize(
    ("language", "name"),
    [("en", FAMILY), ("ru", "5 уведомлений: Family Group"), ("vi", "5 thông báo trong Family Group")],
)
async def test_a_group_speaks_the_language_of_the_page(page: Page, language: str, name: str) -> None:
    await page.evaluate("language => document.documentElement.lang = language", language)
    await open_groups(page)
    await expect(group(page, name)).to_be_visible()
    await page.evaluate("document.documentElement.lang = 'en'")
    await expect(group(page)).to_be_visible()


async def test_a_group_from_right_to_left(page: Page) -> None:
    await page.evaluate("""() => {
      bell.texts = { lang: "ar", things: { few: "{n} أشياء في {name}", other: "{n} شيئا في {name}" } };
      document.documentElement.dir = "rtl";
    }""")
    await open_groups(page)
    button = group(page, "أشياء في")
    await expect(button).to_have_text(re.compile("5 أشياء في \u2068Family Group\u2069$"))
    await button.click()
    face = await lead(page).locator("[part=item-face]").bounding_box()
    member = await panel(page).locator(".members [part=item-face]").first.bounding_box()
    assert face is not None
    assert member is not None
    assert member["x"] + member["width"] < face["x"] + face["width"]


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1100)])
async def test_axe_finds_nothing_in_groups_and_nothing_is_too_small(
    page: Page, axe: Axe, scheme: Any, width: int
) -> None:
    await page.set_viewport_size({"width": width, "height": 780})
    await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    await open_groups(page)
    await axe.check(page)
    await group(page).click()
    await expect(panel(page).locator(".members .row")).to_have_count(5)
    await axe.check(page)
    await lead(page).hover()
    await lead(page).get_by_role("button", name="Snooze").click()
    await expect(lead(page).get_by_role("button", name="In an hour")).to_be_visible()
    await axe.check(page)
    for each in await panel(page).locator(".group button:not([part$=title]):visible").all():
        box = await each.bounding_box()
        assert box is not None
        assert min(box["height"], box["width"]) >= 24  # CSS px, WCAG 2.2, 2.5.8
    assert await page.evaluate("document.documentElement.scrollWidth") == width
