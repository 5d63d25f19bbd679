"""Which tokens a round of the revocation watch checks."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

from app.auth.revocation_feed import Changed
from app.auth.tokens import Claims
from app.domain.errors import Unavailable
from app.realtime.manager import WebSocketManager
from app.realtime.protocol import CloseCode
from app.realtime.revocations import SWEEP_COUNT, RevocationWatch
from tests.support.peers import Peer, joined, nobody_cares

NOTHING = Changed()


class Redis:
    """The revocations of the tests, and what was asked of them."""

    def __init__(self) -> None:
        self.revoked_tokens: set[Claims] = set()
        self.checked: list[Claims] = []
        self.reviewed: list[Callable[[Claims], bool] | None] = []
        self.away = False

    async def revoked(self, tokens: list[Claims]) -> list[bool]:
        if self.away:
            raise Unavailable("redis", "it is away")
        self.checked += tokens
        return [token in self.revoked_tokens for token in tokens]

    async def review(
        self, in_use: Callable[[Claims], bool], concerned: Callable[[Claims], bool] | None
    ) -> None:
        self.reviewed.append(concerned)

    def took(self) -> list[Claims]:
        checked, self.checked = self.checked, []
        return checked


class Feed:
    """Says what the test says."""

    def __init__(self) -> None:
        self.next: Changed | None = NOTHING

    async def changed(self) -> Changed | None:
        return self.next


def node(count: int) -> tuple[WebSocketManager, list[Peer]]:
    manager = WebSocketManager(lambda _: None, nobody_cares)
    return manager, [joined(manager, uuid4()) for _ in range(count)]


async def test_a_round_costs_what_was_revoked_not_how_many_are_connected() -> None:
    redis, feed, (manager, peers) = Redis(), Feed(), node(4 * SWEEP_COUNT)
    watch = RevocationWatch(manager, redis, feed)
    revoked = peers[7].connection
    redis.revoked_tokens = {revoked.claims}
    feed.next = Changed(users=frozenset({revoked.user_id}))
    await watch.check()
    assert len(redis.took()) <= 5
    assert revoked.close_code == CloseCode.TOKEN_REVOKED
    assert [peer for peer in peers if peer.connection.close_code is not None] == [peers[7]]


async def test_a_token_that_is_named_and_not_revoked_stays() -> None:
    redis, feed, (manager, peers) = Redis(), Feed(), node(2)
    feed.next = Changed(tokens=frozenset({peers[0].connection.claims.token_id.lower()}))
    await RevocationWatch(manager, redis, feed).check()
    assert peers[0].connection.claims in redis.took()
    assert peers[0].connection.close_code is None


async def test_the_sweep_has_all_connections_in_their_turn() -> None:
    redis, (manager, peers) = Redis(), node(2 * SWEEP_COUNT + 5)
    watch = RevocationWatch(manager, redis, Feed())
    redis.revoked_tokens = {peers[-1].connection.claims}  # which no feed has named
    for _ in range(SWEEP_COUNT):
        await watch.check()
    assert {peer.connection.claims for peer in peers} == {*redis.checked}
    assert len(redis.checked) < 2 * len(peers)
    assert peers[-1].connection.close_code == CloseCode.TOKEN_REVOKED


async def test_all_are_checked_while_changes_are_unknown() -> None:
    redis, feed, (manager, peers) = Redis(), Feed(), node(700)
    feed.next = None
    watch = RevocationWatch(manager, redis, feed)
    await watch.check()
    assert len(redis.took()) == len(peers)
    assert redis.reviewed == [None]
    await RevocationWatch(manager, redis, None).check()
    assert len(redis.took()) == len(peers)


async def test_all_are_checked_after_a_round_that_redis_did_not_answer() -> None:
    redis, feed, (manager, peers) = Redis(), Feed(), node(3)
    watch = RevocationWatch(manager, redis, feed)
    feed.next = Changed(users=frozenset({peers[0].connection.user_id}))
    redis.away = True
    await watch.check()
    redis.away, feed.next = False, NOTHING
    await watch.check()
    assert len(redis.took()) == len(peers)
    await watch.check()
    assert len(redis.took()) == 1


async def test_cached_tokens_are_reviewed_by_what_changed() -> None:
    redis, feed, (manager, peers) = Redis(), Feed(), node(1)
    claims = peers[0].connection.claims
    watch = RevocationWatch(manager, redis, feed)
    await watch.check()
    feed.next = Changed(users=frozenset({claims.user_id}))
    await watch.check()
    quiet, concerned = redis.reviewed
    assert quiet is not None
    assert concerned is not None
    assert not quiet(claims)
    assert concerned(claims)
    assert not concerned(claims._replace(user_id=uuid4()))
