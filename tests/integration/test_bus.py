"""The bus, on a real Redis: what one node is notified of reaches all connections, or they are compared."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import msgspec
import pytest
import pytest_asyncio
from prometheus_client import REGISTRY

from app.realtime import bus as under_test
from app.realtime import membership
from app.realtime.bus import MAX_FRAMES_PER_PUBLICATION
from app.realtime.protocol import text_frame
from app.realtime.publication import Publication, Push, pack
from app.runtime.tasks import end
from tests.support.in_process import LEASE, Node, Start, at, now, rows, running_nodes, until
from tests.support.peers import notification, seqs, settled

FRAME = text_frame(b'{"type":"all_read"}')


@pytest_asyncio.fixture
async def start(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    async with running_nodes(redis_url, monkeypatch) as start:
        yield start


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who says nothing is soon held for dead."""
    monkeypatch.setattr(membership, "UNRESPONSIVE_AFTER_SECONDS", 1.0)


def unpublished() -> float:
    return REGISTRY.get_sample_value("hub_frames_unpublished_total") or 0.0


async def heard(node: Node) -> None:
    """Returns when the node has received what was sent to it before."""
    mark = uuid4()
    await node.presence.publish([(node.id, pack(Publication(logged_out=[(mark, 0.0)])))])
    await until(lambda: mark in node.gone, "it receives")


# Notifications and session frames


async def test_thousands_at_once_reach_the_connections_of_all_nodes_once_and_in_order(start: Start) -> None:
    nodes = await start(3)
    users = [uuid4() for _ in range(3)]
    peers = [await node.arrive(user) for node in nodes for user in users]
    nodes[0].bus.publish([notification(user, seq) for seq in range(1, 1001) for user in users])
    await at(1000, *peers)
    assert [seqs(peer) for peer in peers] == [[*range(1, 1001)]] * 9
    all_of_it = dict.fromkeys(users, 2 * 1000)
    await until(lambda: nodes[0].presence.pushed() == all_of_it, "each is published once for each node")
    assert len(nodes[0].presence.sent) == 2 * 3000 / MAX_FRAMES_PER_PUBLICATION, "packed"
    assert not any(node.behind or node.reconciled for node in nodes)


async def test_batches_of_several_nodes_arrive_in_the_order_of_each(start: Start) -> None:
    nodes = await start(2)
    chance = random.Random(7)
    of_node = {node: uuid4() for node in nodes}
    peers = [await node.arrive(user) for node in nodes for user in of_node.values()]
    for seq in range(1, 301):
        for node, user in of_node.items():
            node.bus.publish(rows(user, seq))
        if chance.random() < 0.2:
            await settled()
    await at(300, *peers)
    assert [seqs(peer) for peer in peers] == [[*range(1, 301)]] * 4
    assert not any(node.behind for node in nodes)


async def test_a_node_is_sent_only_what_its_own_users_receive(start: Start) -> None:
    here, there, elsewhere = await start(3)
    user, nobody = uuid4(), uuid4()
    own, peer, other = await here.arrive(user), await there.arrive(user), await elsewhere.arrive(uuid4())
    here.bus.publish([notification(nobody, 1), notification(user, 1)])
    here.bus.send_frame(nobody, FRAME)
    here.bus.publish([*rows(nobody, 2, 9), notification(user, 2)])
    await at(2, own, peer)
    assert here.presence.pushed() == {user: 2}
    await heard(elsewhere)
    assert (seqs(own), seqs(peer), seqs(other)) == ([1, 2], [1, 2], [])


async def test_who_left_a_node_is_not_sent_there_any_more(start: Start) -> None:
    here, there = await start(2)
    user, witness = uuid4(), uuid4()
    leaving, stays = await there.arrive(user), await there.arrive(witness)
    there.manager.remove(leaving.connection)
    await there.membership.user_connected(witness)  # written after what was to be
    here.bus.publish([notification(user, 1), notification(witness, 1)])
    await at(1, stays)
    assert here.presence.pushed() == {witness: 1}


async def test_what_redis_takes_long_to_pass_on_is_at_once_with_the_connections_here(start: Start) -> None:
    here, there = await start(2)
    user = uuid4()
    near, far = await here.arrive(user), await there.arrive(user)
    hold = here.presence.hold("publish")
    here.bus.publish(rows(user, 1))
    await hold.reached.wait()
    here.bus.publish(rows(user, 2))
    assert seqs(near) == [1, 2]
    assert seqs(far) == []
    hold.released.set()
    await at(2, far)
    assert seqs(far) == [1, 2]


# Alone


async def test_a_node_that_is_alone_asks_redis_nothing_until_another_joins(start: Start) -> None:
    (here,) = await start(1)
    user = uuid4()
    await here.arrive(user, session=True)
    for seq in range(1, 10):
        assert here.membership.alone
        here.bus.publish(rows(user, seq))
        here.bus.send_frame(user, FRAME)
        await settled()
    (there,) = await start(1)
    assert (here.presence.looked_up, here.presence.sent) == (0, [])
    peer = await there.arrive(user)
    peer.connection.cursor.sent(9)
    here.bus.publish(rows(user, 10))
    await at(10, peer)


async def test_that_nobody_else_is_there_is_believed_only_for_the_lease(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here,) = await start(1)
    here.bus.publish(rows(uuid4(), 1))
    monkeypatch.setattr(membership, "LEASE_SECONDS", 0.0)
    here.bus.publish(rows(uuid4(), 1))
    await until(lambda: here.presence.looked_up > 0, "it looks whether somebody is there")
    assert here.presence.looked_up == 1


async def test_who_joins_compares_now_and_once_more_after_the_lease(start: Start) -> None:
    (node,) = await start(1)
    began = now()
    node.membership.mark_lost()
    await until(lambda: node.resynced == 1, "it joins")
    first, *_ = node.reconciled
    assert first >= began
    await until(lambda: node.reconciled[-1] - first >= LEASE, "it compares after the lease")
    assert node.resynced == 1


async def test_what_other_devices_did_before_all_know_of_the_new_connection_is_resynced_too(
    start: Start,
) -> None:
    node, _ = await start(2)
    resynced = node.resynced
    node.membership.mark_lost()
    await until(lambda: node.resynced == resynced + 2, "at once, and after the lease")


# What can't be sent


async def test_too_much_for_redis_is_dropped_and_the_others_compare_instead(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "MAX_PENDING_FRAMES", 100)
    here, there = await start(2)
    user, before = uuid4(), unpublished()
    near, far = await here.arrive(user), await there.arrive(user)
    node = here.id
    hold = here.presence.hold("publish")
    here.bus.publish(rows(user, 1))
    await hold.reached.wait()
    for seq in range(2, 302):
        here.bus.publish(rows(user, seq))
    assert (near.connection.cursor.last_seq, there.reconciled) == (301, [])
    hold.released.set()
    await until(lambda: there.resynced == 1, "the other is notified")
    await until(
        lambda: here.presence.pushed()[user] + unpublished() - before == 301,
        "each is sent or counted as dropped",
    )
    assert 1 <= here.presence.pushed()[user] <= 100
    assert len(there.reconciled) == 1
    assert here.id == node, "nothing is wrong with Redis"
    far.connection.cursor.sent(301)  # it compared
    far.connection.cursor.go_live()
    here.bus.publish(rows(user, 302))
    await at(302, far)


async def test_what_is_dropped_while_the_others_are_asked_to_compare_is_delivered_too(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = await start(2)
    user = uuid4()
    peer = await there.arrive(user)
    await here.lost()
    here.bus.publish(rows(user, 1))
    hold = here.presence.hold("reconcile")
    await here.back()
    await hold.reached.wait()
    monkeypatch.setattr(under_test, "MAX_PENDING_FRAMES", 0)
    here.bus.publish(rows(user, 2))
    here.bus.publish(rows(user, 3))
    peer.connection.cursor.sent(3)
    hold.released.set()
    await until(lambda: there.resynced > 0, "the other is notified")
    for seq in (4, 5):
        here.bus.publish(rows(user, seq))
        await at(seq, peer)
    assert there.resynced == 2


async def test_what_redis_refused_is_made_good_once_it_answers(start: Start) -> None:
    here, there = await start(2)
    user, node = uuid4(), here.id
    near, far = await here.arrive(user), await there.arrive(user)
    here.presence.failing.add("publish")
    here.bus.publish(rows(user, 1, 700))
    await until(lambda: here.id != node, "it joins again")
    assert (seqs(near), there.resynced) == ([*range(1, 701)], 0)
    here.presence.failing.clear()
    await until(lambda: there.resynced == 1, "the other compares")
    far.connection.cursor.sent(700)
    here.bus.publish(rows(user, 701))
    await at(701, far)


async def test_all_that_is_dropped_is_counted(start: Start) -> None:
    here, there = await start(2)
    before = unpublished()
    await there.arrive(user := uuid4())
    here.presence.failing.add("publish")
    here.bus.publish(rows(user, 1, MAX_FRAMES_PER_PUBLICATION + 1))
    await until(lambda: unpublished() > before, "they are dropped")
    assert unpublished() - before == MAX_FRAMES_PER_PUBLICATION + 1


async def test_what_comes_while_a_node_is_not_joined_is_made_good_when_it_is(start: Start) -> None:
    here, there = await start(2)
    user, before = uuid4(), unpublished()
    near = await here.arrive(user, session=True)
    await here.lost()
    here.bus.publish(rows(user, 1, 5))
    here.bus.send_frame(user, FRAME)
    assert (unpublished() - before, there.resynced) == (6, 0)
    assert len(near.read()) == 6
    await here.back()
    await until(lambda: there.resynced == 1, "the other compares")


# What comes in


@pytest.mark.parametrize(
    "publication",
    [
        b"\xc1",
        b"{}",
        pack(Publication([Push(UUID(int=1), 1, b"x")]))[:-4],
        msgspec.msgpack.encode([[[1, 2]]]),
    ],
)
async def test_what_can_not_be_read_is_survived_and_has_the_node_compare(
    start: Start, publication: bytes
) -> None:
    here, there = await start(2)
    user, node = uuid4(), there.id
    peer = await there.arrive(user)
    await here.redis.publish(there.presence.channel(there.id), publication)
    here.bus.publish(rows(user, 1))
    await at(1, peer)
    assert len(there.reconciled) == 1
    assert there.id == node


async def test_what_other_devices_did_may_stand_in_what_can_not_be_read(start: Start) -> None:
    here, there = await start(2)
    user = uuid4()
    peer = await there.arrive(user)
    await here.redis.publish(there.presence.channel(there.id), b"\xc1")
    here.bus.publish(rows(user, 1))
    await at(1, peer)
    assert there.resynced == 1


async def test_a_publication_of_a_newer_version_is_understood(start: Start) -> None:
    here, there = await start(2)
    user = uuid4()
    peer = await there.arrive(user)
    newer = [[[user.bytes, 1, FRAME]], [], False, [], {"more": 1}]
    await here.redis.publish(there.presence.channel(there.id), msgspec.msgpack.encode(newer))
    await at(1, peer)
    assert there.reconciled == []


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("how", ["leaves", "dies"])
async def test_when_a_node_vanishes_the_others_compare(start: Start, how: str) -> None:
    here, there = await start(2)
    if how == "leaves":
        await here.stop()
    else:
        here.presence.failing.add("beat")
    await until(lambda: not there.membership.others, "it has vanished")
    assert len(there.reconciled) == 1


# The end


async def test_what_is_pending_at_the_end_is_sent(start: Start) -> None:
    here, there = await start(2)
    user = uuid4()
    peer = await there.arrive(user)
    here.bus.publish(rows(user, 1, 2000))
    await here.bus.stop()
    await at(2000, peer)
    assert seqs(peer) == [*range(1, 2001)]


async def test_what_is_being_sent_at_the_end_is_made_good(start: Start) -> None:
    here, there = await start(2)
    user = uuid4()
    await there.arrive(user)
    hold = here.presence.hold("publish")
    here.bus.publish(rows(user, 1))
    await hold.reached.wait()
    here.presence.let_pass()
    await here.bus.stop()
    await heard(there)
    assert there.resynced == 1


async def test_the_end_is_not_put_off_for_long_by_a_redis_that_hangs(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "FLUSH_TIMEOUT_SECONDS", 0.2)
    here, there = await start(2)
    await there.arrive(user := uuid4())
    here.presence.hold("publish")
    here.bus.publish(rows(user, 1))
    began = now()
    await here.bus.stop()
    assert 0.15 < now() - began < 5


async def test_the_end_comes_whatever_is_in_progress(start: Start) -> None:
    nodes = await start(2)
    await nodes[1].arrive(user := uuid4())
    hung = []
    for steps in range(20):
        nodes[0].bus.publish(rows(user, steps + 1))
        for _ in range(steps):
            await settled()
        stopping = asyncio.create_task(nodes[0].bus.stop())
        if not (await asyncio.wait({stopping}, timeout=5))[0]:
            hung.append(steps)
            await end(stopping)
        await nodes[0].bus.start()
    assert hung == []
