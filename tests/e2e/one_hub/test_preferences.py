"""A person's preferences over REST."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from app.auth.secrets import SecretBox
from app.auth.unsubscribe_tokens import UnsubscribeTokens, Unsubscription
from tests.support.hub import NO_TLS, REST, Hub, new_user

PROFILE = {
    "locale": "ru",
    "time_zone": "Europe/Berlin",
    "quiet_from": "22:00",
    "quiet_until": "07:00",
    "email": "anna@example.com",
    "phone": "+84912345678",
}


def by_id(answer: httpx.Response) -> dict[str, dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return {each["id"]: each for each in answer.json()["preferences"]}


async def test_a_choice_is_made_changed_and_taken_back(hub: Hub) -> None:
    user = new_user()
    path = f"/preferences/users/{user}"
    async with hub.client(user) as client:
        before = by_id(await client.get(path))
        assert before["food.email"] == {
            "id": "food.email",
            "category": "food",
            "channel": "email",
            "enabled": True,
            "by": "default",
        }
        assert (before["inventory.email"]["enabled"], before["inventory.email"]["by"]) == (False, "default")
        assert (before["security.email"]["enabled"], before["security.email"]["by"]) == (True, "always")
        new = {"category": "food", "channel": "email", "enabled": False}
        made = await client.post(path, json=new)
        assert (made.status_code, made.headers["location"]) == (201, f"{REST}{path}/food.email")
        assert (made.json()["enabled"], made.json()["by"]) == (False, "person")
        again = await client.post(path, json=new | {"enabled": True})
        assert (again.status_code, again.json()["code"]) == (409, "preference_exists")
        assert by_id(await client.get(path))["food.email"]["enabled"] is False, "409 changed nothing"
        changed = await client.put(f"{path}/food.email", json={"enabled": True})
        assert (changed.status_code, changed.json()["enabled"], changed.json()["by"]) == (200, True, "person")
        other = await client.put(f"{path}/plans.sms", json={"enabled": False})
        assert other.status_code == 200
        back = await client.delete(f"{path}/food.email")
        assert (back.status_code, back.json()["enabled"], back.json()["by"]) == (200, True, "default")
        gone = await client.delete(f"{path}/food.email")
        assert (gone.status_code, gone.json()["code"]) == (404, "no_such_preference")
        assert by_id(await client.get(path))["plans.sms"]["enabled"] is False


async def test_a_digest_is_chosen_and_taken_back(hub: Hub) -> None:
    user = new_user()
    path = f"/preferences/users/{user}"
    async with hub.client(user) as client:
        chosen = await client.put(f"{path}/food.email", json={"enabled": True, "digest": "Daily at 7:30"})
        assert (chosen.status_code, chosen.json()["digest"]) == (200, "daily at 07:30")
        kept = await client.put(f"{path}/food.email", json={"enabled": True})
        assert kept.json()["digest"] == "daily at 07:30"
        for choice, digest in (("food.email", "every 5m"), ("food.inapp", "hourly"), ("food.sms", "")):
            refused = await client.put(f"{path}/{choice}", json={"enabled": True, "digest": digest})
            assert refused.status_code == 400
            assert "`digest`" in refused.json()["detail"]
        new = {"category": "plans", "channel": "email", "enabled": True, "digest": "hourly"}
        assert (await client.post(path, json=new)).json()["digest"] == "hourly"
        back = await client.put(f"{path}/food.email", json={"enabled": True, "digest": None})
        assert "digest" not in back.json()
        await client.delete(f"{path}/plans.email")
        assert not any("digest" in each for each in by_id(await client.get(path)).values())


async def test_the_profile_is_kept_and_emptied(hub: Hub) -> None:
    user = new_user()
    path = f"/preferences/users/{user}"
    async with hub.client(user) as client:
        assert (await client.put(f"{path}/food.email", json={"enabled": False})).status_code == 200
        assert (await client.put(f"{path}/profile", json=PROFILE)).json() == PROFILE
        assert (await client.get(path)).json()["profile"] == PROFILE
        assert by_id(await client.get(path))["food.email"]["enabled"] is False, "choices stay"
        only = {"locale": "en"}
        assert (await client.put(f"{path}/profile", json=only)).json()["email"] is None
        await client.delete(f"{path}/profile")
        assert (await client.get(path)).json()["profile"] == dict.fromkeys(PROFILE)


async def test_several_are_changed_at_once_or_none(hub: Hub) -> None:
    user = new_user()
    path = f"/preferences/users/{user}"
    async with hub.client(user) as client:
        await client.put(f"{path}/profile", json=PROFILE)
        choices = {"food.email": False, "inventory.email": True, "plans.sms": None}
        answer = await client.patch(
            path, json={"choices": choices, "profile": {"locale": "vi", "phone": None}}
        )
        now = by_id(answer)
        assert [(now[each]["enabled"], now[each]["by"]) for each in choices] == [
            (False, "person"),
            (True, "person"),
            (True, "default"),
        ]
        assert answer.json()["profile"] == PROFILE | {"locale": "vi", "phone": None}
        for body, status in (
            ({"choices": {"food.email": True, "security.email": False}}, 409),
            ({"choices": {"food.email": True, "food.pigeon": False}}, 400),
            ({"choices": {"food.email": True}, "profile": {"time_zone": None}}, 400),
            ({"choices": {"food.email": True}, "profile": {"email": "nobody"}}, 400),
        ):
            assert (await client.patch(path, json=body)).status_code == status
        assert by_id(await client.get(path))["food.email"]["enabled"] is False
        back = await client.patch(path, json={"choices": {"food.email": None}})
        assert by_id(back)["food.email"]["by"] == "default"


async def test_digests_are_changed_with_choices_or_not_at_all(hub: Hub) -> None:
    user = new_user()
    path = f"/preferences/users/{user}"
    async with hub.client(user) as client:
        digests = {"food.email": "Daily at 7:30", "plans.sms": "hourly"}
        answer = await client.patch(path, json={"choices": {"food.sms": False}, "digests": digests})
        now = by_id(answer)
        assert (now["food.email"]["digest"], now["plans.sms"]["digest"]) == ("daily at 07:30", "hourly")
        assert (now["food.email"]["by"], now["food.sms"]["enabled"]) == ("default", False)
        for refused, status in (
            ({"food.email": None, "plans.email": "every 5m"}, 400),
            ({"food.email": None, "food.inapp": "hourly"}, 400),
            ({"food.email": None, "food.pigeon": "hourly"}, 400),
            ({"food.email": None, "security.email": "hourly"}, 409),
            ({"food.email": None, "food.pigeon": None}, 400),
            ({"food.email": None, "security.email": None}, 409),
            ({"food.email": 5}, 400),
        ):
            body = {"choices": {"food.sms": True}, "digests": refused}
            assert (await client.patch(path, json=body)).status_code == status
        kept = by_id(await client.get(path))
        assert (kept["food.email"]["digest"], kept["food.sms"]["enabled"]) == ("daily at 07:30", False)
        back = by_id(await client.patch(path, json={"digests": {"food.email": None}}))
        assert "digest" not in back["food.email"]
        assert back["plans.sms"]["digest"] == "hourly"


async def test_categories_and_channels_have_names_in_the_reader_s_language(hub: Hub) -> None:
    user = new_user()
    async with hub.client(user) as client:
        for language, food, mail in (("ru", "Продукты", "Эл. почта"), ("en", "Food", "Email")):
            answer = await client.get(f"/preferences/users/{user}", headers={"Accept-Language": language})
            assert answer.headers["content-language"] == language
            names = {each["id"]: each["name"] for each in answer.json()["categories"]}
            assert names["food"] == food
            assert {"id": "email", "name": mail} in answer.json()["channels"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"locale": "de"}, "locale"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"time_zone": "../../etc/passwd"}, "time_zone"),
        ({"time_zone": None}, "time_zone"),
        ({"quiet_from": "25:00"}, "quiet_from"),
        ({"quiet_from": None}, "quiet_from"),
        ({"quiet_from": "07:00"}, "quiet_until"),
        ({"email": "nobody"}, "email"),
        ({"email": "a@b.example\r\nBcc: c@d.example"}, "email"),
        ({"phone": "0912345678"}, "phone"),
        ({"telephone": "+84912345678"}, "telephone"),
    ],
)
async def test_what_can_not_be_right_in_a_profile_is_named(
    hub: Hub, change: dict[str, Any], word: str
) -> None:
    user = new_user()
    async with hub.client(user) as client:
        answer = await client.put(f"/preferences/users/{user}/profile", json=PROFILE | change)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_body")
        assert word in answer.json()["detail"]
        assert (await client.get(f"/preferences/users/{user}")).json()["profile"] == dict.fromkeys(PROFILE)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "bad_body"),
        (b"{", 400, "bad_body"),
        (b"\xff", 400, "bad_body"),
        (b"[" * 100_000, 400, "bad_body"),
        (b'{"category":"food","channel":"email"}', 400, "bad_body"),
        (b'{"category":"food","channel":"pigeon","enabled":true}', 400, "bad_body"),
        (b'{"category":"security","channel":"email","enabled":false}', 409, "always_on"),
    ],
)
async def test_a_choice_that_can_not_be_is_refused(hub: Hub, body: bytes, status: int, code: str) -> None:
    user = new_user()
    async with hub.client(user) as client:
        answer = await client.post(f"/preferences/users/{user}", content=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_preferences_are_their_owners_only(hub: Hub) -> None:
    user = new_user()
    path = f"/preferences/users/{user}"
    async with hub.client(new_user()) as stranger:
        for method, end in (("GET", ""), ("POST", ""), ("PUT", "/food.email"), ("DELETE", "/profile")):
            answer = await stranger.request(method, path + end, json={"enabled": False})
            assert (answer.status_code, answer.json()["code"]) == (403, "other_user")
    async with httpx.AsyncClient(base_url=hub.http + REST, verify=NO_TLS) as nobody:
        assert (await nobody.get(path)).status_code == 401
    async with hub.client(user) as owner:
        assert (await owner.put(f"{path}/food.pigeon", json={"enabled": True})).status_code == 404


async def test_the_page_behind_a_mails_link_changes_them_without_a_sign_in(hub: Hub) -> None:
    user = new_user()
    secrets = (SecretStr(hub.environment[name]) for name in ("JWT_SECRET", "DATABASE_URL"))
    token = UnsubscribeTokens((), SecretBox((), *secrets)).make(
        Unsubscription("food", "email", uuid.UUID(user))
    )
    form = {"on": ["food.inapp", "plans.email"], "locale": "vi", "whole": "1"}
    async with httpx.AsyncClient(base_url=hub.http, verify=NO_TLS) as anybody:
        page = await anybody.get(f"/unsubscribe/{token}/preferences")
        assert 'value="food.email"' in page.text
        saved = await anybody.post(f"/unsubscribe/{token}/preferences", data=form)
        assert saved.status_code == 200, saved.text
    async with hub.client(user) as client:
        now = await client.get(f"/preferences/users/{user}")
    assert {name for name, each in by_id(now).items() if each["enabled"] and each["by"] != "always"} == {
        "food.inapp",
        "plans.email",
    }
    assert now.json()["profile"]["locale"] == "vi"
