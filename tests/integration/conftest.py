"""A mail server whose certificate holds, and a channel to it; an outbox on Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from app.outbox.email.channel import EmailChannel
from app.store.engine import make_engine
from tests.support.certificates import Authority
from tests.support.mail import LOGIN, channel_to
from tests.support.outbox import Scene
from tests.support.settings import settings_on
from tests.support.smtp_server import SmtpServer, running


@pytest.fixture(scope="session")
def made_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def authority(made_authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """A CA that is trusted during the test."""
    monkeypatch.setenv("SSL_CERT_FILE", str(made_authority.certificate))
    return made_authority


@pytest_asyncio.fixture
async def server(authority: Authority) -> AsyncIterator[SmtpServer]:
    """A mail server with STARTTLS and a login."""
    async with running(SmtpServer(authority.server("127.0.0.1"), login=LOGIN)) as server:
        yield server


@pytest_asyncio.fixture
async def channel(server: SmtpServer) -> AsyncIterator[EmailChannel]:
    """A channel to it."""
    async with channel_to(server) as channel:
        yield channel


@pytest_asyncio.fixture
async def scene(database: str) -> AsyncIterator[Scene]:
    """An outbox that nobody works on yet."""
    settings = settings_on("redis://redis", database_url=database, otp_cooldown=0)
    engine = make_engine(settings.postgres)
    made = Scene(settings, engine)
    yield made
    await made.stop()
    connection = await asyncpg.connect(database)
    await connection.execute("truncate deliveries cascade")
    await connection.close()
    await engine.dispose()
