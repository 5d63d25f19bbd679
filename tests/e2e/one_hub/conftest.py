"""One hub for this folder, with its default settings. Each test has users of its own."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.support.hub import Hub, hub_settings, running_hub
from tests.support.services import fetch_wait, new_database
from tests.support.user_service import FakeUserService, run_user_service


@pytest.fixture(scope="package")
def user_service() -> Iterator[FakeUserService]:
    with run_user_service() as service:
        yield service


@pytest_asyncio.fixture(scope="package")
async def environment(
    postgres: str,
    template: str,
    redis_url: str,
    kafka: str,
    user_service: FakeUserService,
    pytestconfig: pytest.Config,
) -> dict[str, str]:
    database, mark = await new_database(postgres, template), uuid.uuid4().hex[:8]
    services = hub_settings(database, redis_url, kafka, user_service.address, mark)
    return {**services, "KAFKA_FETCH_MAX_WAIT_MS": fetch_wait(pytestconfig)}


@pytest_asyncio.fixture(scope="package")
async def hub(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hub]:
    async with running_hub(environment, tmp_path_factory.mktemp("hub") / "log") as running:
        yield running
