"""The revocation feed on a real Redis: what it names, and what it says when it can't."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from app.auth import revocation_feed as under_test
from app.auth.revocation_feed import RECENT_SECONDS, Changed, RevocationFeed
from app.auth.revocations import PREFIXES
from app.auth.tokens import Claims
from app.runtime.redis_tracking import tracked_keys
from tests.support.redis_server import RedisServer
from tests.support.settings import settings_on

TOKEN = "user-service:jwt-blocklist:"
USER = "user-service:global_revoke_ts:"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest_asyncio.fixture
async def redis(server: RedisServer) -> AsyncIterator[Redis]:
    if not server.running:
        server.start()
    async with Redis.from_url(server.url) as client:
        await client.acl_setuser(
            "old", enabled=True, passwords=["+secret"], keys="*", channels="*", commands=["+@all", "-client"]
        )
        yield client


@pytest_asyncio.fixture
async def feed(server: RedisServer, redis: Redis) -> AsyncIterator[RevocationFeed]:
    """One that has begun."""
    feed = _feed_of(server.url)
    assert await feed.changed() is None
    yield feed
    await feed.stop()


def _feed_of(url: str) -> RevocationFeed:
    return RevocationFeed(partial(tracked_keys, settings_on(url, redis_timeout=0.5).redis, PREFIXES))


async def test_it_names_what_was_revoked_and_nothing_else(feed: RevocationFeed, redis: Redis) -> None:
    token, user = str(uuid4()), uuid4()
    await redis.set(f"{TOKEN}{token}", "1", ex=100)
    await redis.mset({f"{USER}{str(user).upper()}": "1800000000", "hub:presence:1": "x", f"x{USER}": "1"})
    changed = await feed.changed()
    assert changed is not None
    assert changed.tokens == {token}
    assert user in changed.users
    assert len(changed.users) == 2


@pytest.mark.parametrize("how", ["script", "transaction", "rename", "another database"])
async def test_however_a_revocation_is_written_it_is_named(
    feed: RevocationFeed, server: RedisServer, redis: Redis, how: str
) -> None:
    key = f"{TOKEN}{uuid4()}"
    if how == "script":
        await redis.eval("return redis.call('SETEX', KEYS[1], 100, '1')", 1, key)
    elif how == "transaction":
        async with redis.pipeline() as pipe:
            pipe.set(key, "1")
            pipe.expire(key, 100)
            await pipe.execute()
    elif how == "rename":
        await redis.set("prepared", "1")
        await redis.rename("prepared", key)
    else:
        async with Redis.from_url(f"{server.url[:-1]}1") as other:
            await other.set(key, "1")
    changed = await feed.changed()
    assert changed is not None
    assert changed.tokens == {key.removeprefix(TOKEN)}


async def test_a_change_counts_for_a_while_as_its_token_may_be_about_to_connect(
    feed: RevocationFeed, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await redis.set(f"{TOKEN}abc", "1")
    moments = iter((100.0, 100.0 + RECENT_SECONDS, 101.0 + RECENT_SECONDS))
    monkeypatch.setattr(under_test, "time", SimpleNamespace(monotonic=lambda: next(moments)))
    assert await feed.changed() == Changed(frozenset({"abc"}))
    assert await feed.changed() == Changed(frozenset({"abc"}))
    assert await feed.changed() == Changed()


async def test_all_keys_that_are_removed_at_once_revoke_nothing(feed: RevocationFeed, redis: Redis) -> None:
    await redis.flushall()
    assert await feed.changed() == Changed()


async def test_more_than_can_be_remembered_may_be_anything(
    feed: RevocationFeed, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "MAX_RECENT_COUNT", 3)
    await redis.mset({f"{TOKEN}{number}": "1" for number in range(4)})
    assert await feed.changed() is None


async def test_while_redis_is_away_anything_may_have_changed(
    server: RedisServer, feed: RevocationFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await feed.changed() == Changed()
    server.kill()
    assert await feed.changed() is None
    assert await feed.changed() is None
    server.start()
    feed._retry_at = 0.0
    assert await feed.changed() is None  # what changed meanwhile
    async with Redis.from_url(server.url) as redis:
        await redis.set(f"{TOKEN}later", "1")
    assert await feed.changed() == Changed(frozenset({"later"}))


async def test_a_redis_that_does_not_answer_is_no_redis(server: RedisServer, feed: RevocationFeed) -> None:
    server.freeze()
    try:
        assert await feed.changed() is None
    finally:
        server.thaw()


async def test_a_connection_that_is_killed_is_noticed(feed: RevocationFeed, redis: Redis) -> None:
    await redis.client_kill_filter(_type="pubsub")
    await redis.set(f"{TOKEN}missed", "1")
    assert await feed.changed() is None


async def test_who_may_not_track_keys_is_told_why_and_asked_again_later(
    server: RedisServer, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    feed = _feed_of(server.url.replace("//", "//old:secret@"))
    assert [await feed.changed() for _ in range(3)] == [None, None, None]
    (record,) = [record for record in caplog.records if record.msg == "revocations_polled"]
    assert "permissions" in vars(record)["why"]
    assert "secret" not in vars(record)["why"]


def test_what_a_changed_revocation_may_concern() -> None:
    user, token = UUID(int=0xABCDEF), "0000ABCD-0000-0000-0000-000000000001"
    claims = Claims(user, token, 1, 2)
    written = (f"{user}", user.hex.upper(), f"{{{user}}}", user.urn)
    spelled = (token, token.lower(), token.replace("-", ""), f"{{{token}}}")
    for name in (*(f"{USER}{each}" for each in written), *(f"{TOKEN}{each}" for each in spelled)):
        assert under_test.changed([name.encode()]).concerns(claims), name
    for name in (f"{USER}{UUID(int=1)}", f"{TOKEN}{user}", f"{USER}", f"{TOKEN}\xff", f"{USER}user-7"):
        assert not under_test.changed([name.encode("latin-1")]).concerns(claims), name
    assert under_test.changed([f"{USER}user-7".encode()]).concerns(claims._replace(foreign_id="user-7"))
