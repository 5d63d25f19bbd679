"""The demo page as a person meets it: `run.py dev` and a real browser."""

from __future__ import annotations

import os
import re
from typing import Literal

import pytest
from playwright.async_api import Page, Route, WebSocketRoute, expect

from app.dev import demo, samples
from tests.e2e.demo.hub import DevHub
from tests.e2e.demo.people import (
    INBOXES,
    choose_way,
    click_event,
    frames,
    inbox,
    notifications,
    opened,
    preferences,
    state,
    title,
)
from tests.e2e.demo.pictures import IMAGES, take
from tests.support.axe import Axe

SCREENSHOT = IMAGES / "demo.png"


async def test_group_user_added_is_live_in_johns_inbox_and_not_in_mais(page: Page) -> None:
    john, mai = inbox(page, demo.JOHN), inbox(page, demo.MAI)
    await expect(john.get_by_text("Nothing here yet.")).to_be_visible()
    await click_event(page, "group_user_added")
    await expect(notifications(john)).to_have_count(1)
    await expect(notifications(john)).to_contain_text("john_doe")
    await expect(notifications(john).get_by_text(re.compile(r"^\d+ ms after the click$"))).to_be_visible()
    await expect(john.get_by_text("1 unread", exact=True)).to_be_visible()
    await expect(frames(john, '"event_type": "group_user_added"')).to_have_count(1)
    await click_event(page, "group_head_chef_updated")  # goes to both, and later
    await expect(notifications(john)).to_have_count(2)
    await expect(notifications(mai)).to_have_count(1)
    await expect(frames(mai, "group_user_added")).to_have_count(0)


async def test_the_bell_shows_the_same_inbox(page: Page) -> None:
    john = inbox(page, demo.JOHN)
    await click_event(page, "group_user_added")
    bell = john.locator("notification-bell")
    await expect(bell.locator("[part=toast]")).to_contain_text("Family Group")
    await expect(bell.get_by_role("button", name="Notifications, 1 unread")).to_be_visible()
    await bell.locator("[part=button]").click()
    await bell.get_by_role("dialog").get_by_role("button", name="Mark as read").click()
    await expect(john.get_by_text("0 unread", exact=True)).to_be_visible()
    await expect(notifications(john).get_by_role("button", name="Mark read")).to_have_count(0)


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (1280, "dark"),
        pytest.param(390, "light", marks=pytest.mark.slow),
        pytest.param(390, "dark", marks=pytest.mark.slow),
        pytest.param(1280, "light", marks=pytest.mark.slow),
    ],
)
async def test_axe_finds_nothing_on_the_page(
    page: Page, axe: Axe, scheme: Literal["light", "dark"], width: int
) -> None:
    await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    await page.set_viewport_size({"width": width, "height": 900})
    for event_type in ("group_head_chef_updated", "daily_meal", "otp_register"):
        await click_event(page, event_type)
    for user in INBOXES:
        await preferences(page, user)
    await expect(notifications(inbox(page, demo.MAI))).to_have_count(2)
    await choose_way(page, "Dry run")
    await page.get_by_role("button", name="food_expired").click()
    await expect(page.get_by_role("group", name="What would happen")).to_be_visible()
    await axe.check(page)


async def test_daily_meal_is_in_mais_inbox_only(page: Page) -> None:
    john, mai = inbox(page, demo.JOHN), inbox(page, demo.MAI)
    await click_event(page, "daily_meal")
    await expect(notifications(mai)).to_contain_text("Phở gà")
    await click_event(page, "group_head_chef_updated")
    await expect(notifications(john)).to_have_count(1)
    await expect(notifications(john)).to_contain_text("group_head_chef_updated")


async def test_a_notification_is_marked_read_and_stays_so(hub: DevHub, page: Page) -> None:
    john = inbox(page, demo.JOHN)
    await click_event(page, "group_user_added")
    await notifications(john).get_by_role("button", name="Mark read").click()
    await expect(notifications(john).get_by_role("button", name="Mark read")).to_have_count(0)
    await expect(john.get_by_text("0 unread", exact=True)).to_be_visible()
    await expect(notifications(john).get_by_role("button", name="Delete")).to_be_focused()
    assert [one["is_read"] for one in await hub.list(demo.JOHN)] == [True]


async def test_a_notification_is_deleted_and_stays_so(hub: DevHub, page: Page) -> None:
    john = inbox(page, demo.JOHN)
    for event_type in ("group_user_added", "group_user_left"):
        await click_event(page, event_type)
        await expect(notifications(john).filter(has_text=event_type)).to_be_visible()
    await notifications(john).first.get_by_role("button", name="Delete").click()
    await expect(notifications(john)).to_have_count(1)
    await expect(notifications(john).get_by_role("button", name="Delete")).to_be_focused()
    assert [one["template_code"] for one in await hub.list(demo.JOHN)] == ["GROUP_USER_ADDED"]
    await page.reload()
    await expect(notifications(john)).to_contain_text("group_user_added")


async def test_a_logout_ends_johns_connection_and_not_mais_and_he_can_sign_in_again(page: Page) -> None:
    john, mai = inbox(page, demo.JOHN), inbox(page, demo.MAI)
    await john.get_by_role("button", name="Log out John").click()
    # The page revokes the token, then publishes the event. Either may end the connection on a busy machine.
    await expect(state(john)).to_have_text(
        re.compile(r"Logged out \((4500: logged out|4501: token revoked)\)")
    )
    await expect(john.get_by_text("John is logged out. Sign in to see the inbox.")).to_be_visible()
    await click_event(page, "group_head_chef_updated")
    await expect(notifications(mai)).to_have_count(1)
    await expect(state(mai)).to_have_text("Live")
    await expect(notifications(john)).to_have_count(0)
    await john.get_by_role("button", name="Sign in John").click()
    await expect(state(john)).to_have_text("Live")
    await expect(notifications(john)).to_contain_text("group_head_chef_updated")


async def test_another_language_translates_the_history_and_what_comes_live(hub: DevHub, page: Page) -> None:
    john = inbox(page, demo.JOHN)
    await click_event(page, "food_expiring_soon")
    await expect(notifications(john)).to_have_count(1)
    await expect(title(notifications(john))).to_have_text((await hub.list(demo.JOHN, "en"))[0]["title"])
    await john.get_by_role("combobox", name="Language").select_option("ru")
    russian = (await hub.list(demo.JOHN, "ru"))[0]["title"]
    await expect(title(notifications(john))).to_have_text(russian)
    await expect(john.get_by_role("list").first).to_have_attribute("lang", "ru")
    await expect(state(john)).to_have_text("Live")
    await click_event(page, "food_expiring_soon")
    await expect(title(notifications(john))).to_have_text([russian, russian])
    vietnamese = (await hub.list(demo.JOHN, "vi"))[0]["title"]
    assert len({vietnamese, russian, (await hub.list(demo.JOHN, "en"))[0]["title"]}) == 3
    await expect(frames(john, russian)).to_have_count(1)  # it is stored in the language that he chose


async def test_markup_in_a_name_is_shown_as_text(hub: DevHub, page: Page) -> None:
    john = inbox(page, demo.JOHN)
    name = "<script>window.ran = 1</script><img src=/nothing onerror='window.ran = 1'>"
    await hub.publish("group_user_added", requester_username=name)
    await expect(notifications(john)).to_contain_text(name)
    await expect(frames(john, name)).to_have_count(1)
    await expect(john.locator("script, img")).to_have_count(0)
    assert await page.evaluate("window.ran") is None


async def test_a_lost_connection_comes_back_and_misses_nothing(hub: DevHub, blank: Page) -> None:
    await blank.add_init_script(
        "Math.random = () => 0.5"
    )  # of the four seconds that a hub with too much to do is given
    sockets = await johns_sockets(blank)
    await opened(blank)
    john = inbox(blank, demo.JOHN)
    await sockets[0].close(code=1013, reason="overloaded")
    await expect(state(john)).to_have_text("Reconnecting (1013: overloaded)")
    await expect(john.get_by_text(re.compile(r"^in \d+ s$"))).to_be_visible()
    await hub.publish("group_user_added")
    await expect(state(john)).to_have_text("Live")
    await expect(notifications(john)).to_have_count(1)
    assert len(sockets) == 2


async def test_a_revoked_token_is_never_tried_again(blank: Page) -> None:
    # The browser's clock is set by a script, which a mail's frame refuses aloud.
    await blank.route("**/dev/mails", lambda route: route.fulfill(json=[]))
    await blank.route("**/dev/session", john_alone)  # a connection that lives can't keep up with such a clock
    await blank.clock.install()
    sockets = await johns_sockets(blank)
    await blank.goto("/")
    john = inbox(blank, demo.JOHN)
    await expect(state(john)).to_have_text("Live")
    await sockets[0].close(code=4501, reason="token revoked")
    await expect(state(john)).to_have_text("Logged out (4501: token revoked)")
    await blank.clock.run_for(10 * 60 * 1000)
    await expect(state(john)).to_have_text("Logged out (4501: token revoked)")
    assert len(sockets) == 1


async def john_alone(route: Route) -> None:
    answer = await route.fetch()
    session = await answer.json()
    users = [user for user in session["users"] if user["id"] == demo.JOHN]
    await route.fulfill(response=answer, json={**session, "users": users})


async def johns_sockets(page: Page) -> list[WebSocketRoute]:
    """John's connections, as they are opened; each goes on to the hub, but the test can end it."""
    sockets: list[WebSocketRoute] = []

    def passed_on(socket: WebSocketRoute) -> None:
        socket.connect_to_server()
        sockets.append(socket)

    await page.route_web_socket(re.compile(demo.JOHN), passed_on)
    return sockets


async def test_a_code_is_shown_as_its_reader_sees_it(page: Page) -> None:
    await click_event(page, "otp_register")
    mail = page.frame_locator("#mail iframe")
    await expect(mail.get_by_text("482913")).to_be_visible()
    await expect(page.locator("#mails")).to_contain_text("user@example.com")


async def test_what_is_mailed_to_a_person_is_shown(page: Page) -> None:
    for event_type, shown in (("booking.confirmed", "Movie Name"), ("payment.failed", "TXN-456")):
        await click_event(page, event_type)
        await expect(page.frame_locator("#mail iframe").get_by_text(shown, exact=True)).to_be_visible()


async def test_every_button_reaches_the_inboxes_it_names(page: Page) -> None:
    """Ends with the README's picture, when UPDATE_SCREENSHOTS is set."""
    people = {"the whole group": [demo.JOHN, demo.MAI], "the head chef": [demo.MAI]}
    people |= {"John": [demo.JOHN], "Mai": [demo.MAI]}
    expected = dict.fromkeys(INBOXES, 0)
    for event_type in samples.event_types():
        if event_type.startswith(("account_", "otp_", "booking.", "payment.", "notification_")):
            continue
        named = await page.get_by_role("button", name=event_type).inner_text()
        await click_event(page, event_type)
        for user in people[named.split("→ ")[1]]:
            expected[user] += 1
            await expect(notifications(inbox(page, user))).to_have_count(expected[user])
            await expect(notifications(inbox(page, user)).first).to_contain_text(event_type)
    assert expected == {demo.JOHN: 6, demo.MAI: 9}
    if os.environ.get("UPDATE_SCREENSHOTS") == "1":
        for user in INBOXES:
            await notifications(inbox(page, user)).nth(1).get_by_role("button", name="Mark read").click()
            await expect(notifications(inbox(page, user)).get_by_text("Mark read")).to_have_count(
                expected[user]
            )
        for mails, event_type in enumerate(("otp_register", "booking.confirmed", "payment.failed"), 1):
            await click_event(page, event_type)
            await expect(page.locator("#mails li")).to_have_count(mails)
        await choose_way(page, "All")
        await page.get_by_role("button", name="group_user_left").click()
        await expect(page.locator("#published")).to_contain_text("one notification for John")
        # What is out of sight isn't painted: all of the page has to be in sight.
        height = await page.evaluate("document.documentElement.scrollHeight")
        await page.set_viewport_size({"width": 1280, "height": height})
        await expect(page.frame_locator("#mail iframe").get_by_text("TXN-456", exact=True)).to_be_visible()
        await page.mouse.move(0, 0)
        await page.evaluate("document.activeElement.blur()")
        await expect(page.locator("[part=toast]")).to_have_count(0)
        await page.wait_for_timeout(500)  # nothing tells that a frame was painted
        await take(page, SCREENSHOT, full_page=True)
