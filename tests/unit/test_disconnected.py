"""Users who disconnect: each is passed on once, a while later."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID, uuid4

from app.domain.errors import Unavailable
from app.realtime.disconnected import MAX_NOTED_USERS, DisconnectedUsers


async def test_users_are_passed_on_with_the_second_look() -> None:
    passed: list[Collection[UUID]] = []

    async def look_again(users: Collection[UUID]) -> None:
        passed.append(users)

    users, (first, second) = DisconnectedUsers(look_again), (uuid4(), uuid4())
    users.user_disconnected(first)
    users.user_disconnected(first)
    await users.look()
    assert passed == []
    users.user_disconnected(second)
    for _ in range(3):
        await users.look()
    assert passed == [{first}, {second}]


async def test_of_very_many_users_some_are_left_to_the_later_look() -> None:
    passed: list[UUID] = []

    async def look_again(users: Collection[UUID]) -> None:
        passed.extend(users)

    users = DisconnectedUsers(look_again)
    for number in range(MAX_NOTED_USERS + 10):
        users.user_disconnected(UUID(int=number))
    await users.look()
    await users.look()
    assert len(passed) == MAX_NOTED_USERS


async def test_while_postgres_does_not_answer_nobody_is_forgotten() -> None:
    passed: list[Collection[UUID]] = []
    away = [Unavailable("postgres", "it restarts")]

    async def look_again(users: Collection[UUID]) -> None:
        if away:
            raise away.pop()
        passed.append(users)

    users, (first, second) = DisconnectedUsers(look_again), (uuid4(), uuid4())
    users.user_disconnected(first)
    await users.look()
    users.user_disconnected(second)
    await users.look()
    assert passed == []
    await users.look()
    assert passed == [{first, second}]
