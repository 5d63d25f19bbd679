"""Addresses of a user, from the request for a code to the mail that goes to the confirmed address."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from app.dev.mail import MailCatcher
from tests.support.hub import NO_TLS, REST, Hub, new_user, running_hub, token
from tests.support.mailbox import mailed, mails, new_address, text_of, with_mail

CODE = re.compile(r"^\d{6}$", re.MULTILINE)


@pytest_asyncio.fixture(scope="module")
async def hub(
    environment: dict[str, str], mailbox: MailCatcher, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Hub]:
    own = with_mail(environment, mailbox, CONFIRM_ADDRESSES="true")
    async with running_hub(own, tmp_path_factory.mktemp("addresses") / "log") as running:
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
