"""One hub for the folder, with the paths of all services that it replaces; their brokers; mail servers."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from app.dev.redis import server_program
from tests.support.certificates import Authority
from tests.support.hub import Hub, hub_settings, run_hub, running_hub
from tests.support.install_tools import has_rabbitmq
from tests.support.mailbox import new_address
from tests.support.rabbitmq_server import RabbitMQ, new_vhost
from tests.support.redis_server import RedisServer
from tests.support.reverse_proxies import reverse_proxy
from tests.support.services import fetch_wait, new_database
from tests.support.smtp_server import SmtpServer, running
from tests.support.user_service import FakeUserService, run_user_service

SENDER = "no-reply@cinema.example"
STOREKEEPER = "storekeeper@example.com"
LOGIN = ("mailer@cinema.example", "not a real password")


@pytest_asyncio.fixture(scope="package")
async def mail_server() -> AsyncIterator[SmtpServer]:
    async with running(SmtpServer()) as server:
        yield server


@pytest.fixture(scope="package")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest_asyncio.fixture(scope="package")
async def login_server(authority: Authority) -> AsyncIterator[SmtpServer]:
    """A mail server that takes mail over TLS, from who logs in."""
    async with running(SmtpServer(authority.server("127.0.0.1"), login=LOGIN)) as server:
        yield server


@pytest.fixture(scope="package")
def user_service() -> Iterator[FakeUserService]:
    with run_user_service() as running_one:
        yield running_one


@pytest.fixture(scope="package")
def rabbitmq(request: pytest.FixtureRequest) -> RabbitMQ | None:
    """A virtual host of this folder's own: its queues have the documented names. None without a RabbitMQ."""
    return new_vhost(request.getfixturevalue("rabbitmq_address")) if has_rabbitmq() else None


@pytest.fixture(scope="package")
def redis_events_url(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis of this folder's own, if there can be one: its channel and stream have the documented names."""
    if server_program() is None:
        yield redis_url
        return
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    try:
        server.start()
        yield server.url
    finally:
        server.kill()


@pytest_asyncio.fixture(scope="package")
async def hub(
    postgres: str,
    template: str,
    redis_url: str,
    kafka: str,
    rabbitmq: RabbitMQ | None,
    redis_events_url: str,
    user_service: FakeUserService,
    mail_server: SmtpServer,
    pytestconfig: pytest.Config,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Hub]:
    database, mark = await new_database(postgres, template), uuid.uuid4().hex[:8]
    environment = {
        **hub_settings(database, redis_url, kafka, user_service.address, mark),
        "KAFKA_FETCH_MAX_WAIT_MS": fetch_wait(pytestconfig),
        **({"RABBITMQ_URL": rabbitmq.url} if rabbitmq else {}),
        "REDIS_EVENTS_URL": redis_events_url,
        "COMPAT_ROUTES": "all",
        "HTTP_WAIT": "2",
        "BRAND_NAME": "Old Cinema",
        "OTP_COOLDOWN": "0",  # the documented codes are all for one address
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(mail_server.port),
        "SMTP_SECURITY": "none",
        "MAIL_FROM": f"Old Cinema <{SENDER}>",
    }
    folder = tmp_path_factory.mktemp("clients")
    async with running_hub(environment, folder / "log") as running_one:
        if (proxy := os.environ.get("CLIENTS_BEHIND")) is None:
            yield running_one
            return
        with reverse_proxy(proxy, running_one.port, folder / proxy) as port:
            yield Hub(running_one.environment, running_one.log, port)


@pytest.fixture
def address() -> str:
    return new_address()


class OldDeployment(Hub):
    """A hub that is started with the names that the old services had for their settings, and no others for
    the same.
    """

    def launch(self) -> None:
        ours, self.environment = self.environment, foreign_names(self.environment)
        super().launch()
        self.environment = ours


def foreign_names(ours: dict[str, str]) -> dict[str, str]:
    """The environment as the old services had it."""
    postgres, redis = urlsplit(ours["DATABASE_URL"]), urlsplit(ours["REDIS_URL"])
    theirs = {
        "POSTGRES_DB_HOST": postgres.hostname or "",
        "POSTGRES_DB_PORT": str(postgres.port or 5432),
        "POSTGRES_DB_NAME": postgres.path.lstrip("/"),
        "POSTGRES_DB_USER": postgres.username or "postgres",
        **({"POSTGRES_DB_PASSWORD": postgres.password} if postgres.password else {}),
        "REDIS_HOST": redis.hostname or "",
        "REDIS_PORT": str(redis.port),
        "KAFKA_BROKERS": ours["KAFKA_BOOTSTRAP_SERVERS"],
        "JWT_SECRET_KEY": ours["JWT_SECRET"],
        "MONGODB_URI": "mongodb://127.0.0.1:27017/notifications",
        "SMTP_SERVER": ours["SMTP_HOST"],
        "EMAIL_PORT": ours["SMTP_PORT"],
        "EMAIL_USERNAME": ours["SMTP_USERNAME"],
        "EMAIL_PASSWORD": ours["SMTP_PASSWORD"],
        "EMAIL_USE_TLS": "True",
        "FROM_EMAIL": SENDER,
        "FROM_NAME": "Old Cinema",
    }
    replaced = ("DATABASE_", "REDIS_URL", "KAFKA_BOOT", "JWT_SECRET", "SMTP_", "MAIL_")
    return {name: value for name, value in ours.items() if not name.startswith(replaced)} | theirs


@pytest_asyncio.fixture(scope="package")
async def old_deployment(
    postgres: str,
    template: str,
    redis_url: str,
    kafka: str,
    user_service: FakeUserService,
    login_server: SmtpServer,
    authority: Authority,
    pytestconfig: pytest.Config,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Hub]:
    """A hub with foreign names of settings, the JSend envelope, and foreign user ids that have inboxes."""
    database, mark = await new_database(postgres, template), uuid.uuid4().hex[:8]
    environment = {
        **hub_settings(database, redis_url, kafka, user_service.address, mark),
        "KAFKA_FETCH_MAX_WAIT_MS": fetch_wait(pytestconfig),
        "REST_ENVELOPE": "jsend",
        "COMPAT_ROUTES": "all",
        "FOREIGN_USER_IDS": "map",
        "FOREIGN_USER_ID_NAMESPACE": str(uuid.uuid4()),
        "LOW_STOCK_RECEIVERS": f"{STOREKEEPER},warehouse-7",
        "LOW_STOCK_CHANNEL": f"low-stock-{mark}",
        "LOW_STOCK_STREAM": f"low-stock-{mark}:stream",
        "REDIS_EVENTS_URL": redis_url,
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(login_server.port),
        "SMTP_USERNAME": LOGIN[0],
        "SMTP_PASSWORD": LOGIN[1],
        "SSL_CERT_FILE": str(authority.certificate),
    }
    async with run_hub(OldDeployment(environment, tmp_path_factory.mktemp("old") / "log")) as hub:
        yield hub
