"""What a token is still good for while Redis is away: REST, if it held lately."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from uuid import uuid4

import pytest
import pytest_asyncio

from app.auth import revocations as under_test
from app.auth.revocations import CACHED_SECONDS, RETRY_SECONDS, RevocationStore
from app.auth.tokens import Claims
from app.domain.errors import Unauthorized, Unavailable
from app.runtime.redis import Client, connect
from tests.support.redis_server import RedisServer
from tests.support.settings import settings_on

ISSUED = 1_800_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest_asyncio.fixture
async def redis(server: RedisServer) -> AsyncIterator[Client]:
    """Empty, and there until the test kills it."""
    server.kill()
    server.start()
    async with connect(settings_on(server.url, redis_timeout=0.5).redis) as client:
        yield client


@pytest.fixture
def state(redis: Client) -> RevocationStore:
    return RevocationStore(redis)


class Monotonic:
    """A clock that goes when told."""

    def __init__(self) -> None:
        self.now = 0.0  # a machine that has just started

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Monotonic:
    clock = Monotonic()
    monkeypatch.setattr(under_test, "time", clock)
    return clock


def claims() -> Claims:
    """Of a user and a token nobody else has."""
    return Claims(uuid4(), str(uuid4()), ISSUED, ISSUED + 3600)


async def accepted(state: RevocationStore, claims: Claims) -> bool:
    """Whether it does; False while nobody can tell."""
    try:
        await state.check_or_cached(claims)
    except Unavailable as error:
        assert error.dependency == "redis"  # noqa: PT017
        return False
    return True


async def revoke(redis: Client, claims: Claims) -> None:
    await redis.set(f"user-service:jwt-blocklist:{claims.token_id}", "1")


async def test_a_known_token_passes_while_redis_is_away_and_an_unknown_one_does_not(
    state: RevocationStore, server: RedisServer
) -> None:
    known, unknown = claims(), claims()
    await state.check_or_cached(known)
    server.kill()
    assert await accepted(state, known)
    assert await accepted(state, known)
    assert not await accepted(state, unknown)
    assert not await accepted(state, known._replace(token_id=unknown.token_id))
    assert not await accepted(state, unknown._replace(token_id=known.token_id))


async def test_a_sign_in_makes_a_token_known_and_needs_redis_all_the_same(
    state: RevocationStore, server: RedisServer
) -> None:
    token = claims()
    await state.check(token)
    server.kill()
    with pytest.raises(Unavailable):
        await state.check(token)
    assert await accepted(state, token)


async def test_an_unknown_token_is_asked_for_again_once_redis_is_back(
    state: RevocationStore, server: RedisServer
) -> None:
    token = claims()
    server.kill()
    assert not await accepted(state, token)
    server.start()
    assert await accepted(state, token)
    server.kill()
    assert await accepted(state, token)


async def test_redis_has_the_last_word_while_it_is_there(state: RevocationStore, redis: Client) -> None:
    token = claims()
    assert await accepted(state, token)
    await revoke(redis, token)
    with pytest.raises(Unauthorized, match="revoked_token"):
        await state.check_or_cached(token)


@pytest.mark.parametrize("whole_user", [False, True])
async def test_a_token_seen_to_be_revoked_is_not_known_any_more(
    state: RevocationStore, redis: Client, server: RedisServer, whole_user: bool
) -> None:
    token, other = claims(), claims()
    sibling = token._replace(token_id="another")
    for each in (token, sibling, other):
        assert await accepted(state, each)
    if whole_user:
        await redis.set(f"user-service:global_revoke_ts:{token.user_id}", ISSUED + 1)
    else:
        await revoke(redis, token)
    with pytest.raises(Unauthorized):
        await state.check(token)
    server.kill()
    assert not await accepted(state, token)
    assert not await accepted(state, sibling)
    assert await accepted(state, other)


async def test_a_token_the_watch_saw_revoked_is_not_known_any_more(
    state: RevocationStore, redis: Client, server: RedisServer
) -> None:
    token, other = claims(), claims()
    for each in (token, other):
        assert await accepted(state, each)
    await revoke(redis, token)
    assert await state.revoked([token, other]) == [True, False]
    server.kill()
    assert await accepted(state, other)
    assert not await accepted(state, token)


@pytest.mark.parametrize("whole_user", [False, True])
async def test_a_token_that_was_revoked_without_being_used_is_not_known_when_redis_goes_away(
    state: RevocationStore, redis: Client, server: RedisServer, whole_user: bool
) -> None:
    """A thief's token, revoked by its owner's user service; then the thief, or chance, takes Redis down."""
    token, other = claims(), claims()
    assert await accepted(state, token)
    assert await accepted(state, other)
    if whole_user:
        await redis.set(f"user-service:global_revoke_ts:{token.user_id}", ISSUED + 1)
    else:
        await revoke(redis, token)
    await state.review(lambda _: False)
    server.kill()
    assert not await accepted(state, token)
    assert await accepted(state, other)


async def test_however_many_tokens_are_known_all_are_reviewed_in_turn(
    state: RevocationStore, redis: Client, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "MAX_REVIEWED_TOKENS", 3)
    monkeypatch.setattr(under_test, "MAX_TOKENS_PER_QUERY", 2)
    tokens = [claims() for _ in range(7)]
    for token in tokens:
        assert await accepted(state, token)
        await revoke(redis, token)
    for _ in range(3):
        await state.review(lambda _: False)
    server.kill()
    assert [token for token in tokens if await accepted(state, token)] == []


async def test_a_token_in_use_is_checked_elsewhere(
    state: RevocationStore, redis: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watch has just checked it with its connection: once a second each is enough."""
    used, unused = claims(), claims()
    for token in (used, unused):
        assert await accepted(state, token)
    checked: list[Claims] = []

    async def revoked(tokens: Sequence[Claims]) -> list[bool]:
        checked.extend(tokens)
        return [False] * len(tokens)

    monkeypatch.setattr(state, "revoked", revoked)
    await state.review(lambda token: token == used)
    assert checked == [unused]


async def test_what_nobody_used_for_long_is_not_requested_indefinitely(
    state: RevocationStore, redis: Client, clock: Monotonic
) -> None:
    token = claims()
    assert await accepted(state, token)
    clock.now += CACHED_SECONDS
    await state.review(lambda _: False)
    assert not state._cached


async def test_no_token_of_a_user_who_logged_out_is_known(
    state: RevocationStore, server: RedisServer
) -> None:
    phone, other = claims(), claims()
    laptop = phone._replace(token_id="another")
    for token in (phone, laptop, other):
        assert await accepted(state, token)
    state.forget(phone.user_id)
    state.forget(uuid4())
    server.kill()
    assert [await accepted(state, token) for token in (phone, laptop, other)] == [False, False, True]


async def test_a_token_is_known_for_so_long_since_redis_last_spoke_for_it(
    state: RevocationStore, server: RedisServer, clock: Monotonic
) -> None:
    first, again = claims(), claims()
    assert await accepted(state, first)
    assert await accepted(state, again)
    clock.now = 500.0
    assert await accepted(state, again)
    server.kill()
    clock.now = CACHED_SECONDS - 1
    assert (await accepted(state, first), await accepted(state, again)) == (True, True)
    assert not await accepted(state, claims())
    clock.now = CACHED_SECONDS
    assert (await accepted(state, first), await accepted(state, again)) == (False, True)
    clock.now = 500.0 + CACHED_SECONDS
    assert (await accepted(state, first), await accepted(state, again)) == (False, False)


async def test_what_is_accepted_while_redis_is_away_is_not_cached_for_longer(
    state: RevocationStore, server: RedisServer, clock: Monotonic
) -> None:
    token = claims()
    assert await accepted(state, token)
    server.kill()
    for clock.now in (300.0, 600.0, CACHED_SECONDS - 1):
        assert await accepted(state, token)
    clock.now = CACHED_SECONDS
    assert not await accepted(state, token)


async def test_for_a_moment_nobody_who_is_known_waits_for_a_redis_that_did_not_answer(
    state: RevocationStore, redis: Client, server: RedisServer, clock: Monotonic
) -> None:
    known = claims()
    assert await accepted(state, known)
    server.kill()
    assert await accepted(state, known)
    server.start()
    await revoke(redis, known)
    clock.now = RETRY_SECONDS / 2
    assert await accepted(state, known), "it isn't asked"
    assert await accepted(state, claims()), "it is asked for who isn't known"
    clock.now = RETRY_SECONDS
    with pytest.raises(Unauthorized):
        await state.check_or_cached(known)


async def test_an_entry_that_can_not_be_read_does_not_spare_the_others_from_being_asked_for(
    state: RevocationStore, redis: Client, clock: Monotonic
) -> None:
    known, broken = claims(), claims()
    assert await accepted(state, known)
    await redis.hset(f"user-service:global_revoke_ts:{broken.user_id}", "at", "1")
    assert not await accepted(state, broken)
    await revoke(redis, known)
    with pytest.raises(Unauthorized):
        await state.check_or_cached(known)


async def test_each_token_of_a_user_is_known_by_itself(
    state: RevocationStore, server: RedisServer, clock: Monotonic
) -> None:
    old = claims()
    new = old._replace(token_id="another")
    assert await accepted(state, old)
    clock.now = CACHED_SECONDS / 2
    assert await accepted(state, new)
    server.kill()
    assert (await accepted(state, old), await accepted(state, new)) == (True, True)
    clock.now = CACHED_SECONDS
    assert (await accepted(state, old), await accepted(state, new)) == (False, True)


async def test_only_so_many_users_are_known_and_those_seen_last(
    state: RevocationStore, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "MAX_CACHED_USERS", 10)
    tokens = [claims() for _ in range(10)]
    for token in tokens:
        assert await accepted(state, token)
    assert await accepted(state, tokens[0])  # seen again: others go before it
    late = [claims() for _ in range(3)]
    for token in late:
        assert await accepted(state, token)
    server.kill()
    assert await asyncio.gather(*(accepted(state, token) for token in tokens)) == [
        number not in (1, 2, 3) for number in range(10)
    ]
    assert all([await accepted(state, token) for token in late])


async def test_a_redis_that_says_nothing_is_as_one_that_is_away(
    state: RevocationStore, server: RedisServer
) -> None:
    known, unknown = claims(), claims()
    assert await accepted(state, known)
    server.freeze()
    try:
        start = time.monotonic()
        answers = list(await asyncio.gather(accepted(state, known), accepted(state, unknown)))
        took = time.monotonic() - start
    finally:
        server.thaw()
    assert answers == [True, False]
    assert took < 5
