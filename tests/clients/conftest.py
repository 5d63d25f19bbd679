"""One hub for the folder, with the paths of all services that it replaces, and a mail server."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.hub import Hub, hub_settings, running_hub
from tests.support.mailbox import new_address
from tests.support.services import BROKER, new_database
from tests.support.smtp_server import SmtpServer, running
from tests.support.user_service import run_user_service


@pytest_asyncio.fixture(scope="package")
async def mail_server() -> AsyncIterator[SmtpServer]:
    async with running(SmtpServer()) as server:
        yield server


@pytest_asyncio.fixture(scope="package")
async def hub(
    postgres: str,
    template: str,
    redis_url: str,
    kafka: str,
    mail_server: SmtpServer,
    pytestconfig: pytest.Config,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Hub]:
    with run_user_service() as user_service:
        database, mark = await new_database(postgres, template), uuid.uuid4().hex[:8]
        embedded = "mock" in pytestconfig.stash[BROKER].description
        environment = {
            **hub_settings(database, redis_url, kafka, user_service.address, mark),
            "KAFKA_FETCH_MAX_WAIT_MS": "10" if embedded else "500",
            "COMPAT_ROUTES": "all",
            "HTTP_WAIT": "2",
            "DEFAULT_LOCALE": "en",
            "BRAND_NAME": "Old Cinema",
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(mail_server.port),
            "SMTP_SECURITY": "none",
            "MAIL_FROM": "Old Cinema <no-reply@cinema.example>",
        }
        async with running_hub(environment, tmp_path_factory.mktemp("clients") / "log") as running_one:
            yield running_one


@pytest.fixture
def address() -> str:
    return new_address()
