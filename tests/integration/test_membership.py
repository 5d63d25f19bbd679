"""A node's place among the others, on a real Redis: whatever goes wrong, it joins again and all is right."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Collection, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from app.realtime import membership
from app.realtime.presence import NodeId
from tests.integration.test_presence import table
from tests.support.hub import eventually
from tests.support.in_process import Node, Start, acquainted, at, rows, running_nodes, until
from tests.support.peers import Peer, settled
from tests.support.redis_server import RedisServer


@pytest_asyncio.fixture
async def start(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    async with running_nodes(redis_url, monkeypatch) as start:
        yield start


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who says nothing is soon held for dead."""
    monkeypatch.setattr(membership, "UNRESPONSIVE_AFTER_SECONDS", 1.0)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine no node counts as dead: it would join again and leave its old id behind."""
    monkeypatch.setattr(membership, "UNRESPONSIVE_AFTER_SECONDS", 60.0)


def truth(nodes: Collection[Node]) -> dict[UUID, set[NodeId]]:
    """Who is connected where."""
    found: dict[UUID, set[NodeId]] = {}
    for node in nodes:
        for user in node.manager.users:
            found.setdefault(user, set()).add(node.id)
    return found


async def told(nodes: list[Node], users: Collection[UUID]) -> None:
    """Returns when the shared tables tell the truth of these users, and of the nodes."""

    async def holds() -> bool:
        alive = await nodes[0].presence.beat(nodes[0].id, 60.0)
        ids = {node.id for node in nodes}
        return alive.others == ids - {nodes[0].id} and await table(nodes[0].presence, list(users)) == truth(
            nodes
        )

    await eventually(holds, "the tables tell the truth")


async def reach(here: Node, peers: list[Peer], seq: int = 1) -> None:
    """Returns when the connections got what this node published for them."""
    for peer in peers:
        here.bus.publish(rows(peer.connection.user_id, seq))
    await at(seq, *peers)


async def test_when_a_user_has_arrived_all_nodes_find_the_user(start: Start) -> None:
    here, there = await start(2)
    for _ in range(50):
        user = uuid4()
        await here.arrive(user)
        assert await there.presence.look_up([user]) == {user: [here.id]}


async def test_many_who_arrive_at_once_share_round_trips(start: Start) -> None:
    here, there = await start(2)
    users = [uuid4() for _ in range(300)]
    hold = here.presence.hold("change")
    first = asyncio.create_task(here.arrive(users[0]))
    await hold.reached.wait()
    others = [asyncio.create_task(here.arrive(user)) for user in users[1:]]
    hold.released.set()
    async with asyncio.timeout(5):
        await asyncio.gather(first, *others)
    assert here.presence.changes[-2:] == [1, 299]
    await told([here, there], users)


async def test_who_leaves_and_comes_back_during_a_round_trip_is_there_in_the_end(start: Start) -> None:
    nodes = await start(2)
    user, other = uuid4(), uuid4()
    hold = nodes[0].presence.hold("change")
    arriving = asyncio.create_task(nodes[0].arrive(user))
    await hold.reached.wait()
    (connection,) = nodes[0].manager.of(user)
    nodes[0].manager.remove(connection)
    back = asyncio.create_task(nodes[0].arrive(user))
    left = asyncio.create_task(nodes[0].arrive(other))
    await asyncio.sleep(0)
    nodes[0].manager.remove(nodes[0].manager.of(other)[0])
    hold.released.set()
    await asyncio.gather(arriving, back, left)
    await told(nodes, [user, other])
    assert set(nodes[0].manager.users) == {user}


async def test_what_was_written_under_an_id_that_never_joined_is_cleaned_away(start: Start) -> None:
    nodes = await start(2)
    there, users = nodes[1], [uuid4(), uuid4()]
    hold = there.presence.hold("change")
    first = asyncio.create_task(there.arrive(users[0]))
    await hold.reached.wait()
    second = asyncio.create_task(there.arrive(users[1]))  # written after the first
    joined_as = there.id
    await there.lost()
    await until(lambda: there.id != joined_as, "it tries to join under another id")
    there.presence.let_pass()
    hold.released.set()
    await asyncio.gather(first, second)
    await there.back()
    await told(nodes, users)


@pytest.mark.parametrize("losing", [False, True])
async def test_the_tables_are_right_in_the_end_whoever_connects_and_disconnects(
    start: Start, losing: bool
) -> None:
    nodes = await start(3)
    chance = random.Random(7)
    users = [uuid4() for _ in range(40)]
    missed: list[UUID] = []

    async def visit() -> None:
        await asyncio.sleep(chance.random() * 0.3)
        node, user = chance.choice(nodes), chance.choice(users)
        id_before, was_joined = node.id, node.membership.joined
        peer = await node.arrive(user)
        found = await nodes[0].presence.look_up([user])
        same = was_joined and node.membership.joined and node.id == id_before
        if same and peer.connection in node.manager.of(user) and node.id not in found.get(user, ()):
            missed.append(user)
        await asyncio.sleep(chance.random() * 0.05)
        if chance.random() < 0.7:
            node.manager.remove(peer.connection)

    async def mark_lost() -> None:
        for _ in range(4):
            await asyncio.sleep(0.08)
            chance.choice(nodes).membership.mark_lost()

    await asyncio.gather(*(visit() for _ in range(200)), *([mark_lost()] if losing else []))
    await acquainted(nodes)
    assert missed == []
    assert any(truth(nodes))
    await told(nodes, users)


# Joining again


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that nobody else is subscribed to."""
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.kill()


@pytest.mark.usefixtures("patient")  # the ids before aren't left to be missed
async def test_after_a_lost_subscription_a_node_joins_under_a_new_id_with_all_its_users(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_nodes(own_redis.url, monkeypatch) as start:
        await lose_the_subscriptions(start)


async def lose_the_subscriptions(start: Start) -> None:
    nodes = await start(2)
    users = [uuid4() for _ in range(50)]
    peers = [await node.arrive(user) for user in users for node in nodes]
    before = {node.id for node in nodes}
    await nodes[0].redis.client_kill_filter(_type="pubsub")
    await until(lambda: not before & {node.id for node in nodes}, "both take a new id")
    await acquainted(nodes)
    await told(nodes, users)
    await reach(nodes[0], peers[:100:2])
    assert all(node.resynced for node in nodes)


async def test_connects_and_disconnects_while_a_node_is_away_are_announced_when_it_is_back(
    start: Start,
) -> None:
    here, there = await start(2)
    stays, goes, comes = uuid4(), uuid4(), uuid4()
    peer, leaving = await here.arrive(stays), await here.arrive(goes)
    await here.lost()
    here.manager.remove(leaving.connection)
    hold = here.presence.hold("change")
    async with asyncio.timeout(1):
        came = await here.arrive(comes)  # nobody waits for Redis
    hold.released.set()
    await here.back()
    await acquainted([here, there])
    await told([here, there], [stays, goes, comes])
    await reach(there, [peer, came])


async def test_a_user_who_connects_while_a_node_joins_is_notified(start: Start) -> None:
    here, there = await start(2)
    early, late = uuid4(), uuid4()
    await here.lost()
    await here.arrive(early)
    hold = here.presence.hold("change")
    await here.back()
    await hold.reached.wait()
    arriving = asyncio.create_task(here.arrive(late))
    await asyncio.sleep(0)
    assert not arriving.done()
    hold.released.set()
    await arriving
    await acquainted([here, there])
    await told([here, there], [early, late])


async def test_a_node_that_the_others_held_for_dead_joins_again(start: Start) -> None:
    here, there = await start(2)
    peer, before = await here.arrive(uuid4()), here.id
    await there.presence.forget(here.id)
    await until(lambda: here.id != before, "it learns that")
    await acquainted([here, there])
    await told([here, there], [peer.connection.user_id])
    await reach(there, [peer])


@pytest.mark.usefixtures("impatient")
async def test_a_node_that_hears_nothing_any_more_joins_again(start: Start) -> None:
    """A half-open connection: what the node sends itself doesn't come back, and no error tells."""
    here, there = await start(2)
    peer, before = await here.arrive(uuid4()), here.id
    here.presence.deaf = True
    await until(lambda: here.id != before, "it notices")
    here.presence.deaf = False
    await acquainted([here, there])
    await reach(there, [peer])


@pytest.mark.usefixtures("impatient")
async def test_a_node_that_hears_only_itself_stays(start: Start) -> None:
    nodes = await start(2)
    before = [node.id for node in nodes]
    await asyncio.sleep(1.2 * membership.UNRESPONSIVE_AFTER_SECONDS)
    assert [node.id for node in nodes] == before
    assert not any(node.reconciled for node in nodes)


async def test_a_node_that_can_not_write_who_is_there_joins_again(start: Start) -> None:
    here, there = await start(2)
    user, before = uuid4(), here.id
    here.presence.failing.add("change")
    async with asyncio.timeout(5):
        peer = await here.arrive(user)
    await until(lambda: here.id != before, "it joins again")
    here.presence.failing.clear()
    await acquainted([here, there])
    await told([here, there], [user])
    await reach(there, [peer])


async def test_a_node_joins_again_in_whatever_moment_it_loses_redis(start: Start) -> None:
    (node,) = await start(1)
    for steps in range(15):
        hold = node.presence.hold("beat")
        await hold.reached.wait()
        hold.released.set()
        for _ in range(steps):
            await settled()
        before = node.id
        node.membership.mark_lost()
        await until(lambda before=before: node.id != before and node.membership.joined, ("it joins again"))  # type: ignore[misc]


async def test_a_node_that_joins_again_does_not_take_itself_for_another(start: Start) -> None:
    (node,) = await start(1)
    await node.lost()
    await node.back()
    assert node.membership.others == frozenset()
    assert node.membership.alone


# Leaving


async def test_a_node_that_stops_leaves_nothing_behind(start: Start) -> None:
    here, there = await start(2)
    users = [uuid4() for _ in range(50)]
    for user in users:
        await here.arrive(user)
        await there.arrive(user)
    await here.stop()
    assert await table(there.presence, users) == truth([there])
    assert (await there.presence.beat(there.id, 60.0)).others == frozenset()


@pytest.mark.usefixtures("patient")
async def test_what_a_dead_node_left_is_cleaned_away_and_it_is_sent_nothing(start: Start) -> None:
    here, there, dead = await start(3)
    users = [uuid4() for _ in range(50)]
    peers = [await there.arrive(user) for user in users]
    for user in users:
        await dead.arrive(user)
    missed = dead.id
    hold = dead.presence.hold("beat")
    await hold.reached.wait()
    for node in (here, there):
        node.presence.failing.add("forget")  # not yet cleaned
    await here.presence.silence(missed)
    await until(lambda: here.membership.unresponsive == {missed}, "it is missed")
    await reach(here, peers)
    assert here.presence.pushed() == dict.fromkeys(users, 1)
    here.presence.failing.clear()
    await told([here, there], users)
    assert here.orphaned == there.orphaned == [], "others have its users"
    hold.released.set()
    await acquainted([here, there, dead])
    await told([here, there, dead], users)


@pytest.mark.usefixtures("patient")
async def test_users_of_a_dead_node_whom_no_other_has_are_named_once(start: Start) -> None:
    here, there, dead = await start(3)
    users = [uuid4() for _ in range(50)]
    for user in users:
        await dead.arrive(user)
    for user in users[:20]:
        await there.arrive(user)
    hold = dead.presence.hold("beat")
    await hold.reached.wait()
    await here.presence.silence(dead.id)
    await until(lambda: len(here.orphaned) + len(there.orphaned) >= 30, "they are named")
    await told([here, there], users)
    assert sorted([*here.orphaned, *there.orphaned]) == sorted(users[20:])
    hold.released.set()
