"""The contract of profiles and choices (`PreferencesPort` in app/store/ports.py), in Postgres and memory."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, time
from uuid import uuid4

import pytest

from app.domain.errors import Unavailable
from app.domain.preferences import CHOICES, Person
from app.store.ports import PreferencesPort
from app.store.preferences import Profile
from tests.contract.conftest import Store

PROFILE = Profile("vi", "Asia/Ho_Chi_Minh", time(22), time(6, 30), "mai@example.com", "+84912345678")


async def test_people_are_those_who_have_set_anything(people: PreferencesPort) -> None:
    with_profile, with_choice, nobody = uuid4(), uuid4(), uuid4()
    await people.set_profile(with_profile, PROFILE)
    await people.set_choice(with_choice, "food.email", False)
    assert await people.people([]) == {}
    assert await people.people([nobody]) == {}
    found = await people.people([with_profile, nobody, with_choice, with_profile])
    assert found.keys() == {with_profile, with_choice}
    assert found[with_choice] == Person(choices={"food.email": False})
    person = found[with_profile]
    assert (person.locale, person.email, person.phone) == ("vi", "mai@example.com", "+84912345678")
    assert person.choices == {}


async def test_quiet_hours_are_those_of_the_profile_in_its_zone(people: PreferencesPort) -> None:
    user = uuid4()
    await people.set_profile(user, PROFILE)
    quiet = (await people.people([user]))[user].quiet_hours
    assert quiet is not None
    assert quiet.until(datetime(2026, 11, 30, 16, tzinfo=UTC)) == datetime(2026, 11, 30, 23, 30, tzinfo=UTC)
    assert quiet.until(datetime(2026, 11, 30, 12, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    "profile",
    [
        Profile(quiet_from=time(22), quiet_until=time(6)),
        Profile(time_zone="Asia/Ho_Chi_Minh", quiet_from=time(22)),
        Profile(time_zone="Asia/Ho_Chi_Minh", quiet_until=time(6)),
        Profile(time_zone="Atlantis/Poseidonis", quiet_from=time(22), quiet_until=time(6)),
    ],
    ids=["no zone", "no end", "no beginning", "no such zone"],
)
async def test_without_a_zone_a_beginning_and_an_end_there_are_no_quiet_hours(
    people: PreferencesPort, profile: Profile
) -> None:
    user = uuid4()
    await people.set_profile(user, profile)
    assert (await people.people([user]))[user].quiet_hours is None
    assert await people.get(user) == (profile, {})


async def test_a_profile_is_replaced_whole_and_leaves_the_choices(people: PreferencesPort) -> None:
    user = uuid4()
    assert await people.get(user) == (Profile(), {})
    await people.set_choice(user, "food.email", True)
    await people.set_profile(user, PROFILE)
    assert await people.get(user) == (PROFILE, {"food.email": True})
    await people.set_profile(user, Profile(locale="ru"))
    assert await people.get(user) == (Profile(locale="ru"), {"food.email": True})


async def test_a_choice_is_set_added_once_and_dropped(people: PreferencesPort) -> None:
    user = uuid4()
    await people.set_profile(user, PROFILE)
    assert not await people.drop_choice(user, "food.sms")
    assert await people.add_choice(user, "food.sms", False)
    assert not await people.add_choice(user, "food.sms", True)
    assert await people.get(user) == (PROFILE, {"food.sms": False})
    await people.set_choice(user, "food.sms", True)
    await people.set_choice(user, "food.email", False)
    assert await people.get(user) == (PROFILE, {"food.sms": True, "food.email": False})
    assert await people.drop_choice(user, "food.sms")
    assert not await people.drop_choice(user, "food.sms")
    assert await people.get(user) == (PROFILE, {"food.email": False})


async def test_fields_and_choices_are_changed_together_and_the_others_stay(people: PreferencesPort) -> None:
    user = uuid4()
    await people.change(user, {}, {})
    assert await people.people([user]) == {}
    await people.change(user, {"locale": "ru"}, {"food.sms": True, "food.email": None})
    assert await people.get(user) == (Profile("ru"), {"food.sms": True})
    await people.change(user, {"phone": "+84912345678"}, {"plans.sms": False, "plans.email": False})
    await people.change(user, {"locale": None}, {"food.sms": None, "plans.sms": None, "food.email": False})
    chosen = {"plans.email": False, "food.email": False}
    assert await people.get(user) == (Profile(phone="+84912345678"), chosen)


async def test_digests_are_changed_together_and_the_others_stay(people: PreferencesPort) -> None:
    user = uuid4()
    await people.change(user, {}, {}, {"food.email": None})
    assert await people.digests(user) == {}
    await people.change(user, {}, {}, {"food.email": "hourly", "plans.email": "hourly"})
    changes = {"food.email": None, "plans.sms": "daily at 18:00"}
    await people.change(user, {"locale": "ru"}, {"food.sms": True}, changes)
    assert await people.digests(user) == {"plans.email": "hourly", "plans.sms": "daily at 18:00"}
    await people.change(user, {"locale": "vi"}, {"food.sms": None})
    assert await people.digests(user) == {"plans.email": "hourly", "plans.sms": "daily at 18:00"}
    assert await people.get(user) == (Profile("vi"), {})
    with_choice = uuid4()
    await people.set_choice(with_choice, "food.email", False)
    await people.change(with_choice, {}, {}, {"food.email": "hourly", "food.sms": None})
    assert await people.digests(with_choice) == {"food.email": "hourly"}


async def test_who_has_set_nothing_has_no_choice_to_drop_and_may_add_one(people: PreferencesPort) -> None:
    user = uuid4()
    assert not await people.drop_choice(user, "food.sms")
    assert await people.people([user]) == {}
    assert await people.add_choice(user, "food.sms", False)
    assert (await people.people([user]))[user].choices == {"food.sms": False}


async def test_choices_that_are_set_at_once_are_all_kept(people: PreferencesPort) -> None:
    user = uuid4()
    await asyncio.gather(*(people.set_choice(user, choice, False) for choice in CHOICES))
    assert (await people.get(user))[1] == dict.fromkeys(CHOICES, False)


async def test_what_is_answered_does_not_change_with_what_is_set_later(people: PreferencesPort) -> None:
    user = uuid4()
    await people.set_choice(user, "food.sms", False)
    person, (_, choices) = (await people.people([user]))[user], await people.get(user)
    await people.set_choice(user, "food.sms", True)
    assert person.choices == choices == {"food.sms": False}


async def test_preferences_that_are_away_are_unavailable_in_every_call(
    away: tuple[Store, PreferencesPort],
) -> None:
    _, people = away
    user = uuid4()
    for asking in (
        people.people([user]),
        people.get(user),
        people.set_profile(user, PROFILE),
        people.add_choice(user, "food.sms", True),
        people.set_choice(user, "food.sms", True),
        people.drop_choice(user, "food.sms"),
        people.change(user, {"locale": "ru"}, {}),
        people.change(user, {}, {}, {"food.email": "hourly"}),
    ):
        with pytest.raises(Unavailable) as unavailable:
            await asking
        assert unavailable.value.dependency == "postgres"
        assert "hunter2" not in str(unavailable.value)
