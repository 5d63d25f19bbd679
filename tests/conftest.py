"""What the tests run on: real Postgres and Redis (embedded), and the truest Kafka this machine can have."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from app.dev.postgres import postgres_note, run_postgres
from app.dev.redis import redis_note, run_redis
from app.store import migrations
from tests.support.hub import Hub, free_port, hub_settings
from tests.support.kafka.choose import Choice, pick_broker
from tests.support.npm import copy_of_client
from tests.support.user_service import FakeUserService, run_user_service

BROKER: pytest.StashKey[Choice] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[BROKER] = pick_broker()


def pytest_report_header(config: pytest.Config) -> list[str]:
    return [
        f"kafka: {config.stash[BROKER].description}",
        f"postgres: {postgres_note()}",
        f"redis: {redis_note()}",
    ]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the services' data and logs. Postgres, which won't run as root, has to reach it."""
    folder = tmp_path_factory.mktemp("services")
    folder.chmod(0o755)
    return folder


@pytest.fixture(scope="session")
def postgres(home: Path) -> Iterator[str]:
    """A Postgres; its URL names a database with the hub's tables, to be copied."""
    with run_postgres(home, fast=True) as url:
        migrations.upgrade(url)
        yield url


@pytest.fixture(scope="session")
def redis_url(home: Path) -> Iterator[str]:
    with run_redis(home) as url:
        yield url


@pytest.fixture(scope="session")
def kafka(home: Path, pytestconfig: pytest.Config) -> Iterator[str]:
    with pytestconfig.stash[BROKER].run(home) as bootstrap:
        yield bootstrap


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the browser library's package with what its scripts need."""
    return copy_of_client(tmp_path_factory.mktemp("package"))


@pytest_asyncio.fixture(scope="module")
async def database(postgres: str) -> str:
    """A database of this module's own."""
    name = f"test_{uuid.uuid4().hex}"
    connection = await asyncpg.connect(postgres.rsplit("/", 1)[0] + "/postgres")
    try:
        await connection.execute(f"create database {name} template hub")
    finally:
        await connection.close()
    return f"{postgres.rsplit('/', 1)[0]}/{name}"


@pytest.fixture(scope="module")
def user_service() -> Iterator[FakeUserService]:
    with run_user_service() as service:
        yield service


@pytest.fixture(scope="module")
def environment(
    database: str, redis_url: str, kafka: str, user_service: FakeUserService, pytestconfig: pytest.Config
) -> dict[str, str]:
    """The settings of this module's hub: Kafka topics and a database of its own."""
    mark = uuid.uuid4().hex[:8]
    embedded = "mock" in pytestconfig.stash[BROKER].description
    services = hub_settings(database, redis_url, kafka, user_service.address, mark)
    return {**services, "KAFKA_FETCH_MAX_WAIT_MS": "10" if embedded else "500"}


@pytest_asyncio.fixture(scope="module")
async def hub(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hub]:
    """A running hub, shared by the tests of a module."""
    async with running_hub(environment, tmp_path_factory.mktemp("hub") / "log") as running:
        yield running


@pytest_asyncio.fixture
async def own_hub(environment: dict[str, str], tmp_path: Path) -> AsyncIterator[Hub]:
    """A running hub for one test, which may stop or kill it."""
    async with running_hub(environment, tmp_path / "log") as running:
        yield running


class running_hub:  # noqa: N801 - used as a context manager
    """Run a hub; what it logged is shown when the test fails."""

    def __init__(self, environment: dict[str, str], log: Path, port: int | None = None) -> None:
        self._hub = Hub(environment, log, port or free_port())

    async def __aenter__(self) -> Hub:
        await self._hub.start()
        return self._hub

    async def __aexit__(self, *_: object) -> None:
        process = self._hub.process
        if process is not None and process.poll() is None:
            await self._hub.stop()
        print(self._hub.log.read_text()[-8000:])
