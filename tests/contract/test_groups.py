"""The contract of groups (`app.ingest.pipeline.Groups`), over HTTP and in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple, Protocol
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from app.domain.errors import InvalidEvent, Unavailable
from app.domain.notifications import Group
from app.ingest.pipeline import Groups
from app.ingest.user_service import UserService
from app.settings.services import UserServiceSettings
from app.testing import MemoryGroups
from tests.support.user_service import FakeUserService

GROUP, CHEF, MEMBER = uuid4(), uuid4(), uuid4()
EXPECTED = Group("Nhà mình", (CHEF, MEMBER), (CHEF,))


class Add(Protocol):
    def __call__(
        self, group_id: UUID, name: str, members: Sequence[UUID], head_chef: UUID | None = None
    ) -> None: ...


class Scene(NamedTuple):
    """The port, and what stands behind it: `add` makes a group, `away` makes every new question fail."""

    groups: Groups
    add: Add
    away: Callable[[bool], None]
    asked: Callable[[], list[UUID]]
    """The groups that were asked for, but for those whose answer was cached."""


@pytest.fixture(params=["memory", "http"])
def service(request: pytest.FixtureRequest) -> FakeUserService | None:
    """The server behind the port; None: it is in memory."""
    if request.param == "memory":
        return None
    found = request.getfixturevalue("user_service")
    assert isinstance(found, FakeUserService)
    return found


@pytest_asyncio.fixture
async def scene(service: FakeUserService | None) -> AsyncIterator[Scene]:
    """One group is there."""
    if service is None:
        made = in_memory()
        made.add(GROUP, EXPECTED.name, EXPECTED.members, CHEF)
        yield made
        return
    service.groups.clear()
    service.asked.clear()
    port = UserService(UserServiceSettings(url=service.address, timeout=5.0, cache=60.0))
    made = over_http(port, service)
    made.add(GROUP, EXPECTED.name, EXPECTED.members, CHEF)
    yield made
    await port.close()
    service.calm()


def in_memory() -> Scene:
    groups = MemoryGroups()

    def away(unavailable: bool) -> None:
        groups.unavailable = unavailable

    return Scene(groups, groups.add, away, lambda: groups.asked)


def over_http(port: UserService, service: FakeUserService) -> Scene:
    def add(group_id: UUID, name: str, members: Sequence[UUID], head_chef: UUID | None = None) -> None:
        service.add_group(
            str(group_id), name, [*map(str, members)], None if head_chef is None else str(head_chef)
        )

    def away(unavailable: bool) -> None:
        service.status = 503 if unavailable else 200

    return Scene(port, add, away, lambda: [*map(UUID, service.asked)])


async def test_a_group_has_its_name_its_members_and_its_head_chefs(scene: Scene) -> None:
    assert await scene.groups.group(GROUP) == EXPECTED


async def test_a_group_may_have_no_members_and_no_head_chef(scene: Scene) -> None:
    empty, leaderless = uuid4(), uuid4()
    scene.add(empty, "Empty", [])
    scene.add(leaderless, "No chef", [MEMBER])
    assert await scene.groups.group(empty) == Group("Empty", (), ())
    assert await scene.groups.group(leaderless) == Group("No chef", (MEMBER,), ())


async def test_a_member_listed_twice_is_one(scene: Scene) -> None:
    twice = uuid4()
    scene.add(twice, EXPECTED.name, EXPECTED.members * 2, CHEF)
    assert await scene.groups.group(twice) == EXPECTED


async def test_a_group_nobody_knows_is_the_events_mistake(scene: Scene) -> None:
    with pytest.raises(InvalidEvent) as refused:
        await scene.groups.group(uuid4())
    assert refused.value.reason == "unknown_group"


async def test_a_service_that_is_away_is_unavailable_until_it_is_back(scene: Scene) -> None:
    scene.away(True)
    with pytest.raises(Unavailable) as unavailable:
        await scene.groups.group(GROUP)
    assert unavailable.value.dependency == "user service"
    assert scene.groups.remembered(GROUP) is None
    scene.away(False)
    assert await scene.groups.group(GROUP) == EXPECTED


async def test_what_is_remembered_is_answered_while_the_service_is_away(scene: Scene) -> None:
    await scene.groups.group(GROUP)
    scene.away(True)
    assert scene.groups.remembered(GROUP) == await scene.groups.group(GROUP) == EXPECTED


async def test_many_askers_at_once_cost_one_call(scene: Scene) -> None:
    answers = await asyncio.gather(*(scene.groups.group(GROUP) for _ in range(100)))
    assert answers == [EXPECTED] * 100
    assert scene.asked() == [GROUP]


async def test_an_answer_is_remembered(scene: Scene) -> None:
    assert scene.groups.remembered(GROUP) is None
    await scene.groups.group(GROUP)
    assert scene.groups.remembered(GROUP) == await scene.groups.group(GROUP) == EXPECTED
    assert scene.asked() == [GROUP]


async def test_a_fresh_answer_is_asked_for_and_remembered(scene: Scene) -> None:
    await scene.groups.group(GROUP)
    assert await scene.groups.group(GROUP, fresh=True) == EXPECTED
    assert scene.asked() == [GROUP, GROUP]
    assert scene.groups.remembered(GROUP) == EXPECTED


async def test_a_fresh_answer_that_fails_leaves_what_is_remembered(scene: Scene) -> None:
    await scene.groups.group(GROUP)
    scene.away(True)
    with pytest.raises(Unavailable):
        await scene.groups.group(GROUP, fresh=True)
    assert scene.groups.remembered(GROUP) == EXPECTED


async def test_a_group_that_is_not_found_is_not_remembered(scene: Scene) -> None:
    new = uuid4()
    with pytest.raises(InvalidEvent):
        await scene.groups.group(new)
    scene.add(new, EXPECTED.name, EXPECTED.members, CHEF)
    assert await scene.groups.group(new) == EXPECTED


async def test_groups_are_kept_apart(scene: Scene) -> None:
    others = {uuid4(): uuid4() for _ in range(4)}
    for group, user in others.items():
        scene.add(group, str(group), [user])
    answers = await asyncio.gather(*(scene.groups.group(group) for group in others))
    assert answers == [Group(str(group), (user,), ()) for group, user in others.items()]
    assert sorted(scene.asked()) == sorted(others)
