"""The comparison of connections with their inboxes, on a real Postgres: nobody misses anything for long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import pairwise
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.errors import Unavailable
from app.domain.notifications import Notification
from app.realtime import reconciler as under_test
from app.realtime.catch_up import CatchUp
from app.realtime.inboxes import PAGE_ROWS, InboxReader
from app.realtime.manager import WebSocketManager
from app.realtime.protocol import CloseCode
from app.realtime.reconciler import Reconciler
from app.runtime import tasks
from app.runtime.backoff import Backoff
from app.store.inboxes import InboxState, InboxStore
from app.store.writer import BatchWriter
from tests.support.hub import eventually
from tests.support.peers import Peer, joined, nobody_cares, pushes, seqs
from tests.support.store import engine_on, entry

AWAY = Unavailable("postgres", "gone")


@pytest_asyncio.fixture(scope="module")
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    pool = engine_on(database)
    yield pool
    await pool.dispose()


class Store(InboxStore):
    """The real one, which fails or waits when told to."""

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine)
        self.compared: list[float] = []
        """When inboxes were compared (loop time)."""
        self.fetched: list[UUID] = []
        self.errors: list[Exception] = []
        self.unreadable = False
        self.answers = asyncio.Event()
        self.answers.set()
        self.answered = asyncio.Event()

    async def last_seqs(self, users: Sequence[UUID]) -> Sequence[tuple[UUID, int]]:
        self.compared.append(asyncio.get_running_loop().time())
        await self.answers.wait()
        if self.errors:
            raise self.errors.pop(0)
        found = await super().last_seqs(users)
        self.answered.set()
        return found

    async def states(self, wanted: Sequence[tuple[UUID, int | None]], most: int) -> list[InboxState]:
        self.fetched += (user for user, _ in wanted)
        if self.unreadable:
            raise AWAY
        return await super().states(wanted, most)


class Membership:
    joined = True


class Node:
    """All of a node that has to do with inboxes."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.store = Store(engine)
        self.reader = InboxReader(self.store)
        self.catch_up = CatchUp(self.reader)
        self.manager = WebSocketManager(self.catch_up.start, nobody_cares)
        self.membership = Membership()
        self.reconciler = Reconciler(self.manager, self.store, self.catch_up, self.membership)  # type: ignore[arg-type]
        self._writer = BatchWriter(engine)

    async def commit(self, *receivers: UUID) -> list[Notification]:
        """One notification each, which no connection gets."""
        return (await self._writer.write([entry(user) for user in receivers])).notifications

    async def compared(self) -> None:
        """Returns when whatever was asked for until now is done: they are compared one after the other."""
        witness = joined(self.manager, uuid4())
        await self.commit(witness.connection.user_id)
        self.reconciler.soon()
        await until(lambda: witness.connection.cursor.last_seq == 1, "the next comparison is done")
        self.manager.remove(witness.connection)


@pytest.fixture
def constants(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compares just when asked."""
    for name, value in (("TICK_SECONDS", 0.05), ("CONNECTED_TICK_COUNT", 10**9), ("GRACE_SECONDS", 0.05)):
        monkeypatch.setattr(under_test, name, value)
    monkeypatch.setattr(under_test, "RETRY_BACKOFF", Backoff(0.05, 0.05))
    monkeypatch.setattr(tasks, "CANCEL_AGAIN_SECONDS", 0.1)


@pytest_asyncio.fixture
async def node(engine: AsyncEngine, constants: None) -> AsyncIterator[Node]:
    node = Node(engine)
    await node.reconciler.start()
    yield node
    await node.reconciler.stop()
    await node.reader.close()


async def until(holds: Callable[[], bool], what: str) -> None:
    async def ask() -> bool:
        return holds()

    await eventually(ask, what)


def at(seq: int, *peers: Peer) -> Callable[[], bool]:
    """Whether all have come that far."""
    return lambda: all(peer.connection.cursor.last_seq == seq for peer in peers)


async def test_whoever_misses_something_gets_all_of_it_in_order_and_nobody_else(node: Node) -> None:
    user, other = uuid4(), uuid4()
    await node.commit(*[user] * 5, other)
    all_missed, some, none = (joined(node.manager, user, last_seq=seq) for seq in (0, 2, 5))
    others, new = joined(node.manager, other, last_seq=1), joined(node.manager, uuid4())
    node.reconciler.soon()
    await until(at(5, all_missed, some), "both have all")
    await node.compared()
    assert seqs(all_missed) == [1, 2, 3, 4, 5]
    assert seqs(some) == [3, 4, 5]
    assert (seqs(none), seqs(others), seqs(new)) == ([], [], [])
    assert node.store.fetched[:2] == [user, user]
    assert other not in node.store.fetched


async def test_live_notifications_follow_what_was_fetched(node: Node) -> None:
    user = uuid4()
    await node.commit(*[user] * 3)
    peer = joined(node.manager, user)
    node.reconciler.soon()
    await until(at(3, peer), "it has what it missed")
    node.manager.push(pushes(*await node.commit(user, user)))
    assert seqs(peer) == [1, 2, 3, 4, 5]
    assert peer.connection.cursor.live


async def test_more_than_a_page_is_fetched_page_by_page(node: Node) -> None:
    user = uuid4()
    await node.commit(*[user] * (2 * PAGE_ROWS + 7))
    peer = joined(node.manager, user)
    node.reconciler.soon()
    await until(at(2 * PAGE_ROWS + 7, peer), "it has all")
    assert seqs(peer) == list(range(1, 2 * PAGE_ROWS + 8))
    assert node.store.fetched == [user] * 3


async def test_more_inboxes_than_one_query_takes_are_all_compared(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "MAX_INBOXES_PER_QUERY", 3)
    users = [uuid4() for _ in range(10)]
    await node.commit(*users)
    peers = [joined(node.manager, user) for user in users]
    node.reconciler.soon()
    await until(at(1, *peers), "all have theirs")
    assert [seqs(peer) for peer in peers] == [[1]] * 10
    assert len(node.store.compared) == 4


async def test_what_arrives_meanwhile_is_not_fetched(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "GRACE_SECONDS", 0.3)
    on_its_way, lost = uuid4(), uuid4()
    peer, misses = joined(node.manager, on_its_way), joined(node.manager, lost)
    committed = await node.commit(on_its_way, lost)
    node.reconciler.soon()
    await node.store.answered.wait()
    node.manager.push(pushes(committed[0]))
    await until(at(1, misses), "what doesn't arrive is fetched")
    assert node.store.fetched == [lost]
    assert (seqs(peer), seqs(misses)) == ([1], [1])


async def test_a_connection_that_is_being_brought_up_to_date_learns_how_far_to_go(node: Node) -> None:
    user = uuid4()
    await node.commit(*[user] * 4)
    peers = [joined(node.manager, user) for _ in range(2)]
    for peer in peers:
        assert peer.connection.cursor.request_resume()
    peers[1].connection.cursor.pushed(9)
    await node.compared()
    assert [peer.connection.cursor.target for peer in peers] == [4, 9]
    assert user not in node.store.fetched
    assert [seqs(peer) for peer in peers] == [[], []]
    assert not any(peer.connection.cursor.live for peer in peers)


async def test_nothing_is_fetched_for_who_leaves_meanwhile(node: Node) -> None:
    user = uuid4()
    await node.commit(user)
    peer = joined(node.manager, user)
    node.reconciler.soon()
    await node.store.answered.wait()
    peer.connection.close(CloseCode.LOGGED_OUT)
    await node.compared()
    assert user not in node.store.fetched
    assert peer.close_code() == CloseCode.LOGGED_OUT


async def test_who_asks_during_a_comparison_gets_another(node: Node) -> None:
    first, late = uuid4(), uuid4()
    await node.commit(first, late)
    early = joined(node.manager, first)
    node.store.answers.clear()
    node.reconciler.soon()
    await until(lambda: len(node.store.compared) == 1, "the comparison began")
    came_later = joined(node.manager, late)
    node.reconciler.soon()
    node.store.answers.set()
    await until(at(1, early, came_later), "both have theirs")


async def test_while_postgres_is_away_it_is_asked_again_until_it_answers(node: Node) -> None:
    user = uuid4()
    await node.commit(user)
    peer = joined(node.manager, user)
    node.store.errors = [AWAY, AWAY, AWAY]
    node.reconciler.soon()
    await until(at(1, peer), "it has what it missed")
    assert len(node.store.compared) == 4
    pauses = [later - earlier for earlier, later in pairwise(node.store.compared)]
    assert min(pauses) > 0.8 * 0.05 / 2


async def test_a_comparison_that_meets_a_bug_is_not_the_last(node: Node) -> None:
    user = uuid4()
    await node.commit(user)
    peer = joined(node.manager, user)
    node.store.errors = [RuntimeError("a bug")]
    node.reconciler.soon()
    await until(lambda: not node.store.errors, "the comparison failed")
    node.reconciler.soon()
    await until(at(1, peer), "it has what it missed")


async def test_a_client_that_cannot_be_caught_up_is_closed_as_overloaded(node: Node) -> None:
    user = uuid4()
    await node.commit(user)
    peer, uptodate = joined(node.manager, user), joined(node.manager, user, last_seq=1)
    node.store.unreadable = True
    node.reconciler.soon()
    await until(lambda: not peer.connection.open, "it is closed")
    assert peer.close_code() == CloseCode.OVERLOADED
    assert uptodate.close_code() is None


async def test_without_redis_all_are_compared_every_tick_unasked(node: Node) -> None:
    user = uuid4()
    await node.commit(user)
    peer = joined(node.manager, user)
    node.membership.joined = False
    await until(at(1, peer), "it has what it missed")
    await node.commit(user)
    await until(at(2, peer), "it has the next one too")


async def test_with_redis_all_are_compared_now_and_then_unasked(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = uuid4()
    await node.commit(user)
    peer = joined(node.manager, user)
    monkeypatch.setattr(under_test, "CONNECTED_TICK_COUNT", 2)
    await until(lambda: len(node.store.compared) >= 3, "they are compared")
    assert seqs(peer) == [1]
    pauses = [later - earlier for earlier, later in pairwise(node.store.compared)]
    assert min(pauses) > 0.8 * 2 * under_test.TICK_SECONDS


async def test_after_its_end_nothing_is_compared(node: Node) -> None:
    joined(node.manager, uuid4())
    await node.compared()
    async with asyncio.timeout(5):
        await node.reconciler.stop()
    before = len(node.store.compared)
    node.reconciler.soon()
    await asyncio.sleep(2 * under_test.TICK_SECONDS)
    assert len(node.store.compared) == before


async def test_it_ends_though_it_is_asked_in_the_same_moment(node: Node) -> None:
    await node.compared()
    node.reconciler.soon()
    async with asyncio.timeout(5):
        await node.reconciler.stop()
