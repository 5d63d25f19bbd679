"""Postgres, Redis and Apache Kafka, each behind a proxy that can fail, and each to be stopped and started."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import psutil

from app.dev.mail import MailCatcher, run_mail
from app.dev.postgres import postgres_note, run_postgres
from app.dev.redis import redis_note
from app.store import migrations
from tests.support.hub import free_port
from tests.support.kafka.apache import ApacheKafka, kafka_version
from tests.support.network import FaultyProxy, open_proxy
from tests.support.redis_server import RedisServer


class Postgres:
    """A server that may listen elsewhere after each start; its proxy always leads to where it is."""

    def __init__(self, home: Path, proxy: FaultyProxy) -> None:
        self._home = home
        self._proxy = proxy
        self._running: AbstractContextManager[str] | None = None
        self.url = ""
        """Without the proxy, for observers."""

    @property
    def running(self) -> bool:
        return self._running is not None

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    async def start(self) -> None:
        """Returns when it answers, with all that it had before."""
        running = run_postgres(self._home)
        self.url = await asyncio.to_thread(running.__enter__)
        self._running = running
        self._proxy.port_behind = self.port

    async def keep_commit_times(self) -> None:
        """Restart it so that it knows when each row was committed, with no need to look often."""
        connection = await self.connect("postgres")
        try:
            await connection.execute("alter system set track_commit_timestamp = on")
        finally:
            await connection.close()
        await self.stop()
        await self.start()

    async def stop(self) -> None:
        """ "Fast": sessions are ended, transactions rolled back."""
        running, self._running = self._running, None
        if running is not None:
            await asyncio.to_thread(running.__exit__, None, None, None)

    async def kill(self) -> None:
        """kill -9 of the server and all its backends."""
        with contextlib.suppress(psutil.NoSuchProcess):
            postmaster = self.process()
            postmaster.kill()
        await self.stop()

    def process(self) -> psutil.Process:
        """The postmaster."""
        pid = (self._home / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0]
        return psutil.Process(int(pid))

    async def connect(self, database: str) -> asyncpg.Connection:
        """To one of its databases, without the proxy."""
        return await asyncpg.connect(f"{self.url.rsplit('/', 1)[0]}/{database}")

    async def copy(self, template: str) -> str:
        """The name of a new database, made after this one."""
        name = f"faults_{uuid.uuid4().hex}"
        connection = await self.connect("postgres")
        try:
            await connection.execute(f"create database {name} template {template}")
        finally:
            await connection.close()
        return name


@dataclass(frozen=True)
class Site:
    """The services of all experiments, running, and the proxies that hubs reach them by."""

    home: Path
    postgres: Postgres
    redis: RedisServer
    kafka: ApacheKafka
    mailbox: MailCatcher
    to_postgres: FaultyProxy
    to_redis: FaultyProxy
    to_kafka: FaultyProxy
    notes: tuple[str, ...]
    """One line on each."""

    def repair(self) -> None:
        """Repair all proxies."""
        for proxy in (self.to_postgres, self.to_redis, self.to_kafka):
            proxy.repair()

    async def restore(self) -> None:
        """Start all services that don't run, and repair all proxies, whatever an experiment left."""
        self.repair()
        if not self.postgres.running:
            await self.postgres.start()
        if self.redis.running:
            self.redis.thaw()
        else:
            await asyncio.to_thread(self.redis.start)
        if not self.kafka.running:
            await asyncio.to_thread(self.kafka.start)


@asynccontextmanager
async def open_site(home: Path) -> AsyncIterator[Site]:
    """Run the services with their data in `home`, migrated. Postgres syncs to disk, as in production.

    Raises ServiceError where one can't be had.
    """
    async with AsyncExitStack() as running:
        to_postgres, to_redis, to_kafka = [
            await running.enter_async_context(open_proxy(free_port())) for _ in range(3)
        ]
        postgres = Postgres(home, to_postgres)
        redis = RedisServer(home / "redis")
        to_redis.port_behind = redis.port
        kafka = ApacheKafka(home, (to_kafka.port, to_kafka.port_behind))
        running.push_async_callback(postgres.stop)
        running.push_async_callback(asyncio.to_thread, kafka.stop)
        running.callback(redis.kill)
        await asyncio.gather(postgres.start(), asyncio.to_thread(kafka.start), asyncio.to_thread(redis.start))
        await postgres.keep_commit_times()
        await asyncio.to_thread(migrations.upgrade, postgres.url)
        mailbox = running.enter_context(run_mail(home))
        notes = (
            f"{postgres_note()}, fsync on",
            f"{redis_note()}, nothing kept over a restart",
            f"Apache Kafka {kafka_version()}, one node",
        )
        yield Site(home, postgres, redis, kafka, mailbox, to_postgres, to_redis, to_kafka, notes)
