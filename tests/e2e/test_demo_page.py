"""The demo page as a person meets it: `run.py dev` and a real browser."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, Route, WebSocketRoute, async_playwright, expect

from app.dev import demo, samples
from app.dev.ways import GET_RABBITMQ
from tests.hub import REST, eventually, free_port
from tests.install_tools import BROWSERS, has_rabbitmq
from tests.mailbox import new_address
from tests.rabbitmq_server import RabbitMQServer

ROOT = Path(__file__).parents[2]
SCREENSHOT = ROOT / "docs" / "images" / "demo.png"
START_SECONDS = 60
STOP_SECONDS = 30
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
INBOXES = {demo.JOHN: "Inbox of John", demo.MAI: "Inbox of Mai"}

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: the browser tests are skipped")
expect.set_options(timeout=10_000)


class DevHub(NamedTuple):
    """A running `run.py dev`: what it says of itself in dev.json, and the address the page is opened at."""

    dev: dict[str, Any]
    address: str

    async def publish(self, event_type: str, **data: object) -> None:
        """Publish the sample of an event type, with other `data`."""
        sample = samples.load(event_type)
        sample.message["data"].update(data)
        await samples.publish(self.dev["kafka"], self.dev["topics"], sample)

    async def client(self, user: str) -> httpx.AsyncClient:
        """A REST client of a user; close it."""
        async with httpx.AsyncClient(base_url=self.address) as anyone:
            users = (await anyone.get("/dev/session")).json()["users"]
        token = next(person["token"] for person in users if person["id"] == user)
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.AsyncClient(base_url=self.address + REST, headers=headers)

    async def list(self, user: str, locale: str = "vi") -> list[dict[str, Any]]:
        async with await self.client(user) as client:
            answer = await client.get(f"/notifications/users/{user}", headers={"Accept-Language": locale})
        found: list[dict[str, Any]] = answer.raise_for_status().json()
        return found

    async def empty(self, user: str) -> None:
        """Delete all notifications of the user, and take back what they chose."""
        listed = await self.list(user)
        preferences = f"/preferences/users/{user}"
        async with await self.client(user) as client:
            chosen = (await client.get(preferences)).json()["preferences"]
            gone = [f"/notifications/{each['id']}/users/{user}" for each in listed]
            gone += [f"{preferences}/{each['id']}" for each in chosen if each["by"] == "person"]
            for path in (*gone, f"{preferences}/profile"):
                (await client.delete(path)).raise_for_status()

    async def events(self) -> Counter[str]:
        """How many events were stored, or known already, by source and outcome, such as "http stored"."""
        async with httpx.AsyncClient(base_url=self.address) as client:
            text = (await client.get(f"{REST}/metrics")).text
        found = re.findall(r'hub_events_total{outcome="(\w+)",source="(\w+)"} (\S+)', text)
        return Counter({f"{source} {outcome}": int(float(count)) for outcome, source, count in found})


@pytest.fixture(scope="module")
def rabbitmq_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str | None]:
    """The address of a RabbitMQ, where there can be one."""
    if not has_rabbitmq():
        yield None
        return
    server = RabbitMQServer(tmp_path_factory.mktemp("rabbitmq"))
    try:
        server.start()
        yield server.url
    finally:
        server.kill()


@pytest_asyncio.fixture(scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory, rabbitmq_url: str | None) -> AsyncIterator[DevHub]:
    home = tmp_path_factory.mktemp("demo")
    home.chmod(0o755)  # Postgres, which won't run as root, has to reach it
    port = free_port()
    environment = {**os.environ, "HUB_HOME": str(home), "PORT": str(port)}
    environment.pop("USER_SERVICE_URL", None)  # the demo's people are known to the stand-in only
    environment.pop("REDIS_EVENTS_URL", None)
    environment["RABBITMQ_URL"] = rabbitmq_url or ""
    log = home / "log"
    with log.open("w") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "run.py", "dev"), cwd=ROOT, env=environment, stdout=output, stderr=output
        )

    async def runs() -> bool:
        assert process.returncode is None, log.read_text()
        return "The hub runs." in log.read_text()

    try:
        await eventually(runs, "the hub runs", START_SECONDS)
        yield DevHub(json.loads((home / "dev.json").read_text()), f"http://localhost:{port}")
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
        print(log.read_text()[-4000:])


@pytest_asyncio.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield started
        await started.close()


@pytest_asyncio.fixture
async def blank(hub: DevHub, browser: Browser) -> AsyncIterator[Page]:
    """A page that isn't opened yet, with both inboxes empty. Fails on anything in its console."""
    for user in INBOXES:
        await hub.empty(user)
    context = await browser.new_context(
        base_url=hub.address,
        viewport={"width": 1280, "height": 900},
        locale="en-GB",
        timezone_id="Asia/Ho_Chi_Minh",
    )
    complaints: list[str] = []
    page = await context.new_page()
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    await context.close()
    assert complaints == []


@pytest_asyncio.fixture
async def page(blank: Page) -> Page:
    """The page, with both people live."""
    await opened(blank)
    return blank


async def opened(page: Page) -> None:
    await page.goto("/")
    for user in INBOXES:
        await expect(state(inbox(page, user))).to_have_text("Live")


def inbox(page: Page, user: str) -> Locator:
    return page.get_by_role("region", name=INBOXES[user], exact=True)


def state(box: Locator) -> Locator:
    return box.get_by_role("status")


def notifications(box: Locator) -> Locator:
    return box.get_by_role("group", name="Notifications of").get_by_role("listitem")


def frames(box: Locator) -> Locator:
    return box.get_by_role("group", name="Raw frames of").get_by_role("listitem").first


def title(notification: Locator) -> Locator:
    return notification.get_by_role("heading")


async def click_event(page: Page, event_type: str) -> None:
    """Publish a sample by its button, and wait until the page says where it went."""
    await page.get_by_role("button", name=event_type).click()
    written = re.compile(rf"^{event_type} → Kafka: [\w.]+, partition \d+, offset \d+$")
    await expect(page.locator("#published")).to_have_text(written)


async def test_group_user_added_is_live_in_johns_inbox_and_not_in_mais(page: Page) -> None:
    john, mai = inbox(page, demo.JOHN), inbox(page, demo.MAI)
    await expect(john.get_by_text("Nothing here yet.")).to_be_visible()
    await click_event(page, "group_user_added")
    await expect(notifications(john)).to_have_count(1)
    await expect(notifications(john)).to_contain_text("john_doe")
    await expect(notifications(john).get_by_text(re.compile(r"^\d+ ms after the click$"))).to_be_visible()
    await expect(john.get_by_text("1 unread", exact=True)).to_be_visible()
    await expect(frames(john)).to_contain_text('"event_type": "group_user_added"')
    await click_event(page, "group_head_chef_updated")  # goes to both, and later
    await expect(notifications(john)).to_have_count(2)
    await expect(notifications(mai)).to_have_count(1)
    await expect(frames(mai)).not_to_contain_text("group_user_added")


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
    await expect(state(john)).to_have_text("Logged out (4500: logged out)")
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
    await expect(title(notifications(john))).to_have_text((await hub.list(demo.JOHN, "en"))[0]["title"])
    await john.get_by_role("combobox", name="Language").select_option("ru")
    russian = (await hub.list(demo.JOHN, "ru"))[0]["title"]
    await expect(title(notifications(john))).to_have_text(russian)
    await expect(john.get_by_role("list").first).to_have_attribute("lang", "ru")
    await click_event(page, "food_expiring_soon")
    await expect(title(notifications(john))).to_have_text([russian, russian])
    stored = (await hub.list(demo.JOHN, "vi"))[0]["title"]
    assert len({stored, russian, (await hub.list(demo.JOHN, "en"))[0]["title"]}) == 3
    await expect(frames(john).first).to_contain_text(stored)  # live, it comes as it is stored


async def test_markup_in_a_name_is_shown_as_text(hub: DevHub, page: Page) -> None:
    john = inbox(page, demo.JOHN)
    name = "<script>window.ran = 1</script><img src=/nothing onerror='window.ran = 1'>"
    await hub.publish("group_user_added", requester_username=name)
    await expect(notifications(john)).to_contain_text(name)
    await expect(frames(john)).to_contain_text(name)
    await expect(john.locator("script, img")).to_have_count(0)
    assert await page.evaluate("window.ran") is None


async def test_a_lost_connection_comes_back_and_misses_nothing(hub: DevHub, blank: Page) -> None:
    sockets = await johns_sockets(blank)
    await opened(blank)
    john = inbox(blank, demo.JOHN)
    await sockets[0].close(code=1012, reason="restarting")
    await expect(state(john)).to_have_text("Reconnecting (1012: restarting)")
    await expect(john.get_by_text(re.compile(r"^in \d+ s$"))).to_be_visible()
    await hub.publish("group_user_added")
    await expect(state(john)).to_have_text("Live")
    await expect(notifications(john)).to_have_count(1)
    assert len(sockets) == 2


async def test_a_revoked_token_is_never_tried_again(blank: Page) -> None:
    await blank.clock.install()
    sockets = await johns_sockets(blank)
    await opened(blank)
    john = inbox(blank, demo.JOHN)
    await sockets[0].close(code=4501, reason="token revoked")
    await expect(state(john)).to_have_text("Logged out (4501: token revoked)")
    await blank.clock.run_for(10 * 60 * 1000)
    await expect(state(john)).to_have_text("Logged out (4501: token revoked)")
    assert len(sockets) == 1


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


@pytest.mark.parametrize(
    ("event_type", "shown"), [("booking.confirmed", "Movie Name"), ("payment.failed", "TXN-456")]
)
async def test_what_is_mailed_to_a_person_is_shown(page: Page, event_type: str, shown: str) -> None:
    await click_event(page, event_type)
    await expect(page.frame_locator("#mail iframe").get_by_text(shown, exact=True)).to_be_visible()


async def choose_way(page: Page, name: str) -> None:
    await page.get_by_role("group", name="Send it by").get_by_role("radio", name=name).check()


@pytest.mark.parametrize(
    ("way", "place"),
    [
        ("Kafka", r"service_notifications, partition \d+, offset \d+"),
        ("RabbitMQ", "queue notifications"),
        ("Redis stream", r"inventory:low-stock:stream, entry \d+-\d+"),
        ("Redis Pub/Sub", "channel inventory:low-stock"),
        ("HTTP", f"POST {REST}/notifications, 202"),
    ],
)
async def test_an_event_comes_in_by_each_way(
    page: Page, rabbitmq_url: str | None, way: str, place: str
) -> None:
    if way == "RabbitMQ" and rabbitmq_url is None:
        pytest.skip("no RabbitMQ: install rabbitmq-server")
    await choose_way(page, way)
    for count in (1, 2):  # each click is an event of its own
        await page.get_by_role("button", name="group_user_added").click()
        await expect(notifications(inbox(page, demo.JOHN))).to_have_count(count)
    await expect(page.locator("#published")).to_have_text(re.compile(f"^group_user_added → {way}: {place}$"))


async def test_the_same_event_by_all_ways_is_one_notification(
    hub: DevHub, page: Page, rabbitmq_url: str | None
) -> None:
    sources = {"kafka": 1, "redis": 2, "http": 1, **({"rabbitmq": 1} if rabbitmq_url else {})}
    ways = sum(sources.values())
    before = await hub.events()
    await choose_way(page, f"All {ways} at once")
    await page.get_by_role("button", name="group_user_added").click()
    said = f"group_user_added, sent by {ways} ways: one notification for John."
    await expect(page.locator("#published")).to_have_text(said)
    await expect(page.locator("#places li")).to_have_count(ways)
    new: Counter[str] = Counter()

    async def all_came() -> bool:
        new.clear()
        new.update(await hub.events())
        new.subtract(before)
        return sum(new.values()) >= ways

    await eventually(all_came, "the event came by all ways")
    assert {source: new[f"{source} stored"] + new[f"{source} duplicate"] for source in sources} == sources
    assert sum(count for name, count in new.items() if name.endswith("stored")) == 1
    await expect(page.locator("#published")).to_have_text(said)
    await expect(notifications(inbox(page, demo.JOHN))).to_have_count(1)
    assert len(await hub.list(demo.JOHN)) == 1


async def test_a_code_by_all_ways_is_one_mail(page: Page) -> None:
    await choose_way(page, "All")
    await page.get_by_role("button", name="otp_register").click()
    await expect(page.locator("#published")).to_have_text(re.compile(r"sent by \d ways: one mail\.$"))


async def test_what_a_way_refuses_is_said(page: Page) -> None:
    await choose_way(page, "HTTP")
    await page.get_by_role("button", name="account_logged_out").click()
    await expect(page.locator("#published")).to_contain_text("account_logged_out isn't taken over HTTP")
    await expect(state(inbox(page, demo.JOHN))).to_have_text("Live")


async def test_a_way_that_is_not_there_says_how_to_get_it(blank: Page) -> None:
    async def without_rabbitmq(route: Route) -> None:
        answer = await route.fetch()
        session = await answer.json()
        next(way for way in session["ways"] if way["id"] == "rabbitmq")["missing"] = GET_RABBITMQ
        await route.fulfill(response=answer, json=session)

    await blank.route("**/dev/session", without_rabbitmq)
    await opened(blank)
    rabbitmq = blank.get_by_role("radio", name="RabbitMQ")
    await expect(rabbitmq).to_be_disabled()
    await expect(rabbitmq).to_have_accessible_description(GET_RABBITMQ)
    await expect(blank.get_by_text(GET_RABBITMQ)).to_be_visible()
    await expect(blank.get_by_role("radio", name="All 4 at once")).to_be_enabled()


async def preferences(page: Page, user: str) -> Locator:
    """The preferences of a user, opened."""
    box = inbox(page, user)
    await box.get_by_text("Preferences", exact=True).click()
    return box.locator("details.preferences")


async def test_what_is_switched_off_does_not_come_and_the_dry_run_said_so(page: Page) -> None:
    john, mai = inbox(page, demo.JOHN), inbox(page, demo.MAI)
    choices = await preferences(page, demo.JOHN)
    food = choices.get_by_label("food by in-app")
    await expect(food.locator(":checked")).to_have_text("Default: on")
    await food.select_option("Off")
    await expect(choices.get_by_role("status")).to_have_text("food by in-app: saved.")

    await choose_way(page, "Dry run")
    await page.get_by_role("button", name="food_expired").click()
    outcomes = page.get_by_role("group", name="What would happen").get_by_role("row")
    await expect(outcomes).to_have_count(3)
    await expect(outcomes.filter(has_text="John")).to_have_text(
        re.compile(r"inapp\s+suppress\s+the person switched food by inapp off")
    )
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
    choices = await preferences(page, demo.MAI)
    mail = choices.get_by_label("inventory by mail")
    await expect(mail.locator(":checked")).to_have_text("Default: off")
    await expect(choices.get_by_role("row", name="security")).to_contain_text("always on")
    await mail.select_option("On")
    await choices.get_by_label("Mail address").fill(address)
    await choices.get_by_label("Language").select_option("English")
    await choices.get_by_role("button", name="Save profile").click()
    await expect(choices.get_by_role("status")).to_have_text("Profile: saved.")
    await click_event(page, "low_stock")
    await expect(page.locator("#mails").get_by_text(address)).to_be_visible()
    await expect(page.frame_locator("#mail iframe").locator("body")).to_contain_text("Espresso beans 1 kg")
    await expect(frames(inbox(page, demo.MAI))).to_contain_text("is running low")  # stored in her language


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
    await expect(choices.get_by_role("status")).to_have_text("Profile: saved.")
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


async def test_every_button_reaches_the_inboxes_it_names(page: Page) -> None:
    """Ends with the README's picture, when UPDATE_SCREENSHOTS is set."""
    people = {"the whole group": [demo.JOHN, demo.MAI], "the head chef": [demo.MAI]}
    people |= {"John": [demo.JOHN], "Mai": [demo.MAI]}
    expected = dict.fromkeys(INBOXES, 0)
    for event_type in samples.event_types():
        if event_type.startswith(("account_", "otp_", "booking.", "payment.")):
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
        await page.mouse.move(0, 0)
        await page.evaluate("document.activeElement.blur()")
        SCREENSHOT.parent.mkdir(parents=True, exist_ok=True)
        await page.screenshot(path=SCREENSHOT, full_page=True, animations="disabled")
