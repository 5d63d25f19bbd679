"""What the tests run on: real Postgres and Redis (embedded), and the truest Kafka this machine can have."""

from __future__ import annotations

import gc
import uuid
from collections.abc import AsyncIterator, Generator, Iterator
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import settings

from app.dev.postgres import run_postgres
from app.dev.redis import run_redis
from tests.support import prefork
from tests.support.hub import Hub, hub_settings, running_hub
from tests.support.install_tools import has_rabbitmq
from tests.support.npm import copy_of_client
from tests.support.rabbitmq_server import MISSING, RabbitMQ, new_vhost, run_rabbitmq
from tests.support.schedule import slow_files_first
from tests.support.services import (
    BROKER,
    ServicesPlugin,
    fetch_wait,
    migrated_template,
    new_database,
    own_home,
    service,
)
from tests.support.user_service import FakeUserService, run_user_service
from tests.support.workers import OPTION, WorkersPlugin

# Fewer examples than the 100 that `make test-long` takes, and no limit of time: the machine is shared.
settings.register_profile("default", deadline=None)
settings.register_profile("quick", max_examples=30, deadline=None)


def pytest_addoption(parser: pytest.Parser) -> None:
    help_text = "how many processes run the tests beside each other (0: this one, one after the other)"
    parser.addoption(OPTION, type=int, default=0, help=help_text)


def pytest_configure(config: pytest.Config) -> None:
    gc.disable()
    workers = config.getoption(OPTION)
    config.pluginmanager.register(ServicesPlugin(config, shared=workers > 0))
    prefork.allow(now=workers > 0)
    if workers:
        config.pluginmanager.register(WorkersPlugin(workers))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    slow_files_first(items)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What was imported and collected stays: to look through it for garbage, again and again, finds none."""
    result = yield
    gc.freeze()
    gc.enable()
    return result


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """A folder for the services' data and logs."""
    with own_home() as folder:
        yield folder


@pytest.fixture(scope="session")
def postgres(home: Path, pytestconfig: pytest.Config) -> Iterator[str]:
    """A Postgres; its URL names an empty database."""
    with service(pytestconfig, home, "postgres", partial(run_postgres, fast=True)) as url:
        yield url


@pytest.fixture(scope="session")
def redis_url(home: Path, pytestconfig: pytest.Config) -> Iterator[str]:
    with service(pytestconfig, home, "redis", run_redis) as url:
        yield url


@pytest.fixture(scope="session")
def kafka(home: Path, pytestconfig: pytest.Config) -> Iterator[str]:
    with service(pytestconfig, home, "kafka", pytestconfig.stash[BROKER].run) as bootstrap:
        yield bootstrap


@pytest.fixture(scope="session")
def rabbitmq_address(home: Path, pytestconfig: pytest.Config) -> Iterator[str]:
    """A RabbitMQ, in which each module has a separate virtual host. Skips the tests where there is none."""
    if not has_rabbitmq():
        pytest.skip(MISSING)
    with service(pytestconfig, home, "rabbitmq", run_rabbitmq) as address:
        yield address


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the browser library's package with what its scripts need."""
    return copy_of_client(tmp_path_factory.mktemp("package"))


@pytest_asyncio.fixture(scope="session")
async def template(postgres: str) -> str:
    """The name of a database with the hub's tables, to be copied."""
    return await migrated_template(postgres)


@pytest_asyncio.fixture(scope="module")
async def database(postgres: str, template: str) -> str:
    """A database of this module's own."""
    return await new_database(postgres, template)


@pytest.fixture(scope="module")
def rabbitmq(rabbitmq_address: str) -> RabbitMQ:
    """A virtual host of this module's own."""
    return new_vhost(rabbitmq_address)


@pytest.fixture(scope="module")
def user_service() -> Iterator[FakeUserService]:
    with run_user_service() as service:
        yield service


@pytest.fixture(scope="module")
def environment(
    database: str, redis_url: str, kafka: str, user_service: FakeUserService, pytestconfig: pytest.Config
) -> dict[str, str]:
    """The settings of this module's hub: Kafka topics and a database, which no other module uses."""
    mark = uuid.uuid4().hex[:8]
    services = hub_settings(database, redis_url, kafka, user_service.address, mark)
    return {**services, "KAFKA_FETCH_MAX_WAIT_MS": fetch_wait(pytestconfig)}


@pytest_asyncio.fixture(scope="module")
async def hub(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hub]:
    """A running hub, shared by the tests of a module."""
    async with running_hub(environment, tmp_path_factory.mktemp("hub") / "log") as running:
        yield running


@pytest_asyncio.fixture
async def own_hub(hub: Hub, environment: dict[str, str]) -> Hub:
    """The module's hub for one test, which may stop, kill or change it: the next test starts it again."""
    changed = (hub.environment, hub.command) != (environment, ("run.py",))
    if changed and hub.process is not None and hub.process.poll() is None:
        await hub.stop()
    if hub.process is None or hub.process.poll() is not None:
        hub.environment, hub.command = environment, ("run.py",)
        await hub.start()
    return hub
