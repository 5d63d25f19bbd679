"""The user service over HTTP: each spelling, slow, wrong and missing answers. Contract: tests/contract."""

from __future__ import annotations

import asyncio
import gzip
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from app.domain.errors import InvalidEvent, Unavailable
from app.domain.notifications import Group
from app.ingest import user_service
from app.ingest.user_service import (
    BACKOFF,
    MAX_ANSWER_BYTES,
    MAX_CONCURRENT_CALLS,
    MAX_FAILURES,
    UserService,
    read_group,
)
from app.runtime.backoff import Backoff
from app.settings.services import UserServiceSettings
from tests.support.hub import eventually, free_port
from tests.support.user_service import FakeUserService

TIMEOUT = 1.0
GROUP, CHEF, MEMBER = uuid4(), uuid4(), uuid4()
ROLES = ((CHEF, "head_chef"), (MEMBER, "member"))
EXPECTED = Group("Nhà mình", (CHEF, MEMBER), (CHEF,))


def settings(url: str, cache: float = 60.0) -> UserServiceSettings:
    return UserServiceSettings(url=url, timeout=TIMEOUT, cache=cache)


@pytest.fixture
def service(user_service: FakeUserService) -> FakeUserService:
    """The server, in good mood, with one group."""
    user_service.calm()
    user_service.asked.clear()
    user_service.groups.clear()
    user_service.add_group(str(GROUP), EXPECTED.name, [str(CHEF), str(MEMBER)], head_chef=str(CHEF))
    return user_service


@pytest_asyncio.fixture
async def groups(service: FakeUserService) -> AsyncIterator[UserService]:
    port = UserService(settings(url=service.address))
    yield port
    await port.close()
    service.calm()


@pytest.mark.parametrize("listed", ["members", "group_memberships"])
@pytest.mark.parametrize(
    "spelt",
    [
        lambda user: {"user_id": user},
        lambda user: {"userId": user},
        lambda user: {"user": {"user_id": user}},
        lambda user: {"user": {"id": user}},
        lambda user: {"user_id": None, "user": {"id": user, "name": "mai"}, "joined": "2026-11-21"},
    ],
    ids=["user_id", "userId", "user.user_id", "user.id", "with more"],
)
async def test_each_documented_spelling_is_understood(
    groups: UserService, service: FakeUserService, listed: str, spelt: Callable[[str], dict[str, Any]]
) -> None:
    members = [spelt(str(user)) | {"role": role} for user, role in ROLES]
    service.groups[str(GROUP)] = {"group_name": EXPECTED.name, listed: members, "more": 1}
    assert await groups.group(GROUP) == EXPECTED


async def test_a_member_may_have_no_role(groups: UserService, service: FakeUserService) -> None:
    service.groups[str(GROUP)] = {"group_name": "No chef", "members": [{"user_id": str(MEMBER)}]}
    assert await groups.group(GROUP) == Group("No chef", (MEMBER,), ())


async def test_a_long_group_name_is_cut(groups: UserService, service: FakeUserService) -> None:
    service.groups[str(GROUP)] = {"group_name": "a" * 1000, "members": []}
    assert (await groups.group(GROUP)).name == "a" * 254 + "…"


async def test_a_path_below_the_address_is_kept(service: FakeUserService) -> None:
    port = UserService(settings(url=f"{service.address}/gateway/"))
    assert await port.group(GROUP) == EXPECTED
    await port.close()


async def test_a_404_of_something_in_between_says_nothing_of_the_group(
    groups: UserService, service: FakeUserService
) -> None:
    service.status, service.body = 404, b"<html>nginx</html>"
    with pytest.raises(Unavailable, match="answered 404"):
        await groups.group(GROUP)


@pytest.mark.parametrize("status", [301, 400, 401, 429, 500, 503])
async def test_any_other_status_may_pass(groups: UserService, service: FakeUserService, status: int) -> None:
    service.status = status
    with pytest.raises(Unavailable, match=f"user service: answered {status}"):
        await groups.group(GROUP)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>nginx</html>",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b'{"data": null}',
        b'{"data": []}',
        b'{"data": {"group_name": "a"}}',
        b'{"data": {"members": []}}',
        b'{"data": {"group_name": "a", "members": null}}',
        b'{"data": {"group_name": "a", "members": {"user_id": "b"}}}',
        b'{"data": {"group_name": "a", "members": [null]}}',
        b'{"data": {"group_name": "a", "members": [{}]}}',
        b'{"data": {"group_name": "a", "members": [{"user_id": "no-uuid"}]}}',
        b'{"data": {"group_name": "a", "members": [{"user_id": 7}]}}',
        b'{"data": {"group_name": "a", "members": [{"user": "b"}]}}',
        b'{"data": {"group_name": null, "members": []}}',
        b'{"data": {"group_name": "", "members": []}}',
        b'{"data": {"group_name": 5, "members": []}}',
        b'{"data": {"group_name": "a\\u0000b", "members": []}}',
        b"[" * 100_000,
    ],
)
async def test_an_answer_in_no_known_form_may_pass(
    groups: UserService, service: FakeUserService, body: bytes
) -> None:
    service.body = body
    with pytest.raises(Unavailable, match="unknown form"):
        await groups.group(GROUP)


async def test_a_slow_answer_is_waited_for_only_so_long(
    groups: UserService, service: FakeUserService
) -> None:
    service.awake.clear()
    start = time.monotonic()
    with pytest.raises(Unavailable, match="no answer"):
        await groups.group(GROUP)
    assert TIMEOUT * 0.9 < time.monotonic() - start < TIMEOUT + 2


async def test_a_service_that_is_not_there_is_said_to_be_away() -> None:
    port = UserService(settings(url=f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(Unavailable, match="no answer"):
        await port.group(GROUP)
    await port.close()


async def test_an_answer_that_drips_is_waited_for_only_so_long(
    groups: UserService, service: FakeUserService
) -> None:
    service.drip = TIMEOUT / 4
    start = time.monotonic()
    with pytest.raises(Unavailable, match="no answer"):
        await groups.group(GROUP)
    assert time.monotonic() - start < TIMEOUT + 2


@pytest.mark.parametrize("length", [{}, {"Content-Length": "1000000000"}], ids=["honest", "lying"])
async def test_no_more_is_read_than_a_group_can_need(
    groups: UserService, service: FakeUserService, length: dict[str, str]
) -> None:
    service.body, service.headers = b" " * (MAX_ANSWER_BYTES + 1), length
    with pytest.raises(InvalidEvent, match="more than") as refused:
        await groups.group(GROUP)
    assert refused.value.reason == "group_too_large"


async def test_ten_thousand_members_with_their_profiles_are_one_group(
    groups: UserService, service: FakeUserService
) -> None:
    profile = {"name": "Nguyễn Thị Mai", "avatar": "https://cdn.example/" + "x" * 300, "bio": "y" * 600}
    members = [{"user_id": str(uuid4()), "role": "member", "profile": profile} for _ in range(10_000)]
    service.groups[str(GROUP)] = {"group_name": "Everyone", "members": members}
    found = await groups.group(GROUP)
    assert [str(user) for user in found.members] == [member["user_id"] for member in members]


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"body": b" " * (MAX_ANSWER_BYTES + 1)},
        {"headers": {"Content-Encoding": "gzip"}},
        {"body": b"no JSON"},
    ],
    ids=["500", "too large", "encoded", "unreadable"],
)
async def test_what_is_wrong_with_one_group_is_no_outage(
    groups: UserService, service: FakeUserService, fault: dict[str, Any]
) -> None:
    broken = uuid4()
    for _ in range(2 * MAX_FAILURES):
        service.calm()
        for name, value in fault.items():
            setattr(service, name, value)
        with pytest.raises((Unavailable, InvalidEvent)) as failed:
            await groups.group(broken)
        assert "not called" not in str(failed.value)
    service.calm()
    assert await groups.group(GROUP) == EXPECTED


async def test_a_service_that_fails_on_every_group_is_away(
    groups: UserService, service: FakeUserService
) -> None:
    service.status = 500
    for _ in range(MAX_FAILURES):
        with pytest.raises(Unavailable, match="answered 500"):
            await groups.group(uuid4())
    with pytest.raises(Unavailable, match="not called"):
        await groups.group(uuid4())


async def test_a_large_group_is_read_beside_the_event_loop(
    groups: UserService, service: FakeUserService, monkeypatch: pytest.MonkeyPatch
) -> None:
    members, read_in = [str(uuid4()) for _ in range(1000)], []
    service.add_group(str(GROUP), "a large one", members)

    def reading(answer: bytes) -> Group:
        read_in.append(threading.current_thread())
        return read_group(answer)

    monkeypatch.setattr(user_service, "read_group", reading)
    assert len((await groups.group(GROUP)).members) == len(members)
    assert read_in != [threading.main_thread()]


async def test_a_packed_answer_is_not_unpacked(groups: UserService, service: FakeUserService) -> None:
    service.body = gzip.compress(b" " * 100_000_000, compresslevel=1)
    service.headers = {"Content-Encoding": "gzip"}
    assert len(service.body) < MAX_ANSWER_BYTES
    with pytest.raises(Unavailable, match="encoding"):
        await groups.group(GROUP)


async def test_a_service_that_answers_late_is_found_to_be_back_and_stays_so(
    service: FakeUserService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_service, "BACKOFF", Backoff(0.01, 0.01))
    port = UserService(UserServiceSettings(url=service.address, timeout=0.2, cache=0.0))
    service.latency = 0.5
    missed = await asyncio.gather(*(port.group(uuid4()) for _ in range(5)), return_exceptions=True)
    assert {type(answer) for answer in missed} == {Unavailable}
    assert port.pause() is not None

    async def back() -> bool:
        try:
            return await port.group(GROUP) == EXPECTED
        except Unavailable:
            return False

    await eventually(back, "a call had the time it takes")
    found = await asyncio.gather(*(port.group(GROUP) for _ in range(3)))
    assert (found, port.pause()) == ([EXPECTED] * 3, None)
    await port.close()


async def test_a_service_that_keeps_failing_is_asked_no_more_until_it_is_back(
    groups: UserService, service: FakeUserService, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    monkeypatch.setattr("app.ingest.user_service.monotonic", lambda: now)
    service.status = 503
    asked = await asyncio.gather(*(groups.group(uuid4()) for _ in range(200)), return_exceptions=True)
    assert {type(answer) for answer in asked} == {Unavailable}
    assert MAX_FAILURES <= len(service.asked) <= MAX_FAILURES + MAX_CONCURRENT_CALLS
    service.asked.clear()
    now += BACKOFF.first
    await asyncio.gather(*(groups.group(uuid4()) for _ in range(10)), return_exceptions=True)
    assert len(service.asked) == 1
    service.calm()
    with pytest.raises(Unavailable, match="not called"):
        await groups.group(GROUP)
    now += 2 * BACKOFF.first
    assert await groups.group(GROUP) == EXPECTED
    assert await groups.group(GROUP) == EXPECTED
    service.status = 500
    with pytest.raises(Unavailable, match="answered 500"):
        await groups.group(uuid4())


@pytest.mark.parametrize("answer", [(404, b"{}"), (403, b""), (200, b"no JSON")], ids=str)
async def test_who_answers_at_once_is_asked_again_whatever_it_says(
    groups: UserService, service: FakeUserService, answer: tuple[int, bytes]
) -> None:
    service.status, service.body = answer
    for _ in range(2 * MAX_FAILURES):
        with pytest.raises((Unavailable, InvalidEvent)):
            await groups.group(uuid4())
    service.calm()
    assert await groups.group(GROUP) == EXPECTED


async def test_many_askers_at_once_share_a_failure_and_the_next_asks_again(
    groups: UserService, service: FakeUserService
) -> None:
    service.status = 500
    asked = await asyncio.gather(*(groups.group(GROUP) for _ in range(10)), return_exceptions=True)
    assert {type(answer) for answer in asked} == {Unavailable}
    assert len(service.asked) == 1
    service.calm()
    assert await groups.group(GROUP) == EXPECTED


async def test_a_reader_that_is_cancelled_takes_the_answer_from_nobody(
    groups: UserService, service: FakeUserService
) -> None:
    service.awake.clear()
    first, second = (asyncio.create_task(groups.group(GROUP)) for _ in range(2))

    async def asked() -> bool:
        return bool(service.asked)

    await eventually(asked, "the service was asked")
    first.cancel()
    service.awake.set()
    assert await second == EXPECTED
    assert first.cancelled()


async def test_an_answer_is_remembered_but_briefly(service: FakeUserService) -> None:
    port = UserService(settings(url=service.address, cache=0.05))
    await port.group(GROUP)

    async def forgotten() -> bool:
        return port.remembered(GROUP) is None

    await eventually(forgotten, "the group is forgotten")
    service.groups[str(GROUP)]["group_name"] = "New name"
    assert (await port.group(GROUP)).name == "New name"
    await port.close()


async def test_a_full_cache_drops_the_group_that_was_asked_for_least_recently(
    service: FakeUserService,
) -> None:
    port = UserService(settings(url=service.address), max_cached_groups=2)
    first, second, third = (uuid4() for _ in range(3))
    for group in (first, second, third):
        service.add_group(str(group), "a group", [str(MEMBER)])
    await port.group(first)
    await port.group(second)
    assert port.remembered(first) is not None
    await port.group(third)
    assert [port.remembered(group) is not None for group in (first, second, third)] == [True, False, True]
    await port.close()


async def test_a_group_is_cached_for_so_many_seconds(
    service: FakeUserService, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    monkeypatch.setattr("app.ingest.user_service.monotonic", lambda: now)
    port = UserService(settings(url=service.address, cache=60.0))
    await port.group(GROUP)
    now += 59.9
    assert port.remembered(GROUP) == EXPECTED
    now += 0.1
    assert port.remembered(GROUP) is None
    assert await port.group(GROUP) == EXPECTED
    assert service.asked == [str(GROUP)] * 2
    await port.close()
