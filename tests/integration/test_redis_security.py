"""Redis with TLS and an ACL user: all that the URL says is used, for commands, subscriptions and events."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from app.domain.errors import Unavailable
from app.runtime.redis import check_redis, connect, subscription
from app.settings.services import RedisSettings
from app.sources.redis.source import events_redis
from tests.support.certificates import Authority
from tests.support.network import open_proxy
from tests.support.settings import settings_on


@pytest.fixture
def own_authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest_asyncio.fixture
async def login(redis_url: str) -> AsyncIterator[str]:
    """The name and password of an ACL user."""
    user = f"user-{uuid4().hex}"
    async with Redis.from_url(redis_url) as admin:
        await admin.acl_setuser(
            user, enabled=True, passwords=["+correct-horse"], keys="*", channels="*", categories=["+@all"]
        )
        yield f"{user}:correct-horse"
        await admin.acl_deluser(user)


@pytest_asyncio.fixture
async def port(redis_url: str, own_authority: Authority) -> AsyncIterator[int]:
    """Where Redis answers over TLS, to clients that show a certificate of the tests' CA."""
    behind = urlsplit(redis_url).port
    assert behind is not None
    context = own_authority.server("127.0.0.1")
    context.load_verify_locations(own_authority.certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    async with open_proxy(behind, ssl=context) as proxy:
        yield proxy.port


def url_of(port: int, login: str, authority: Authority) -> str:
    client = authority.issue("client.example")
    files = f"ssl_ca_certs={authority.certificate}&ssl_certfile={client}&ssl_keyfile={client}"
    return f"rediss://{login}@127.0.0.1:{port}/0?{files}"


async def answers(settings: RedisSettings) -> None:
    client = connect(settings)
    try:
        await check_redis(client)
    finally:
        await client.aclose()


async def test_commands_subscriptions_and_events_use_tls_a_certificate_and_the_login(
    port: int, login: str, own_authority: Authority
) -> None:
    url = url_of(port, login, own_authority)
    settings = settings_on(url, redis_events_url=url)
    for client in (connect(settings.redis), events_redis(settings.redis_streams)):
        assert await client.acl_whoami() == login.partition(":")[0]
        async with subscription(client, settings.redis, f"channel-{port}") as subscribed:
            await client.publish(f"channel-{port}", "hello")
            message = await subscribed.get_message(ignore_subscribe_messages=True, timeout=5)
            assert message is not None
            assert message["data"] == b"hello"
        await client.aclose()


@pytest.mark.parametrize("wrong", ["password", "CA", "no certificate", "no TLS"])
async def test_nothing_less_connects(
    port: int, login: str, own_authority: Authority, tmp_path: Path, wrong: str
) -> None:
    url = url_of(port, login, own_authority)
    match wrong:
        case "password":
            url = url.replace("correct-horse", "wrong")
        case "CA":
            (tmp_path / "other").mkdir()
            other = Authority(tmp_path / "other")
            url = url.replace(str(own_authority.certificate), str(other.certificate))
        case "no certificate":
            url = url.partition("&")[0]
        case "no TLS":
            url = url.replace("rediss", "redis").partition("?")[0]
    with pytest.raises(Unavailable):
        await answers(settings_on(url).redis)
