"""The contract of topics (`Topics` in app/store/ports.py), in Postgres and memory."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest

from app.domain import topics
from app.domain.errors import Unavailable
from app.domain.topics import Joined, TopicDeletion
from app.store.ports import PreferencesPort
from tests.contract.conftest import Store

USERS = sorted(uuid4() for _ in range(5))


def new_key() -> str:
    return f"topic-{uuid4()}"


async def following(store: Store, key: str) -> list[UUID]:
    return [each.user_id for each in await store.topics.followers(key, 1000)]


async def test_followers_are_added_and_removed_once_and_keep_their_time(store: Store) -> None:
    key = new_key()
    assert await store.topics.change(key, add=[*USERS[:3], USERS[0]]) == (3, 0)
    before = await store.topics.followers(key, 10)
    assert [each.user_id for each in before] == USERS[:3]
    assert await store.topics.change(key, add=USERS[2:], remove=[USERS[0], uuid4()]) == (2, 1)
    after = await store.topics.followers(key, 10)
    assert [each.user_id for each in after] == USERS[1:]
    assert after[:2] == before[1:], "who followed keeps the time"
    assert (await store.topics.followers(new_key(), 10)) == []


async def test_followers_are_read_in_pages(store: Store) -> None:
    key, other = new_key(), new_key()
    await store.topics.change(key, add=USERS)
    await store.topics.change(other, add=[uuid4()])
    first = await store.topics.followers(key, 2)
    rest = await store.topics.followers(key, 10, first[-1].user_id)
    assert [each.user_id for each in (*first, *rest)] == USERS


async def test_users_join_open_topics_only(store: Store) -> None:
    key, user = new_key(), uuid4()
    assert await store.topics.join(key, user) is Joined.CLOSED
    await store.topics.change(key, add=USERS)
    assert await store.topics.join(key, user) is Joined.CLOSED, "what a service makes is closed"
    assert await store.topics.join(key, USERS[0]) is Joined.FOLLOWS, "as before"
    made = await store.topics.put(key, is_open=True)
    assert (made.key, made.open) == (key, True)
    assert await store.topics.join(key, user) is Joined.FOLLOWS
    assert await store.topics.put(key, is_open=False) == made.__class__(key, False, made.created_at)
    assert user in await following(store, key), "closing a topic removes nobody"
    assert await store.topics.change(key, remove=[user]) == (0, 1)
    assert await store.topics.join(key, user) is Joined.CLOSED


async def test_a_user_joins_a_limited_number(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("app.store.topics", "app.testing.topics"):
        monkeypatch.setattr(f"{module}.MAX_OWN_TOPICS", 2)
    user, keys = uuid4(), [new_key() for _ in range(4)]
    for key in keys:
        await store.topics.put(key, is_open=True)
    joined = await asyncio.gather(*(store.topics.join(key, user) for key in keys[:3]))
    assert sorted(each.name for each in joined) == ["FOLLOWS", "FOLLOWS", "TOO_MANY"]
    await store.topics.change(keys[3], add=[user])
    assert len(await store.topics.of_user(user, 10)) == 3, "services may add more"


async def test_what_a_user_follows_is_listed_by_key(store: Store) -> None:
    user, keys = uuid4(), sorted(new_key() for _ in range(3))
    await store.topics.put(keys[1], is_open=True)
    for key in keys:
        await store.topics.change(key, add=[user, USERS[0]])
    found = await store.topics.of_user(user, 10)
    assert [(each.key, each.open) for each in found] == [(keys[0], False), (keys[1], True), (keys[2], False)]
    assert await store.topics.of_user(user, 1, keys[0]) == found[1:2]
    listed = await store.topics.topics(1000, keys[0][:-1])
    assert keys[0] in [each.key for each in listed]
    assert keys[0] not in [each.key for each in await store.topics.topics(1000, keys[0])]


async def test_a_topic_is_deleted_with_its_followers(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.store.topics.MAX_FOLLOWERS_PER_CHUNK", 2)
    key, other, user = new_key(), new_key(), uuid4()
    await store.topics.put(key, is_open=True)
    await store.topics.change(key, add=USERS)
    await store.topics.change(other, add=USERS)
    assert await store.topics.delete(key, 60) == TopicDeletion(len(USERS), True)
    assert await following(store, key) == []
    assert await following(store, other) == USERS
    assert key not in [each.key for each in await store.topics.topics(1000, key[:-1])]
    assert key not in [each.key for each in await store.topics.of_user(USERS[0], 1000)]
    assert await store.topics.join(key, user) is Joined.CLOSED
    assert await store.topics.delete(key, 60) is None
    await store.topics.change(key, add=[user])
    assert await following(store, key) == [user], "the key can be used again"
    assert await store.topics.delete(key, 60) == TopicDeletion(1, True)
    await store.topics.put(key, is_open=True)
    assert await store.topics.delete(key, 60) == TopicDeletion(0, True)


async def test_a_call_that_has_no_more_time_leaves_a_closed_topic(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.store.topics.MAX_FOLLOWERS_PER_CHUNK", 2)
    key, removed = new_key(), 0
    await store.topics.put(key, is_open=True)
    await store.topics.change(key, add=USERS)
    while (done := await store.topics.delete(key, 0)) is not None:
        removed += done.removed
        listed = [each for each in await store.topics.topics(1000, key[:-1]) if each.key == key]
        assert [each.open for each in listed] == ([] if done.deleted else [False])
        assert len(await following(store, key)) == len(USERS) - removed
    assert removed == len(USERS)


SLOW_ADD = """
insert into topic_followers (topic_key, user_id)
select $1, user_id from unnest($2::uuid[]) as added (user_id), (select pg_sleep(0.3)) as slowly
"""


async def test_nobody_follows_a_topic_that_was_deleted_while_they_were_added(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, users = new_key(), [uuid4() for _ in range(3)]
    await store.topics.change(key, add=USERS)
    monkeypatch.setattr("app.store.topics._ADD", SLOW_ADD)
    adding = asyncio.create_task(store.topics.change(key, add=users))
    await asyncio.sleep(0.1)
    gone = await store.topics.delete(key, 60)
    assert await adding == (3, 0)
    assert gone == TopicDeletion(len(USERS) + len(users), True)
    assert await following(store, key) == []


async def test_a_store_that_does_not_answer_raises(away: tuple[Store, PreferencesPort]) -> None:
    topics = away[0].topics
    for call in (
        lambda: topics.put("x", is_open=True),
        lambda: topics.delete("x", 1),
        lambda: topics.topics(1, ""),
        lambda: topics.change("x", add=USERS),
        lambda: topics.join("x", USERS[0]),
        lambda: topics.followers("x", 1),
        lambda: topics.of_user(USERS[0], 1),
    ):
        with pytest.raises(Unavailable):
            await call()


@pytest.mark.parametrize(
    ("key", "valid"),
    [
        ("release-notes", True),
        ("Team:42.a_b", True),
        ("x" * 200, True),
        ("x" * 201, False),
        ("", False),
        ("users", False),
        ("a b", False),
        ("a/b", False),
        ("ä", False),
        ("a\n", False),
        ("a\0", False),
    ],
    ids=repr,
)
def test_keys_of_topics(key: str, valid: bool) -> None:
    assert topics.is_topic_key(key) is valid
