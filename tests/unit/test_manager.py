"""The index of a node's connections, and what is pushed over them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.effects import TokenBound
from app.realtime import manager as under_test
from app.realtime.connection import Connection
from app.realtime.logout import Logout
from app.realtime.manager import WebSocketManager
from app.realtime.protocol import CloseCode
from tests.support.peers import Peer, joined, nobody_cares, notification, pushes, seqs, settled

A, B, C = uuid4(), uuid4(), uuid4()

bounds = st.builds(TokenBound, st.integers(0, 4), st.lists(st.sampled_from("abc"), max_size=2).map(tuple))


def nobody_is_behind(connection: Connection) -> None:
    raise AssertionError(f"{connection.user_id} is taken to have missed something")


async def test_a_client_gets_the_event_type_and_the_whole_notification() -> None:
    manager = WebSocketManager(nobody_is_behind, nobody_cares)
    peer = joined(manager, A)
    manager.push(pushes(notification(A, 1)))
    (frame,) = peer.read()
    assert json.loads(bytes(frame.data)) == {
        "event_type": "group_user_added",
        "data": {
            "id": 1,
            "group_id": None,
            "group_name": None,
            "receiver": str(A),
            "created_at": "2026-11-21T07:00:00Z",
            "template_code": "GROUP_USER_ADDED",
            "raw_data": {"a": 1},
            "is_read": False,
            "title": "Phở",
            "content": "",
            "seq": 1,
        },
    }


async def test_all_connections_of_the_receiver_get_it_and_no_one_elses() -> None:
    manager = WebSocketManager(nobody_is_behind, nobody_cares)
    phone, laptop, other = joined(manager, A), joined(manager, A), joined(manager, B)
    assert manager.push(pushes(notification(A, 1), notification(C, 1))) == 2
    assert seqs(phone) == seqs(laptop) == [1]
    assert seqs(other) == []


async def test_what_goes_to_one_connection_is_joined_into_one_write() -> None:
    manager = WebSocketManager(nobody_is_behind, nobody_cares)
    a, b = joined(manager, A), joined(manager, B)
    mixed = [(A, 1), (B, 1), (A, 2), (A, 3), (B, 2)]
    assert manager.push(pushes(*(notification(user, seq) for user, seq in mixed))) == 5
    assert (a.transport.writes, b.transport.writes) == (1, 1)
    assert seqs(a) == [1, 2, 3]
    assert seqs(b) == [1, 2]


async def test_what_a_connection_was_sent_before_is_left_out() -> None:
    manager = WebSocketManager(nobody_is_behind, nobody_cares)
    early = joined(manager, A)
    manager.push(pushes(notification(A, 1), notification(A, 2)))
    late = joined(manager, A, last_seq=1)
    assert manager.push(pushes(notification(A, 2), notification(A, 3))) == 3
    assert seqs(early) == [1, 2, 3]
    assert seqs(late) == [2, 3]


async def test_a_connection_that_missed_something_gets_nothing_before_that_is_fetched() -> None:
    behind: list[Connection] = []
    manager = WebSocketManager(behind.append, nobody_cares)
    gap, none = joined(manager, A), joined(manager, A, last_seq=2)
    assert manager.push(pushes(notification(A, 3), notification(A, 4))) == 2
    assert behind == [gap.connection]
    assert gap.connection.cursor.target == 4
    assert seqs(gap) == []
    assert seqs(none) == [3, 4]


async def test_a_plain_client_receives_what_a_dead_node_may_not_have_delivered() -> None:
    manager = WebSocketManager(nobody_is_behind, nobody_cares)
    was_there, came_after = joined(manager, A), joined(manager, A, last_seq=2)
    manager.push(pushes(notification(A, 1), notification(A, 2)))
    late = [push._replace(redelivered=True) for push in pushes(notification(A, 2))]
    manager.push(late)
    manager.push(pushes(notification(A, 3)))
    manager.push(late)
    assert seqs(was_there) == [1, 2, 3]
    assert seqs(came_after) == [2, 3]


async def test_what_only_comes_late_is_not_sent_after_what_is_newer() -> None:
    manager = WebSocketManager(nobody_is_behind, nobody_cares)
    came_after = joined(manager, A, last_seq=2)
    manager.push(pushes(notification(A, 3)))
    manager.push(pushes(notification(A, 2)))
    assert seqs(came_after) == [3]


async def test_a_slow_client_does_not_keep_the_others_from_theirs() -> None:
    manager = WebSocketManager(nobody_is_behind, nobody_cares)
    slow, same_user, other = joined(manager, A), joined(manager, A), joined(manager, B)
    slow.transport.stalled = True
    manager.push(pushes(notification(A, 1, content="x" * 2000), notification(B, 1)))
    assert slow.close_code() == 4001
    assert seqs(same_user) == [1]
    assert seqs(other) == [1]
    assert manager.of(A) == (same_user.connection,)
    assert manager.push(pushes(notification(A, 2))) == 1


async def test_disconnect_closes_every_connection_of_the_user_and_no_one_elses() -> None:
    manager = WebSocketManager(nobody_is_behind, nobody_cares)
    phone, laptop, other = joined(manager, A), joined(manager, A), joined(manager, B)
    assert manager.disconnect(A, CloseCode.LOGGED_OUT, "logged out", Logout(0.0)) == 2
    assert phone.close_code() == laptop.close_code() == 4500
    assert other.close_code() is None
    assert (manager.of(A), manager.of(B)) == ((), (other.connection,))
    assert manager.disconnect(A, CloseCode.LOGGED_OUT, "again", Logout(0.0)) == 0
    assert manager.push(pushes(notification(A, 1))) == 0


async def test_a_logout_ends_only_the_connections_whose_token_it_covers() -> None:
    manager = WebSocketManager(nobody_is_behind, nobody_cares)
    older, newer, named = joined(manager, A), joined(manager, A), joined(manager, A)
    for peer, issued_at, token_id in ((older, 10, "a"), (newer, 11, "b"), (named, 12, "c")):
        claims = peer.connection.claims._replace(issued_at=issued_at, token_id=token_id)
        peer.connection.renew(claims)
    logout = Logout(0.0, TokenBound(10.5, ("c",)))
    assert manager.disconnect(A, CloseCode.LOGGED_OUT, "logged out", logout) == 2
    assert manager.of(A) == (newer.connection,)


@given(bounds, bounds, st.integers(0, 4), st.sampled_from("abc"))
def test_two_logouts_joined_end_what_either_ends(
    one: TokenBound, other: TokenBound, issued_at: int, token_id: str
) -> None:
    joint = Logout(1.0, one).joined(Logout(2.0, other))
    assert joint.moment == 2.0
    expected = one.covers(issued_at, token_id) or other.covers(issued_at, token_id)
    assert joint.bound.covers(issued_at, token_id) == expected


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=30))
async def test_the_index_holds_just_who_was_added_and_not_removed(steps: list[tuple[bool, int]]) -> None:
    manager = WebSocketManager(nobody_is_behind, nobody_cares)
    peers = [Peer(user) for user in (A, A, A, B, B, C)]
    there: list[Connection] = []
    for adding, number in steps:
        connection = peers[number].connection
        if adding and connection not in there:
            manager.add(connection)
            there.append(connection)
        elif not adding:
            manager.remove(connection)
            there = [other for other in there if other is not connection]
    assert set(manager) == set(there)
    assert len(manager) == len(there)
    for user in (A, B, C):
        assert list(manager.of(user)) == [other for other in there if other.user_id == user]


def users(connections: Iterable[Connection]) -> set[UUID]:
    return {connection.user_id for connection in connections}


async def test_drain_returns_when_all_have_answered() -> None:
    manager = WebSocketManager(nobody_is_behind, nobody_cares)
    peers = [joined(manager, user) for user in (A, A, B)]
    draining = asyncio.create_task(manager.drain(within=60))
    for peer in peers:
        async with asyncio.timeout(5):
            while peer.close_code() is None:  # noqa: ASYNC110 - a transport tells no one
                await asyncio.sleep(0.001)
        assert peer.close_code() == 1012
        assert not draining.done()
        peer.say()
    async with asyncio.timeout(5):
        await draining
    assert len(manager) == 0
    assert {peer.transport.ended for peer in peers} == {"closed"}


async def test_drain_aborts_those_that_stall() -> None:
    manager = WebSocketManager(nobody_is_behind, nobody_cares)
    polite, stalled = joined(manager, A), joined(manager, B)
    stalled.transport.stalled = True
    draining = asyncio.create_task(manager.drain(within=0.05))
    await settled()
    polite.read()
    polite.say()
    async with asyncio.timeout(5):
        await draining
    assert (polite.transport.ended, stalled.transport.ended) == ("closed", "aborted")
    assert not stalled.connection.connected


async def test_draining_nobody_returns_at_once() -> None:
    async with asyncio.timeout(5):
        await WebSocketManager(nobody_is_behind, nobody_cares).drain(within=60)


async def test_a_drain_spreads_the_closing_and_announces_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "MAX_CLOSES_PER_SECOND", 100)
    manager = WebSocketManager(nobody_is_behind, nobody_cares)
    peers = [joined(manager, uuid4()) for _ in range(20)]
    draining = asyncio.create_task(manager.drain(within=60))
    await settled()
    assert sum(peer.connection.open for peer in peers) >= 18
    async with asyncio.timeout(5):
        while not draining.done():
            for peer in peers:
                peer.read()
                peer.say()
            await asyncio.sleep(0.01)
    for peer in peers:
        assert peer.client.close_rcvd is not None
        assert peer.client.close_rcvd.reason == "restarting; reconnect_within_ms=1000"
