"""Logouts on a real Redis: they end a user's connections on every node, and spare those asked for after."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio

from app.domain.effects import TokenBound
from app.realtime import bus as under_test
from app.realtime.bus import LOGOUT_REPEAT_SECONDS
from tests.support.in_process import Clock, Start, acquainted, now, running_nodes, until

LOGGED_OUT = 4500


@pytest_asyncio.fixture
async def start(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    async with running_nodes(redis_url, monkeypatch) as start:
        yield start


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def test_a_logout_ends_the_users_connections_on_all_nodes_and_no_one_elses(start: Start) -> None:
    nodes = await start(3)
    user, other = uuid4(), uuid4()
    peers = [await node.arrive(user) for node in nodes for _ in range(2)]
    others = [await node.arrive(other) for node in nodes]
    nodes[0].bus.disconnect(user)
    await until(lambda: all(user in node.gone for node in nodes), "all nodes hear of it")
    assert [peer.close_code() for peer in peers] == [LOGGED_OUT] * 6
    assert [peer.close_code() for peer in others] == [None] * 3
    assert [node.gone for node in nodes] == [[user]] * 3


async def test_a_node_hears_of_a_logout_of_a_user_it_does_not_know(start: Start) -> None:
    """A token it knows may be that user's, or a client be on its way."""
    here, there = await start(2)
    since, user = now(), uuid4()
    here.bus.disconnect(user)
    await until(lambda: there.gone == [user], "the other hears of it")
    assert there.bus.logged_out(user, since)


async def test_a_logout_that_is_redelivered_late_spares_connections_asked_for_after_it(
    start: Start, clock: Clock
) -> None:
    nodes = await start(2)
    user = uuid4()
    clock.ahead = LOGOUT_REPEAT_SECONDS + 1  # the nodes have been joined for some time
    after = [await node.arrive(user, asked_at=clock.now() - 29) for node in nodes]
    nodes[0].bus.disconnect(user, seconds_ago=30)
    await until(lambda: nodes[1].gone == [user], "the other hears of it")
    assert [peer.close_code() for peer in after] == [None] * 2


async def test_which_tokens_a_logout_ends_is_told_to_all_nodes_and_to_who_joins(start: Start) -> None:
    nodes = await start(2)
    user, since = uuid4(), now()
    bound = TokenBound(100.5, ("named",))
    peers = [await node.arrive(user) for node in nodes]
    newer = peers[0].connection.claims._replace(issued_at=101, token_id="newer")
    for peer in peers:
        peer.connection.renew(newer)
    nodes[0].bus.disconnect(user, bound=bound)
    nodes += await start(1)
    await until(lambda: all(user in node.gone for node in nodes), "all nodes hear of it")
    assert [peer.close_code() for peer in peers] == [None] * 2
    for node in nodes:
        assert node.bus.logged_out(user, since - 1, newer._replace(issued_at=100))
        assert node.bus.logged_out(user, since - 1, newer._replace(token_id="named"))
        assert not node.bus.logged_out(user, since - 1, newer)


# Who joins


async def test_who_joins_hears_of_recent_logouts_with_their_age(start: Start) -> None:
    (here,) = await start(1)
    users = [uuid4() for _ in range(3)]
    for seconds_ago, user in zip((9, 5, 0), users, strict=True):
        here.bus.disconnect(user, seconds_ago)
    began = now()
    (there,) = await start(1)
    await until(lambda: sorted(there.gone) == sorted(users), "it hears of all")
    assert not there.bus.logged_out(users[0], began - 8)
    assert there.bus.logged_out(users[0], began - 10)
    assert not there.bus.logged_out(users[1], began - 4)
    assert there.bus.logged_out(users[2], began - 1)


async def test_who_could_not_be_reached_hears_of_it_when_it_is_back(start: Start) -> None:
    nodes = await start(3)
    user, later = uuid4(), uuid4()
    peer = await nodes[1].arrive(user)
    await nodes[1].lost()
    nodes[0].bus.disconnect(user)
    await nodes[1].back()
    await until(lambda: not peer.connection.open, "it hears of it")
    assert peer.close_code() == LOGGED_OUT
    await acquainted(nodes)
    nodes[0].bus.disconnect(later)
    await until(lambda: all(later in node.gone for node in nodes), "all hear of the next")


async def test_what_a_node_received_while_it_was_away_reaches_the_others_when_it_is_back(
    start: Start, clock: Clock
) -> None:
    nodes = await start(3)
    user, later = uuid4(), uuid4()
    peers = [await node.arrive(user) for node in nodes]
    await nodes[0].lost()
    nodes[0].bus.disconnect(user)
    assert [peer.close_code() for peer in peers] == [LOGGED_OUT, None, None]
    clock.ahead = 100.0  # however long that takes
    nodes[0].bus.disconnect(later)
    await nodes[0].back()
    await until(lambda: all(user in node.gone for node in nodes), "all hear of it")
    assert [peer.close_code() for peer in peers] == [LOGGED_OUT] * 3


async def test_what_a_node_received_while_it_was_away_is_not_forgotten_while_it_joins(
    start: Start, clock: Clock
) -> None:
    here, there = await start(2)
    user, meanwhile = uuid4(), uuid4()
    peer = await there.arrive(user)
    await here.lost()
    here.bus.disconnect(user)
    clock.ahead = LOGOUT_REPEAT_SECONDS + 1
    hold = here.presence.hold("change")
    await here.back()
    await hold.reached.wait()
    here.bus.disconnect(meanwhile)
    hold.released.set()
    await until(lambda: {user, meanwhile} <= {*there.gone}, "the other hears of both")
    assert peer.close_code() == LOGGED_OUT


async def test_who_was_cut_off_for_a_minute_hears_of_its_logouts_when_it_is_back(
    start: Start, clock: Clock
) -> None:
    here, there = await start(2)
    user, later = uuid4(), uuid4()
    peer = await there.arrive(user)
    await there.lost()
    here.bus.disconnect(user)
    clock.ahead = 60.0
    here.bus.disconnect(later)
    await there.back()
    await until(lambda: later in there.gone, "it hears of the later one")
    assert not peer.connection.open


@pytest.mark.parametrize("failing", ["publish", "beat"])
async def test_a_logout_that_redis_refused_is_sent_again(start: Start, failing: str) -> None:
    here, there = await start(2)
    user, node = uuid4(), here.id
    peer = await there.arrive(user)
    here.presence.failing |= {"publish", failing}
    here.bus.disconnect(user)
    await until(lambda: here.id != node, "it joins again")
    here.presence.failing.clear()
    await until(lambda: not peer.connection.open, "the other hears of it")
    assert peer.close_code() == LOGGED_OUT


# The end


async def test_a_logout_just_before_the_end_is_sent(start: Start) -> None:
    here, there = await start(2)
    user = uuid4()
    peer = await there.arrive(user)
    here.bus.disconnect(user)
    await here.bus.stop()
    await until(lambda: there.gone == [user], "the other hears of it")
    assert peer.close_code() == LOGGED_OUT


async def test_a_logout_that_is_being_sent_at_the_end_is_sent(start: Start) -> None:
    here, there = await start(2)
    user, last = uuid4(), uuid4()
    peer = await there.arrive(user)
    hold = here.presence.hold("publish")
    here.bus.disconnect(user)
    await hold.reached.wait()
    here.presence.let_pass()
    here.bus.disconnect(last)
    await here.bus.stop()
    await until(lambda: last in there.gone, "the other hears of what was pending")
    assert peer.close_code() == LOGGED_OUT


async def test_who_has_just_joined_hears_of_logouts_from_a_node_that_ends(start: Start) -> None:
    (here,) = await start(1)
    user = uuid4()
    here.bus.disconnect(user)
    hold = here.presence.hold("publish")
    (there,) = await start(1)
    await hold.reached.wait()
    here.presence.let_pass()
    await here.bus.stop()
    await until(lambda: there.gone == [user], "it hears of it")


# What is remembered


async def test_whether_a_user_logged_out_since_a_moment_is_remembered(start: Start) -> None:
    (node,) = await start(1)
    user, before = uuid4(), now()
    assert not node.bus.logged_out(user, 0.0)
    node.bus.disconnect(user)
    assert node.bus.logged_out(user, before)
    assert not node.bus.logged_out(user, now() + 1)
    assert not node.bus.logged_out(uuid4(), before)


async def test_who_asked_in_the_moment_of_the_logout_is_out_whether_registered_before_or_after_it(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uvloop's clock does not advance for a millisecond and longer."""
    (node,) = await start(1)
    moment = now()
    monkeypatch.setattr(under_test, "_now", lambda: moment)
    peer = await node.arrive(user := uuid4(), asked_at=moment)
    node.bus.disconnect(user)
    assert peer.close_code() == LOGGED_OUT
    assert node.bus.logged_out(user, since=moment)


async def test_an_older_logout_that_is_redelivered_does_not_undo_a_newer_one(start: Start) -> None:
    (node,) = await start(1)
    user = uuid4()
    node.bus.disconnect(user, seconds_ago=1)
    node.bus.disconnect(user, seconds_ago=5)
    assert node.bus.logged_out(user, since=now() - 3)


async def test_logouts_are_forgotten_after_a_while(start: Start, clock: Clock) -> None:
    (node,) = await start(1)
    old, recent, last = uuid4(), uuid4(), uuid4()
    began = clock.now()
    clock.ahead = LOGOUT_REPEAT_SECONDS  # long joined
    node.bus.disconnect(old)
    clock.ahead += LOGOUT_REPEAT_SECONDS - 1
    node.bus.disconnect(recent)
    assert node.bus.logged_out(old, began)
    clock.ahead += 2
    node.bus.disconnect(last)
    assert [node.bus.logged_out(user, began) for user in (old, recent, last)] == [False, True, True]


async def test_a_user_who_logs_out_again_is_remembered_from_then_on(start: Start, clock: Clock) -> None:
    (node,) = await start(1)
    often, once, last = uuid4(), uuid4(), uuid4()
    began = clock.now()
    clock.ahead = LOGOUT_REPEAT_SECONDS
    for user, later in ((often, 1), (once, LOGOUT_REPEAT_SECONDS - 1), (often, 2)):
        node.bus.disconnect(user)
        clock.ahead += later
    node.bus.disconnect(last)
    assert [node.bus.logged_out(user, began) for user in (often, once, last)] == [True, False, True]


async def test_only_so_many_are_remembered_however_long_redis_is_away(
    start: Start, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "MAX_REPEATED_LOGOUTS", 5)
    (node,) = await start(1)
    await node.lost()
    users = [uuid4() for _ in range(8)]
    began = clock.now()
    for user in users:
        clock.ahead += 100
        node.bus.disconnect(user)
    assert [node.bus.logged_out(user, began) for user in users] == [False] * 3 + [True] * 5
