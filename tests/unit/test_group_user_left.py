"""`group_user_left`: who is notified, who reads "You left", and what that needs of the user service."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from app.testing import MemoryHub
from app.texts.i18n import LOCALES
from handlers.groups import GroupUserLeft
from handlers.registry import text_in

GROUP, LEAVER = uuid4(), uuid4()
STAYING = (uuid4(), uuid4())
YOU, A_MEMBER = "You left the group Family Group", "A member left the group Family Group"
ID = str(LEAVER)
SPELLINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "data.user_id": ({"user_id": ID}, {}),
    "data.leaver_id": ({"leaver_id": ID}, {}),
    "data.requester_id": ({"requester_id": ID}, {}),
    "requester_id": ({}, {"requester_id": ID}),
    "leaver_id": ({}, {"leaver_id": ID}),
    "data.userId": ({"userId": ID}, {}),
    "upper case": ({"user_id": ID.upper()}, {}),
    "data.user.id": ({"user": {"id": ID}}, {}),
    "data.leaver.user_id": ({"leaver": {"user_id": ID}}, {}),
    "data.leaver.user.id": ({"leaver": {"user": {"id": ID}}}, {}),
    "the leaver before the requester": ({"requester_id": str(STAYING[0]), "leaver_id": ID}, {}),
    "the user before the requester": ({"user_id": ID}, {"requester_id": str(STAYING[0])}),
    "null equals absent": ({"leaver_id": None, "user_id": ID}, {}),
    "what is no id is passed over": ({"leaver_id": 7, "user_id": "john", "requester_id": ID}, {}),
}


@pytest.fixture
def hub() -> MemoryHub:
    """The user service lists the members who stayed."""
    made = MemoryHub()
    made.groups.add(GROUP, "Family Group", STAYING)
    return made


def left(*receivers: UUID | str, more: dict[str, Any] | None = None, **data: Any) -> dict[str, Any]:
    named = {"receivers": [*map(str, receivers)]} if receivers else {}
    body = {"event_type": "group_user_left", "group_id": str(GROUP), "data": data}
    return body | named | (more or {})


def titles(hub: MemoryHub, *users: UUID) -> list[list[str]]:
    return [[each.title for each in hub.inbox(user)] for user in users]


async def test_without_receivers_it_goes_to_the_group_without_the_leaver(hub: MemoryHub) -> None:
    hub.groups.add(GROUP, "Family Group", (*STAYING, LEAVER))  # as if the service listed them still
    assert await hub.publish(left(leaver_id=ID)) is None
    assert titles(hub, *STAYING, LEAVER) == [[A_MEMBER], [A_MEMBER], []]


@pytest.mark.parametrize("data", ["absent", None, [], "", 5, [{}]], ids=repr)
async def test_it_needs_no_data(hub: MemoryHub, data: object) -> None:
    event = left(LEAVER, more={"data": data, "requester_id": ID})
    if data == "absent":
        del event["data"]
    assert await hub.publish(event) is None
    assert titles(hub, LEAVER) == [[YOU]]
    (stored,) = hub.inbox(LEAVER)
    assert msgspec.json.decode(stored.raw_data) == {"requester_id": ID}


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_the_leaver_reads_you_left_and_the_others_do_not(hub: MemoryHub, spelling: str) -> None:
    data, more = SPELLINGS[spelling]
    hub.groups.unavailable = True
    event = left(LEAVER, *STAYING, group_name="Family Group", more=more, **data)
    assert await hub.publish(event) is None
    assert titles(hub, LEAVER, *STAYING) == [[YOU], [A_MEMBER], [A_MEMBER]]
    assert hub.inbox(LEAVER)[0].content.startswith("You left the group Family Group")
    kept = {name: value for name, value in (more | event["data"]).items() if name != "group_name"}
    assert msgspec.json.decode(hub.inbox(LEAVER)[0].raw_data) == {**kept, "group_name": "Family Group"}


@pytest.mark.parametrize("receivers", [[LEAVER], [str(LEAVER).upper()], [LEAVER, LEAVER]], ids=len)
@pytest.mark.parametrize("name", [{}, {"group_name": "Family Group"}], ids=["no name", "name"])
async def test_the_one_receiver_who_is_no_member_any_more_is_the_leaver(
    hub: MemoryHub, receivers: list[UUID | str], name: dict[str, Any]
) -> None:
    assert await hub.publish(left(*receivers, **name)) is None
    assert titles(hub, LEAVER) == [[YOU]]


async def test_the_one_receiver_who_is_a_member_is_told_of_another(hub: MemoryHub) -> None:
    assert await hub.publish(left(STAYING[0])) is None
    assert titles(hub, STAYING[0]) == [[A_MEMBER]]


async def test_several_receivers_are_no_sign_of_who_left(hub: MemoryHub) -> None:
    assert await hub.publish(left(LEAVER, STAYING[0], group_name="Family Group")) is None
    assert titles(hub, LEAVER, STAYING[0]) == [[A_MEMBER], [A_MEMBER]]
    assert hub.groups.asked == []


async def test_a_group_that_was_cached_before_they_left_is_asked_for_again(hub: MemoryHub) -> None:
    await hub.groups.group(GROUP)
    hub.groups._cached[GROUP] = msgspec.structs.replace(hub.groups._cached[GROUP], members=(*STAYING, LEAVER))
    assert await hub.publish(left(LEAVER, group_name="Family Group")) is None
    assert titles(hub, LEAVER) == [[YOU]]


async def test_while_the_user_service_is_away_it_neither_waits_nor_fails(hub: MemoryHub) -> None:
    hub.groups.unavailable = True
    assert await hub.publish(left(LEAVER, group_name="Family Group")) is None
    assert titles(hub, LEAVER) == [[A_MEMBER]]


async def test_the_receiver_of_a_group_that_is_gone_is_the_leaver(hub: MemoryHub) -> None:
    event = left(LEAVER, group_name="Family Group") | {"group_id": str(uuid4())}
    assert await hub.publish(event) is None
    assert titles(hub, LEAVER) == [[YOU]]


@pytest.mark.parametrize("members", [(), (LEAVER,)], ids=["nobody", "the leaver"])
async def test_when_the_last_member_left_nobody_is_notified_and_nothing_is_refused(
    hub: MemoryHub, members: tuple[UUID, ...]
) -> None:
    hub.groups.add(GROUP, "Family Group", members)
    assert await hub.publish(left(leaver_id=ID)) is None
    assert titles(hub, LEAVER) == [[]]
    assert hub.rejected == []


@pytest.mark.parametrize("locale", LOCALES)
async def test_get_answers_in_each_language_with_the_text_that_was_meant(hub: MemoryHub, locale: str) -> None:
    assert await hub.publish(left(LEAVER)) is None
    assert await hub.publish(left(STAYING[0])) is None
    for user, title in ((LEAVER, GroupUserLeft.own_title), (STAYING[0], GroupUserLeft.title)):
        (stored,) = hub.inbox(user)
        text = text_in(locale, stored.template_code, bytes(stored.raw_data), stored.group_name, stored.title)
        assert text is not None
        wanted = MemoryHub(locale=locale)
        wanted.groups.add(GROUP, "Family Group", STAYING)
        await wanted.publish(left(user))
        assert (text.title, text.content) == (wanted.inbox(user)[0].title, wanted.inbox(user)[0].content)
        assert (text.title == title.singular % {"group_name": "Family Group"}) is (locale == "en")


@pytest.mark.parametrize(("user", "title"), [(LEAVER, YOU), (STAYING[0], A_MEMBER)], ids=["leaver", "other"])
async def test_a_message_by_its_template_reads_the_same(hub: MemoryHub, user: UUID, title: str) -> None:
    data = {"group_name": "Family Group", "leaver_id": ID}
    message = {"type": "inapp", "user_id": str(user), "template_code": "GROUP_USER_LEFT", "data": data}
    assert await hub.publish(message) is None
    assert titles(hub, user) == [[title]]
