"""Who is connected where and which nodes are alive, on a real Redis."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Collection
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from app.dev.redis import server_program
from app.realtime.presence import BUCKET_COUNT, MAX_USERS_PER_COMMAND, NODE_ID_BYTES, Beat, NodeId, Presence
from app.runtime.redis import connect
from tests.support.settings import settings_on

UNRESPONSIVE_AFTER = 60.0  # nobody is silent in a test that doesn't mean it
BRIEF = 0.2
A, B, C = (NodeId(bytes([number]) * NODE_ID_BYTES) for number in (1, 2, 3))


@pytest_asyncio.fixture(scope="module")
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with connect(settings_on(redis_url).redis) as client:
        assert isinstance(client, Redis)
        yield client


@pytest.fixture
def prefix() -> str:
    return f"presence-{uuid4().hex}"


@pytest.fixture
def presence(redis: Redis, prefix: str) -> Presence:
    return Presence(redis, prefix)


async def keys(redis: Redis, prefix: str) -> set[bytes]:
    return {key async for key in redis.scan_iter(f"{prefix}:*", count=1000)}


async def table(presence: Presence, users: list[UUID]) -> dict[UUID, set[NodeId]]:
    """Who is where; that a node stands nowhere twice is checked on the way."""
    found = await presence.look_up(users)
    assert all(len(set(nodes)) == len(nodes) for nodes in found.values())
    return {user: set(nodes) for user, nodes in found.items()}


def beat(known: bool, others: Collection[NodeId] = (), unresponsive: Collection[NodeId] = ()) -> Beat:
    return Beat(known, frozenset(others), frozenset(unresponsive))


def of_bucket(number: int) -> UUID:
    """A new user of this bucket."""
    return UUID(int=uuid4().int // BUCKET_COUNT * BUCKET_COUNT + number)


# Who is where


async def test_who_is_connected_is_found_and_nobody_else(presence: Presence) -> None:
    here, there, nowhere = uuid4(), uuid4(), uuid4()
    await presence.change(A, [here])
    await presence.change(B, [there])
    assert await presence.look_up([here, there, nowhere]) == {here: [A], there: [B]}
    assert await presence.look_up([nowhere]) == {}
    assert await presence.look_up([]) == {}


async def test_a_user_of_two_nodes_is_found_on_both_until_gone_from_each(presence: Presence) -> None:
    user = uuid4()
    await presence.change(A, [user])
    await presence.change(B, [user])
    assert await table(presence, [user]) == {user: {A, B}}
    await presence.change(A, [], [user])
    assert await presence.look_up([user]) == {user: [B]}
    await presence.change(B, [], [user])
    assert await presence.look_up([user]) == {}


async def test_a_user_who_is_added_twice_is_there_once(presence: Presence) -> None:
    user = uuid4()
    await presence.change(A, [user, user])
    await presence.change(B, [user])
    await presence.change(A, [user])
    found = await presence.look_up([user])
    assert sorted(found[user]) == [A, B]
    await presence.change(A, [], [user])
    assert await presence.look_up([user]) == {user: [B]}


async def test_removing_who_is_not_there_changes_nothing(
    redis: Redis, prefix: str, presence: Presence
) -> None:
    user = uuid4()
    await presence.change(A, [], [user])
    assert await keys(redis, prefix) == set()
    await presence.change(B, [user])
    await presence.change(A, [], [user])
    assert await presence.look_up([user]) == {user: [B]}


async def test_one_call_brings_some_and_takes_others_away(presence: Presence) -> None:
    comes, goes = uuid4(), uuid4()
    await presence.change(A, [goes])
    await presence.change(A, [comes], [goes])
    assert await presence.look_up([comes, goes]) == {comes: [A]}


async def test_ids_that_look_like_parts_of_one_another_are_distinguished(presence: Presence) -> None:
    """The list of a user's nodes is one string: only whole ids count."""
    user = uuid4()
    first, second = NodeId(b"aaaaaaab"), NodeId(b"bbbbbbbb")
    across = NodeId(b"aaaabbbb")  # stands in the string, over the border of the other two
    await presence.change(first, [user])
    await presence.change(second, [user])
    await presence.change(across, [], [user])
    await presence.forget(across)
    assert await table(presence, [user]) == {user: {first, second}}


async def test_any_byte_may_stand_in_an_id(presence: Presence) -> None:
    user = uuid4()
    odd = [NodeId(b"\x00\r\n\xff\x00%.*"), NodeId(bytes(NODE_ID_BYTES)), NodeId(b"\xff" * NODE_ID_BYTES)]
    for node in odd:
        await presence.change(node, [user])
        await presence.beat(node, UNRESPONSIVE_AFTER)
    assert await presence.look_up([user]) == {user: odd}
    assert (await presence.beat(odd[0], UNRESPONSIVE_AFTER)).others == set(odd[1:])
    await presence.forget(odd[0])
    assert await presence.look_up([user]) == {user: odd[1:]}


async def test_2500_users_fit_into_one_call(presence: Presence) -> None:
    users = [uuid4() for _ in range(2500)]
    crowd = [of_bucket(3) for _ in range(MAX_USERS_PER_COMMAND + 1)]  # more than one command takes
    await presence.change(A, [*users, *crowd])
    await presence.change(B, users[::2])
    found = await table(presence, [*users, *crowd])
    assert found == {user: {A} for user in (*users, *crowd)} | {user: {A, B} for user in users[::2]}
    await presence.change(A, crowd, users)
    assert await presence.look_up([*users, *crowd]) == {user: [B] for user in users[::2]} | {
        user: [A] for user in crowd
    }


CROWD = [UUID(int=number) for number in (0, 1, 2, BUCKET_COUNT, BUCKET_COUNT + 1)]  # some share a bucket
Users = st.sets(st.sampled_from(CROWD))
Step = st.tuples(st.sampled_from([A, B, C]), Users, Users, st.integers(0, 5).map(lambda number: number == 0))


@given(st.lists(Step, max_size=12))
async def test_any_sequence_of_changes_leaves_what_a_dict_would_hold(
    redis: Redis, steps: list[tuple[NodeId, set[UUID], set[UUID], bool]]
) -> None:
    prefix = f"presence-{uuid4().hex}"
    presence = Presence(redis, prefix)
    model: dict[UUID, set[NodeId]] = {user: set() for user in CROWD}
    for node, present, absent, forgotten in steps:
        if forgotten:
            await presence.forget(node)
        else:
            await presence.change(node, present, absent - present)
        for user, nodes in model.items():
            if user in present and not forgotten:
                nodes.add(node)
            elif user in absent or forgotten:
                nodes.discard(node)
    held = {user: nodes for user, nodes in model.items() if nodes}
    assert await table(presence, CROWD) == held
    used = {user.int % BUCKET_COUNT for user in held}
    assert await keys(redis, prefix) == {f"{prefix}:presence:{number}".encode() for number in used}


async def test_changes_of_many_nodes_at_the_same_time_do_not_lose_one_another(presence: Presence) -> None:
    nodes = [NodeId(uuid4().bytes[:NODE_ID_BYTES]) for _ in range(20)]
    users = [of_bucket(0) for _ in range(5)]
    await asyncio.gather(*(presence.change(node, users) for node in nodes))
    assert await table(presence, users) == {user: set(nodes) for user in users}
    gone = random.Random(7).sample(nodes, 10)
    await asyncio.gather(*(presence.change(node, [], users) for node in gone[:5]))
    await asyncio.gather(*(presence.forget(node) for node in gone[5:]))
    assert await table(presence, users) == {user: set(nodes) - set(gone) for user in users}


# Who is alive


async def test_a_node_is_known_from_its_second_beat_on(presence: Presence) -> None:
    assert [(await presence.beat(A, UNRESPONSIVE_AFTER)).known for _ in range(3)] == [False, True, True]
    assert not (await presence.beat(B, UNRESPONSIVE_AFTER)).known


async def test_a_heartbeat_reports_the_others_and_not_oneself(presence: Presence) -> None:
    assert await presence.beat(A, UNRESPONSIVE_AFTER) == beat(False)
    assert await presence.beat(B, UNRESPONSIVE_AFTER) == beat(False, {A})
    assert await presence.beat(C, UNRESPONSIVE_AFTER) == beat(False, {A, B})
    assert await presence.beat(A, UNRESPONSIVE_AFTER) == beat(True, {B, C})


async def test_an_unresponsive_node_is_distinguished_and_then_forgotten(presence: Presence) -> None:
    for node in (A, B, C):
        await presence.beat(node, UNRESPONSIVE_AFTER)
    await asyncio.sleep(1.5 * BRIEF)
    await presence.beat(B, UNRESPONSIVE_AFTER)
    assert await presence.beat(B, BRIEF) == beat(True, unresponsive={A, C})
    assert await presence.beat(C, BRIEF) == beat(False, {B}, {A})
    assert await presence.beat(C, UNRESPONSIVE_AFTER) == beat(True, {A, B})


async def test_a_forgotten_node_is_neither_alive_nor_unresponsive_nor_known(presence: Presence) -> None:
    for node in (A, B):
        await presence.beat(node, UNRESPONSIVE_AFTER)
    await presence.forget(A)
    assert await presence.beat(B, UNRESPONSIVE_AFTER) == beat(True)
    await asyncio.sleep(1.5 * BRIEF)
    assert (await presence.beat(B, BRIEF)).unresponsive == frozenset()
    assert not (await presence.beat(A, UNRESPONSIVE_AFTER)).known


async def test_forgetting_cleans_every_bucket_and_leaves_the_other_nodes(
    redis: Redis, prefix: str, presence: Presence
) -> None:
    own = [of_bucket(number) for number in range(BUCKET_COUNT)]
    shared = [of_bucket(number) for number in range(BUCKET_COUNT // 2)]
    for node, users in ((A, own + shared), (B, shared), (C, shared)):
        await presence.change(node, users)
        await presence.beat(node, UNRESPONSIVE_AFTER)
    assert len(await keys(redis, prefix)) == BUCKET_COUNT + 1
    await presence.forget(A)
    assert await table(presence, own + shared) == {user: {B, C} for user in shared}
    assert len(await keys(redis, prefix)) == BUCKET_COUNT // 2 + 1
    await presence.forget(C)
    await presence.forget(C)
    await presence.forget(B)
    assert await keys(redis, prefix) == set()


# What Redis sees


async def test_every_key_begins_with_the_prefix_and_hubs_do_not_meet(redis: Redis, prefix: str) -> None:
    ours, theirs = Presence(redis, prefix), Presence(redis, f"{prefix}2")
    user = uuid4()
    await ours.change(A, [user])
    await ours.beat(A, UNRESPONSIVE_AFTER)
    bucket = f"{prefix}:presence:{user.int % BUCKET_COUNT}"
    assert await keys(redis, prefix) == {f"{prefix}:nodes".encode(), bucket.encode()}
    assert ours.channel(A) == f"{prefix}:node:{A.hex()}"
    assert ours.channel(A) != theirs.channel(A)
    assert await theirs.look_up([user]) == {}
    assert (await theirs.beat(B, UNRESPONSIVE_AFTER)).others == frozenset()
    await theirs.forget(A)
    assert await ours.look_up([user]) == {user: [A]}


@pytest.mark.skipif(server_program() is None, reason="fakeredis has no MONITOR")
async def test_no_command_names_two_keys(redis: Redis, prefix: str, presence: Presence) -> None:
    """On a cluster they could be on different servers. Seen by Redis itself: what each command names."""
    users = [of_bucket(number) for number in range(BUCKET_COUNT)]

    async def use(presence: Presence) -> None:
        await presence.change(A, users, [of_bucket(1)])
        await presence.look_up(users)
        await presence.beat(A, UNRESPONSIVE_AFTER)
        await presence.publish([(A, b"one"), (B, b"two")])
        await presence.forget(A)

    await use(Presence(redis, f"before-{prefix}"))  # the server knows the scripts from here on
    named: list[list[str]] = []
    async with redis.monitor() as monitor:
        await use(presence)
        await redis.echo(prefix)
        async for seen in monitor.listen():
            if seen["command"] == f"ECHO {prefix}":
                break
            names = [word for word in seen["command"].split(" ") if word.startswith(f"{prefix}:")]
            if names and seen["client_type"] != "lua":  # others use this Redis as well
                named.append(names)
    assert len(named) == BUCKET_COUNT + 1 + BUCKET_COUNT + 1 + 2 + BUCKET_COUNT + 1
    assert {len(names) for names in named} == {1}
