"""The codes of addresses: nobody guesses one, floods a mailbox with them, or learns of another's."""

from __future__ import annotations

import asyncio
import re
from itertools import count

import httpx

from app.domain.confirmations import MAX_CODES_PER_HOUR, MAX_TRIES_COUNT
from tests.support.hub import Hub, new_user
from tests.support.mailbox import new_address


async def ask(client: httpx.AsyncClient, address: str) -> httpx.Response:
    return await client.post("/addresses", json={"channel": "email", "address": address})


async def guesses(client: httpx.AsyncClient, address_id: str, numbers: range) -> list[httpx.Response]:
    """The answers to so many codes, sent at once."""
    return await asyncio.gather(
        *(
            client.post(f"/addresses/{address_id}/confirm", json={"code": f"{number:06d}"})
            for number in numbers
        )
    )


async def test_codes_can_not_be_guessed(hub: Hub) -> None:
    user, tried = new_user(), 0
    async with hub.client(user) as client:
        for round_number in count():
            asked = await ask(client, new_address())
            if asked.status_code == 429:
                break
            begin = round_number * 20
            answers = await guesses(client, asked.json()["id"], range(begin, begin + 20))
            codes = [each.json().get("code") for each in answers]
            tried += codes.count("wrong_code")
            assert codes.count("wrong_code") <= MAX_TRIES_COUNT
            assert set(codes) <= {"wrong_code", "no_valid_code"}
        assert int(asked.headers["retry-after"]) > 60
        assert (await client.get("/addresses")).json() == []
    assert tried == MAX_TRIES_COUNT * MAX_CODES_PER_HOUR, "25 of a million in an hour"


async def test_a_mailbox_is_not_flooded_by_many_users_at_once(hub: Hub) -> None:
    victim = new_address()

    async def flood(spelling: str) -> int:
        async with hub.client(new_user()) as client:
            return (await ask(client, spelling)).status_code

    spellings = [victim, victim.upper().replace("EXAMPLE.COM", "example.com"), f"{victim}."] * 5
    answers = await asyncio.gather(*map(flood, spellings))
    assert answers.count(201) == MAX_CODES_PER_HOUR
    assert set(answers) == {201, 429}
    sent = await hub.rows(
        "select count(*) from deliveries where template = 'otp_confirm_address' and lower(address) = $1",
        victim,
    )
    assert sent[0]["count"] == MAX_CODES_PER_HOUR


async def test_anothers_address_is_as_one_that_is_not_there(hub: Hub) -> None:
    async with hub.client(new_user()) as victim, hub.client(new_user()) as thief:
        theirs = (await ask(victim, new_address())).json()["id"]
        missing = new_user()
        for body, method, end in (({"code": "000000"}, "POST", "/confirm"), (None, "DELETE", "")):
            answers = [
                await thief.request(method, f"/addresses/{each}{end}", json=body)
                for each in (theirs, missing)
            ]
            assert [each.status_code for each in answers] == [404, 404]
            one, other = (re.sub(r"[0-9a-f-]{36}", "ID", each.text) for each in answers)
            assert one == other
        assert (await thief.get("/addresses")).json() == []
        assert [each["id"] for each in (await victim.get("/addresses")).json()] == [theirs]
