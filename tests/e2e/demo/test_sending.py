"""The demo page sends the same event by each way, or by all at once."""

from __future__ import annotations

import re
from collections import Counter

from playwright.async_api import Page, Route, expect

from app.dev import demo
from app.dev.transports import GET_RABBITMQ
from tests.e2e.demo.hub import DevHub
from tests.e2e.demo.people import choose_way, inbox, notifications, opened, state
from tests.support.hub import REST, eventually

PLACES = {
    "Kafka": r"service_notifications, partition \d+, offset \d+",
    "RabbitMQ": "queue notifications",
    "Redis stream": r"inventory:low-stock:stream, entry \d+-\d+",
    "Redis Pub/Sub": "channel inventory:low-stock",
    "HTTP": f"POST {REST}/notifications, 202",
}


async def test_an_event_arrives_over_each_transport(page: Page, rabbitmq_url: str | None) -> None:
    """One page for all of them: to open it costs more than what is done there."""
    clicks = 0
    for way, place in PLACES.items():
        if way == "RabbitMQ" and rabbitmq_url is None:
            continue  # no RabbitMQ: install rabbitmq-server
        await choose_way(page, way)
        for _ in range(2):  # each click is a separate event
            clicks += 1
            await page.get_by_role("button", name="group_user_added").click()
            await expect(notifications(inbox(page, demo.JOHN))).to_have_count(clicks)
        said = re.compile(f"^group_user_added → {way}: {place}$")
        await expect(page.locator("#published")).to_have_text(said)


async def test_the_same_event_over_all_transports_is_one_notification(
    hub: DevHub, page: Page, rabbitmq_url: str | None
) -> None:
    sources = {"kafka": 1, "redis": 2, "http": 1, **({"rabbitmq": 1} if rabbitmq_url else {})}
    ways = sum(sources.values())
    before = await hub.events()
    await choose_way(page, f"All {ways} at once")
    await page.get_by_role("button", name="group_user_added").click()
    said = f"group_user_added, sent over {ways} transports: one notification for John."
    await expect(page.locator("#published")).to_have_text(said)
    await expect(page.locator("#places li")).to_have_count(ways)
    new: Counter[str] = Counter()

    async def all_came() -> bool:
        new.clear()
        new.update(await hub.events())
        new.subtract(before)
        # by each way: one that was parked is counted again when its turn comes
        outcomes = ("stored", "duplicate", "parked")
        return all(
            sum(new[f"{source} {outcome}"] for outcome in outcomes) >= times
            for source, times in sources.items()
        )

    await eventually(all_came, "the event came by all ways")
    for source, times in sources.items():
        known = new[f"{source} stored"] + new[f"{source} duplicate"]
        # parked: the transaction of another transport held the inbox just then
        assert known <= times <= known + new[f"{source} parked"], new
    assert sum(count for name, count in new.items() if name.endswith("stored")) <= 1
    await expect(page.locator("#published")).to_have_text(said)
    await expect(notifications(inbox(page, demo.JOHN))).to_have_count(1)
    assert len(await hub.list(demo.JOHN)) == 1


async def test_a_booking_over_all_transports_is_one_mail_and_a_code_goes_over_kafka_alone(page: Page) -> None:
    await choose_way(page, "All")
    await page.get_by_role("button", name="booking.confirmed").click()
    await expect(page.locator("#published")).to_have_text(re.compile(r"sent over \d transports: one mail\.$"))
    await page.get_by_role("button", name="otp_register").click()
    await expect(page.locator("#published")).to_contain_text("otp_register → Kafka: ")


async def test_what_a_transport_refuses_is_shown(page: Page) -> None:
    await choose_way(page, "HTTP")
    await page.get_by_role("button", name="account_logged_out").click()
    await expect(page.locator("#published")).to_contain_text("account_logged_out")
    await expect(state(inbox(page, demo.JOHN))).to_have_text("Live")


async def test_a_missing_transport_says_how_to_get_it(blank: Page) -> None:
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
