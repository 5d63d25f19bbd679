"""One hub for this folder, with web push and what receivers of mail call. Each test has its own users."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import pytest_asyncio

from tests.support.certificates import Authority
from tests.support.hub import NO_TLS, REST, Hub, hub_settings, running_hub, token
from tests.support.push_service import (
    VAPID_PRIVATE_KEY,
    VAPID_SUBJECT,
    PushService,
    run_push_service,
)
from tests.support.services import fetch_wait, new_database
from tests.support.user_service import FakeUserService, run_user_service

HOOK_TOKEN, MAILGUN_KEY = "bounces-hunter2-hunter2", "mailgun-hunter2"


@pytest.fixture(scope="package")
def user_service() -> Iterator[FakeUserService]:
    with run_user_service() as service:
        yield service


@pytest.fixture(scope="package")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A CA that the hub trusts."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="package")
def push_service(authority: Authority) -> Iterator[PushService]:
    with run_push_service(authority.server("localhost")) as service:
        yield service


@pytest_asyncio.fixture(scope="package")
async def environment(
    postgres: str,
    template: str,
    redis_url: str,
    kafka: str,
    user_service: FakeUserService,
    authority: Authority,
    pytestconfig: pytest.Config,
) -> dict[str, str]:
    database, mark = await new_database(postgres, template), uuid.uuid4().hex[:8]
    services = hub_settings(database, redis_url, kafka, user_service.address, mark)
    web_push = {
        "VAPID_PRIVATE_KEY": VAPID_PRIVATE_KEY,
        "VAPID_SUBJECT": VAPID_SUBJECT,
        "WEBPUSH_ALLOW_PRIVATE": "true",
        "SSL_CERT_FILE": str(authority.certificate),
    }
    receivers = {
        "PUBLIC_URL": "https://hub.example",
        "MAIL_RETURN_PATH": "bounces+*@hub.example",
        "MAIL_OPENS": "food",
        "BOUNCE_HOOK_TOKEN": HOOK_TOKEN,
        "MAILGUN_WEBHOOK_KEY": MAILGUN_KEY,
    }
    return {**services, **web_push, **receivers, "KAFKA_FETCH_MAX_WAIT_MS": fetch_wait(pytestconfig)}


@pytest_asyncio.fixture(scope="package")
async def hub(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hub]:
    async with running_hub(environment, tmp_path_factory.mktemp("hub") / "log") as running:
        yield running


@pytest_asyncio.fixture
async def service(hub: Hub) -> AsyncIterator[httpx.AsyncClient]:
    """A service that may send."""
    headers = {"Authorization": f"Bearer {token('kitchen-service', scope='other notifications:send')}"}
    rest = hub.http + REST
    async with httpx.AsyncClient(base_url=rest, headers=headers, timeout=20, verify=NO_TLS) as client:
        yield client
