"""The README's pictures, taken of a real hub: `make screenshots`."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from typing import Any, Literal, NamedTuple

import asyncpg
import httpx
import pytest
from playwright.async_api import Browser, Page, Route, expect

from app.dev import demo
from app.dev.transports import service_token
from tests.e2e.demo.hub import DevHub
from tests.e2e.demo.pictures import IMAGES, PAGE, take
from tests.support.hub import GROUP, NO_TLS, REST

MESSAGES: tuple[tuple[timedelta, dict[str, Any]], ...] = (
    (
        timedelta(days=5),
        {"title": "A member joined Family Group", "message": "Say hello to Linh.", "icon": "users"},
    ),
    (
        timedelta(days=1),
        {
            "title": "Today's meals",
            "message": "Breakfast: phở gà. Lunch: cơm tấm. Dinner: bún chả.",
            "icon": "food",
        },
    ),
    (
        timedelta(hours=20),
        {"title": "Your kitchen this week", "message": "Three plans are done, two are open.", "icon": "info"},
    ),
    (
        timedelta(hours=5),
        {
            "title": "Rice has expired",
            "message": "Rice in the pantry has expired. Please throw it away.",
            "icon": "alert",
            "severity": "critical",
        },
    ),
    (
        timedelta(minutes=42),
        {
            "title": "Plan #41 was reported as done",
            "message": "Mai has reported plan #41 as done.",
            "icon": "check",
            "severity": "success",
        },
    ),
    (
        timedelta(minutes=3),
        {
            "title": "Fresh milk expires soon",
            "message": "Fresh milk in the fridge expires on 24/11/2026.",
            "icon": "clock",
            "severity": "warning",
        },
    ),
    (
        timedelta(0),
        {
            "title": "Plan #42 was assigned to you",
            "message": "Due tomorrow at 18:30. It has two dishes.",
            "icon": "calendar",
            "url": "/plans/42",
            "actions": [{"id": "accept", "label": "Accept"}, {"id": "decline", "label": "Decline"}],
        },
    ),
)
READ = 4


class Picture(NamedTuple):
    width: int
    height: int
    scheme: Literal["light", "dark"]
    shows: Literal["list", "groups", "toast"]


PICTURES = {
    "bell-desktop": Picture(960, 620, "light", "list"),
    "bell-groups": Picture(960, 620, "light", "groups"),
    "bell-phone": Picture(390, 780, "light", "list"),
    "bell-phone-dark": Picture(390, 780, "dark", "list"),
    "bell-toast-dark": Picture(960, 620, "dark", "toast"),
}

pytestmark = pytest.mark.skipif(
    os.environ.get("UPDATE_SCREENSHOTS") != "1", reason="pictures are taken by make screenshots"
)


@pytest.mark.parametrize("name", PICTURES)
async def test_take_a_picture_of_the_bell(hub: DevHub, browser: Browser, name: str) -> None:
    picture = PICTURES[name]
    await hub.empty(demo.JOHN)
    await fill(hub)
    context = await browser.new_context(
        base_url=hub.address,
        viewport={"width": picture.width, "height": picture.height},
        device_scale_factor=2,
        color_scheme=picture.scheme,
        reduced_motion="reduce",
        locale="en-GB",
    )
    page = await context.new_page()
    await opened(page)
    if picture.shows == "list":
        await page.locator("notification-bell [part=button]").click()
        await expect(page.get_by_role("dialog").get_by_role("listitem")).to_have_count(len(MESSAGES))
        await page.evaluate("document.activeElement.blur()")
    elif picture.shows == "groups":
        await page.evaluate("document.querySelector('notification-bell').setAttribute('group-by', 'group')")
        await page.locator("notification-bell [part=button]").click()
        await page.get_by_role("dialog").get_by_role("button", name="things in Family Group").first.click()
        await page.evaluate("document.activeElement.blur()")
    else:
        await send(hub, MESSAGES[-1][1])
        await expect(page.locator("[part=toast]")).to_be_visible()
    await page.mouse.move(0, 0)
    await take(page, IMAGES / f"{name}.png")
    await context.close()


async def opened(page: Page) -> None:
    """A page on the hub's origin that is more like one that people have than the demo is."""

    async def answer(route: Route) -> None:
        found = await route.fetch()
        await route.fulfill(response=found, body=PAGE)

    await page.context.grant_permissions(["local-network-access"])
    await page.route("**/examples/plain.html", answer)
    await page.goto("/examples/plain.html")
    await page.wait_for_function("document.querySelector('notification-bell').inbox.state.name === 'live'")


async def send(hub: DevHub, message: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {service_token(hub.dev['jwt']['secret'])}"}
    body = {"type": "inapp", "user_id": demo.JOHN, **message}
    async with httpx.AsyncClient(base_url=hub.address + REST, headers=headers, verify=NO_TLS) as client:
        (await client.post("/notifications", json=body)).raise_for_status()


async def fill(hub: DevHub) -> None:
    """The messages, as old as they are said to be, the oldest of them read."""
    for _, message in MESSAGES:
        await send(hub, message)
        await asyncio.sleep(0.05)  # in this order
    database = await asyncpg.connect(hub.dev["database"])
    try:
        for number, (age, message) in enumerate(MESSAGES):
            await database.execute(
                "update notifications set created_at = now() - $2::interval, is_read = $3,"
                " group_id = $4, group_name = 'Family Group' where title = $1",
                message["title"],
                age,
                number < READ,
                GROUP,
            )
    finally:
        await database.close()
