"""Addresses of a user, from the request for a code to the mail that goes to the confirmed address."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, expect

from app.dev.mail import MailCatcher
from tests.support.browser import needs_chromium
from tests.support.hub import NO_TLS, REST, Hub, eventually, free_port, new_user, running_hub, token
from tests.support.mailbox import mailed, mails, new_address, text_of, with_mail
from tests.support.npm import CLIENT

PAGE = """<!doctype html><html lang="en"><head><title>Kitchen</title></head><body></body></html>"""
MOUNT = """async ([url, user, token]) => {
  await import("/kitchen/src/preferences.js");
  const form = document.createElement("notification-preferences");
  form.setAttribute("url", url);
  form.setAttribute("user-id", user);
  form.getToken = () => token;
  document.body.append(form);
}"""
CODE = re.compile(r"^\d{6}$", re.MULTILINE)


@pytest_asyncio.fixture(scope="module")
async def hub(
    environment: dict[str, str], mailbox: MailCatcher, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Hub]:
    port = free_port()
    origin = f"http://127.0.0.1:{port}"
    own = with_mail(environment, mailbox, CONFIRM_ADDRESSES="true", ALLOWED_ORIGINS=origin)
    async with running_hub(own, tmp_path_factory.mktemp("addresses") / "log", port) as running:
        yield running


async def code_for(mailbox: MailCatcher, address: str, count: int = 1) -> str:
    """The code in the newest of so many mails to the address."""
    (*_, message) = await mailed(mailbox, address, count)
    found = CODE.search(text_of(message).replace("\r", ""))
    assert found is not None
    return found[0]


async def test_a_user_confirms_an_address_and_gets_mail_there(hub: Hub, mailbox: MailCatcher) -> None:
    user, address = new_user(), new_address()
    sender = {"Authorization": f"Bearer {token('kitchen', scope='notifications:send')}"}
    async with hub.client(user) as client:
        assert (await client.get("/addresses")).json() == []
        asked = await client.post(
            "/addresses", json={"channel": "email", "address": address}, headers={"Accept-Language": "vi"}
        )
        assert asked.status_code == 201, asked.text
        pending = asked.json()
        assert asked.headers["location"].endswith(f"/addresses/{pending['id']}")
        assert (pending["address"], pending["status"]) == (address, "pending")
        code = await code_for(mailbox, address)
        (message,) = mails(mailbox, address)
        assert "Mã xác nhận địa chỉ này của bạn" in str(message["Subject"])
        assert code not in str(message["Subject"])
        assert (await client.get("/addresses")).json() == [pending]
        assert (await client.get(f"/preferences/users/{user}")).json()["profile"]["email"] is None
        missed = await client.post(f"/addresses/{pending['id']}/confirm", json={"code": "x" + code})
        assert (missed.status_code, missed.json()["code"]) == (409, "wrong_code")
        confirmed = await client.post(f"/addresses/{pending['id']}/confirm", json={"code": f" {code} "})
        assert (confirmed.status_code, confirmed.json()["status"]) == (200, "confirmed")
        used = await client.post(f"/addresses/{pending['id']}/confirm", json={"code": code})
        assert (used.status_code, used.json()["code"]) == (409, "no_valid_code")
        assert (await client.post("/addresses", json={"channel": "email", "address": address})).json() == (
            confirmed.json()
        )
        async with httpx.AsyncClient(base_url=hub.http + REST, headers=sender, verify=NO_TLS) as service:
            event = {"type": "email", "user_id": user, "title": "Your kitchen", "message": "Milk is gone."}
            assert (await service.post("/notifications", json=event)).status_code == 202
        await mailed(mailbox, address, 2)
        assert (await client.delete(f"/addresses/{pending['id']}")).status_code == 200
        assert (await client.get(f"/preferences/users/{user}")).json()["profile"]["email"] is None
        assert (await client.delete(f"/addresses/{pending['id']}")).json()["code"] == "no_such_address"
    [delivery] = await hub.rows(
        "select status, secret, data::text from deliveries where template = 'otp_confirm_address'"
        " and address = $1",
        address,
    )
    assert (delivery["status"], delivery["secret"]) == ("sent", None)
    everything = await hub.rows("select a::text as row from addresses a where address = $1", address)
    in_plain = re.compile(rf"(?<![\d.]){code}(?!\d)")
    for text in (delivery["data"], *(each["row"] for each in everything), hub.log.read_text("utf-8")):
        assert not in_plain.search(text)


async def test_the_profile_takes_no_address_that_was_not_confirmed(hub: Hub, mailbox: MailCatcher) -> None:
    user, address = new_user(), new_address()
    mine = f"/preferences/users/{user}"
    async with hub.client(user) as client:
        for ask in (
            client.patch(mine, json={"profile": {"phone": "+84912345678"}}),
            client.put(f"{mine}/profile", json={"email": address}),
        ):
            refused = await ask
            assert (refused.status_code, refused.json()["code"]) == (409, "unconfirmed_address")
        asked = (await client.post("/addresses", json={"channel": "email", "address": address})).json()
        code = await code_for(mailbox, address)
        await client.post(f"/addresses/{asked['id']}/confirm", json={"code": code})
        kept = await client.put(f"{mine}/profile", json={"email": address, "locale": "ru"})
        assert (kept.status_code, kept.json()["email"]) == (200, address)
        gone = await client.patch(mine, json={"profile": {"email": None}})
        assert (gone.status_code, (await client.get("/addresses")).json()) == (200, [])


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"channel": "webpush", "address": "a@example.com"}, "`channel`"),
        ({"channel": "email", "address": "secret-nonsense"}, "`address`"),
        ({"channel": "sms", "address": "0912345678"}, "`address`"),
        ({"channel": "email"}, "address"),
        ({"channel": "email", "address": "a@example.com", "user_id": "1"}, "user_id"),
    ],
)
async def test_what_is_no_address_is_refused_without_repeating_it(
    hub: Hub, body: dict[str, str], named: str
) -> None:
    async with hub.client(new_user()) as client:
        answer = await client.post("/addresses", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_body")
    assert named in answer.json()["detail"]
    assert "nonsense" not in answer.text


async def test_a_code_goes_out_by_sms_as_well(hub: Hub) -> None:
    user = new_user()
    async with hub.client(user) as client:
        asked = await client.post("/addresses", json={"channel": "sms", "address": "+84912345678"})
        assert asked.status_code == 201, asked.text

    async def handed_over() -> bool:
        found = await hub.rows("select status, secret from deliveries where user_id = $1", uuid.UUID(user))
        return [(each["status"], each["secret"]) for each in found] == [("simulated", None)]

    await eventually(handed_over, "the code went out, and is kept nowhere")


@pytest_asyncio.fixture
async def page(hub: Hub, browser: Browser) -> AsyncIterator[Page]:
    """A page of the hub's origin, as behind a gateway, with the browser library."""

    async def answer(route: Route) -> None:
        path = route.request.url.removeprefix(f"{hub.http}/kitchen/")
        if path:
            await route.fulfill(path=CLIENT / path, content_type="text/javascript")
        else:
            await route.fulfill(content_type="text/html", body=PAGE)

    async with await browser.new_context() as context:
        await context.route(f"{hub.http}/kitchen/**", answer)
        page = await context.new_page()
        await page.goto(f"{hub.http}/kitchen/")
        yield page


@needs_chromium
async def test_the_form_saves_digests_and_a_confirmed_address_on_a_hub(
    hub: Hub, mailbox: MailCatcher, page: Page
) -> None:
    user, address = new_user(), new_address()
    await page.evaluate(MOUNT, [hub.http, user, token(user)])
    shown = page.locator("notification-preferences")
    await shown.locator("summary").click()
    await shown.get_by_role("combobox", name="Food: Email").select_option("weekly")
    await expect(shown.get_by_label("Food: Email, time")).to_have_value("18:00")
    await shown.get_by_role("button", name="Change: Addresses").click()
    await shown.get_by_role("button", name="Add: Email").click()
    await shown.get_by_role("textbox", name="Email", exact=True).fill(address)
    await shown.get_by_role("button", name="Send code").click()
    code = shown.get_by_role("textbox", name="Code that was sent")
    await code.fill("none")
    await shown.get_by_role("button", name="Confirm").click()
    await expect(shown.get_by_text("The code is wrong.")).to_be_visible()
    await code.fill(await code_for(mailbox, address))
    await shown.get_by_role("button", name="Confirm").click()
    await expect(shown.get_by_role("button", name="Change: Email")).to_be_focused()
    async with hub.client(user) as client:
        kept = (await client.get(f"/preferences/users/{user}")).json()
        (listed,) = (await client.get("/addresses")).json()
    (food,) = (each for each in kept["preferences"] if each["id"] == "food.email")
    assert (food["digest"], kept["profile"]["email"]) == ("weekly on monday at 18:00", address)
    assert (listed["address"], listed["status"]) == (address, "confirmed")
    await shown.get_by_role("button", name="Remove: Email").click()
    await expect(shown.get_by_role("button", name="Add: Email")).to_be_focused()
    async with hub.client(user) as client:
        assert (await client.get(f"/preferences/users/{user}")).json()["profile"]["email"] is None
