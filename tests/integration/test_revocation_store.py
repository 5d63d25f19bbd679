"""Revoked tokens, on a real Redis: found, and no answer is no entry."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from types import NoneType
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError

from app.auth.revocations import RevocationStore, _state
from app.auth.tokens import Claims, ServiceClaims
from app.domain.errors import Unauthorized, Unavailable
from tests.support.hub import free_port

ISSUED = 1_800_000_000
TIMEOUT = 0.2


def redis_at(url: str) -> Redis:
    """As `create_app` makes it."""
    return Redis.from_url(
        url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=Retry(NoBackoff(), 1)
    )


@pytest_asyncio.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with redis_at(redis_url) as client:
        yield client


@pytest.fixture
def claims() -> Claims:
    """Of a user and a token nobody else has."""
    return Claims(uuid4(), str(uuid4()), ISSUED, ISSUED + 3600)


async def revoked(redis: Redis, claims: Claims) -> bool:
    try:
        await RevocationStore(redis).check(claims)
    except Unauthorized as error:
        assert error.reason == "revoked_token"  # noqa: PT017
        return True
    return False


def user_key(claims: Claims) -> str:
    return f"user-service:global_revoke_ts:{claims.user_id}"


async def test_a_token_nobody_revoked_passes(redis: Redis, claims: Claims) -> None:
    assert not await revoked(redis, claims)


@pytest.mark.parametrize("value", ["1", "", "0", "false"])
async def test_a_token_in_the_blocklist_is_revoked_whatever_the_entry_says(
    redis: Redis, claims: Claims, value: str
) -> None:
    await redis.set(f"user-service:jwt-blocklist:{claims.token_id}", value)
    assert await revoked(redis, claims)
    assert not await revoked(redis, claims._replace(token_id="another"))


async def test_a_blocklist_entry_may_be_of_any_kind(redis: Redis, claims: Claims) -> None:
    await redis.hset(f"user-service:jwt-blocklist:{claims.token_id}", "by", "admin")
    assert await revoked(redis, claims)


@pytest.mark.parametrize(
    ("revoked_at", "is_revoked"),
    [
        (ISSUED + 1, True),
        (ISSUED + 0.5, True),
        (ISSUED, False),
        (ISSUED - 1, False),
        (0, False),
        (f" {ISSUED + 1} ", True),
        (ISSUED * 1000, False),
        (ISSUED * 1000 + 1, True),
        (9_999_999_999_999, True),
        (9_999_999_999, True),
    ],
)
async def test_a_users_tokens_are_revoked_that_were_issued_before_the_moment(
    redis: Redis, claims: Claims, revoked_at: float | str, is_revoked: bool
) -> None:
    await redis.set(user_key(claims), revoked_at)
    assert await revoked(redis, claims) is is_revoked
    assert not await revoked(redis, claims._replace(user_id=uuid4()))


async def test_moments_within_a_second_are_told_apart(redis: Redis, claims: Claims) -> None:
    await redis.set(user_key(claims), ISSUED + 0.5)
    assert await revoked(redis, claims._replace(issued_at=ISSUED + 0.4))
    assert not await revoked(redis, claims._replace(issued_at=ISSUED + 0.6))


@pytest.mark.parametrize("one_by_one", [False, True])
@pytest.mark.parametrize(
    "spelled", [str, lambda user: str(user).upper(), lambda user: user.hex, lambda user: user.hex.upper()]
)
async def test_however_the_user_service_writes_the_id_the_user_is_revoked(
    redis: Redis, claims: Claims, spelled: Callable[[UUID], str], one_by_one: bool
) -> None:
    await redis.set(f"user-service:global_revoke_ts:{spelled(claims.user_id)}", ISSUED + 1)
    another = claims._replace(user_id=uuid4())
    assert await revoked(redis, claims)
    assert await RevocationStore(redis, one_by_one).revoked([another, claims, another]) == [
        False,
        True,
        False,
    ]


@pytest.mark.parametrize("one_by_one", [False, True])
@pytest.mark.parametrize("spelled", ["{}", "{{{}}}", "urn:uuid:{}"])
@pytest.mark.parametrize("blocked", [str.upper, str.lower, lambda text: text.replace("-", "")])
async def test_a_token_id_that_is_a_uuid_is_blocked_in_any_spelling(
    redis: Redis, claims: Claims, blocked: Callable[[str], str], spelled: str, one_by_one: bool
) -> None:
    await redis.set(f"user-service:jwt-blocklist:{blocked(claims.token_id)}", "1")
    claims = claims._replace(token_id=spelled.format(claims.token_id))
    another = claims._replace(token_id="another")
    assert await revoked(redis, claims)
    assert await RevocationStore(redis, one_by_one).revoked([another, claims]) == [False, True]


async def test_a_service_is_revoked_by_its_name(redis: Redis) -> None:
    for name in (f"billing-{uuid4()}", str(uuid4())):
        service = ServiceClaims(name, "t", ISSUED, ISSUED + 60, frozenset())
        await RevocationStore(redis).check(service)
        await redis.set(f"user-service:global_revoke_ts:{name}", ISSUED + 1)
        with pytest.raises(Unauthorized):
            await RevocationStore(redis).check(service)


@pytest.mark.parametrize("value", ["", "now", "2026-11-21T07:00:00Z", b"\xff", "0x10", "inf"])
async def test_a_moment_that_can_not_be_read_revokes(
    redis: Redis, claims: Claims, value: str | bytes
) -> None:
    await redis.set(user_key(claims), value)
    assert await revoked(redis, claims)


async def test_a_moment_of_the_wrong_kind_lets_nobody_in(redis: Redis, claims: Claims) -> None:
    await redis.hset(user_key(claims), "at", "1")
    with pytest.raises(Unavailable):
        await revoked(redis, claims)


@pytest.mark.parametrize("one_by_one", [False, True])
async def test_tokens_that_are_checked_together_each_get_their_own_answer(
    redis: Redis, claims: Claims, one_by_one: bool
) -> None:
    """One with an entry that can't be read costs the others nothing, and isn't taken for valid anywhere."""
    broken, blocked, old = (claims._replace(user_id=uuid4(), token_id=str(uuid4())) for _ in range(3))
    service = ServiceClaims(f"billing-{uuid4()}", "t", ISSUED, ISSUED + 60, frozenset())
    await redis.hset(user_key(broken), "at", "1")
    await redis.set(f"user-service:jwt-blocklist:{blocked.token_id}", "1")
    await redis.set(user_key(old), ISSUED + 1)
    state = RevocationStore(redis, one_by_one)
    answers = await asyncio.gather(
        *(state.check(each) for each in (claims, broken, blocked, old, service)), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [
        NoneType,
        Unavailable,
        Unauthorized,
        Unauthorized,
        NoneType,
    ]
    assert await state.revoked([claims, broken, blocked, old]) == [False, True, True, True]


async def test_a_redis_that_refuses_to_answer_revokes_nobody(redis: Redis, claims: Claims) -> None:
    """As one does whose ACL was changed: it says nothing about any token."""
    refused = ResponseError("NOPERM this user has no permissions to run the 'get' command")
    with pytest.raises(ResponseError):
        _state(claims, [0], [refused, None, None, None])


async def test_a_revocation_counts_at_once_and_ends_when_its_entry_does(redis: Redis, claims: Claims) -> None:
    key = f"user-service:jwt-blocklist:{claims.token_id}"
    await redis.set(key, "1")
    assert await revoked(redis, claims)
    await redis.delete(key)
    assert not await revoked(redis, claims)


async def test_without_redis_nobody_comes_in_and_nobody_waits_for_long(claims: Claims) -> None:
    start = time.monotonic()
    async with redis_at(f"redis://127.0.0.1:{free_port()}/0") as redis:
        with pytest.raises(Unavailable) as refused:
            await revoked(redis, claims)
    assert refused.value.dependency == "redis"
    assert str(claims.token_id) not in str(refused.value)
    assert time.monotonic() - start < 2


async def test_a_redis_that_says_nothing_is_not_waited_for_for_long(claims: Claims) -> None:
    answered = asyncio.Event()

    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answered.wait()
        writer.close()

    server = await asyncio.start_server(silence, "127.0.0.1", 0)
    start = time.monotonic()
    async with redis_at(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0") as redis:
        with pytest.raises(Unavailable):
            await revoked(redis, claims)
    assert time.monotonic() - start < 2 * TIMEOUT + 2
    answered.set()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("one_by_one", [False, True])
async def test_a_foreign_user_is_revoked_by_the_user_services_own_id(
    redis: Redis, claims: Claims, one_by_one: bool
) -> None:
    foreign = claims._replace(foreign_id=f"user_{uuid4()}")
    assert not await revoked(redis, foreign)
    await redis.set(f"user-service:global_revoke_ts:{foreign.foreign_id}", ISSUED + 1)
    assert await revoked(redis, foreign)
    assert await RevocationStore(redis, one_by_one).revoked([claims, foreign]) == [False, True]
