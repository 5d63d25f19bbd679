"""Postgres, Redis, Kafka and RabbitMQ for a test run: one of each for all its workers.

With workers (tests/support/workers.py) they run under a separate process, forked before any test is
collected; they end with the run, however it ends. TEST_SERVICES names the folder of a
`python -m tests.support.services FOLDER` that keeps running: the run uses those, and a few tests need not
start a Kafka. RabbitMQ is started when the first test wants it.

Their data is not below pytest's own temporary folders: each further run of pytest closes the parent of
those to all other users (chmod 700), and Postgres, as a separate user, then dies of the next checkpoint.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NoReturn

import asyncpg
import pytest

from app.dev.postgres import postgres_note, run_postgres
from app.dev.process import ServiceError
from app.dev.redis import redis_note, run_redis
from app.store import migrations
from tests.support.kafka.choose import Choice, pick_broker
from tests.support.rabbitmq_server import run_rabbitmq

BROKER: pytest.StashKey[Choice] = pytest.StashKey()

STANDING = os.environ.get("TEST_SERVICES")
# C2, the compiler that optimizes, takes half of a Kafka's processor time, and minutes to repay it.
FEW_COMPILERS = "-XX:TieredStopAtLevel=1"

_FOLDER: pytest.StashKey[str | None] = pytest.StashKey()
"""Where the addresses of the run's services are; None where this process starts what its tests need."""
_START_SECONDS = 100.0
_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.05

Run = Callable[[Path], AbstractContextManager[str]]


class SharedServices:
    """The services of a run with several workers. Their addresses are passed as files in `home`."""

    def __init__(self, broker: Choice, home: Path | None = None) -> None:
        self.home = home or _make_home()
        self._ended = threading.Event()
        services: dict[str, Run] = {
            "postgres": partial(run_postgres, fast=True),
            "redis": run_redis,
            "kafka": broker.run,
            "rabbitmq": self._when_wanted("rabbitmq", run_rabbitmq),
        }
        self._threads = [
            threading.Thread(target=self._keep, args=(name, run), daemon=True)
            for name, run in services.items()
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop them all and remove their data."""
        self._ended.set()
        for thread in self._threads:
            thread.join(_STOP_SECONDS)
        shutil.rmtree(self.home, ignore_errors=True)

    def _keep(self, name: str, run: Run) -> None:
        try:
            with run(self.home) as address:
                self._tell(f"{name}.address", address)
                self._ended.wait()
        except Exception as error:
            self._tell(f"{name}.failure", f"{type(error).__name__}: {error}")

    def _when_wanted(self, name: str, run: Run) -> Run:
        """Run the service once a test waits for it."""

        @contextmanager
        def waiting(home: Path) -> Iterator[str]:
            while not (home / f"{name}.wanted").exists():
                if self._ended.wait(_POLL_SECONDS):
                    raise ServiceError("no test wanted it")
            with run(home) as address:
                yield address

        return waiting

    def _tell(self, name: str, text: str) -> None:
        unfinished = self.home / f"{name}.unfinished"
        unfinished.write_text(text)
        unfinished.rename(self.home / name)


class _ForkedServices:
    """The services under a separate process, which stops them when this one stops it, or ends."""

    def __init__(self, broker: Choice) -> None:
        self.home = _make_home()
        ours, theirs = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            ours.close()
            _keep_until_closed(SharedServices(broker, self.home), theirs)
        theirs.close()
        self._socket = ours
        # A worker that outlives this process must not keep them.
        os.register_at_fork(after_in_child=ours.close)

    def stop(self) -> None:
        self._socket.close()
        os.waitpid(self._pid, 0)


def _keep_until_closed(services: SharedServices, connection: socket.socket) -> NoReturn:
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        connection.recv(1)
        services.stop()
    finally:
        os._exit(0)


class ServicesPlugin:
    """Chooses the Kafka of this run, names the services in its header, and runs those that workers share."""

    def __init__(self, config: pytest.Config, *, shared: bool) -> None:
        os.environ.setdefault("JAVA_TOOL_OPTIONS", FEW_COMPILERS)
        self._broker = config.stash[BROKER] = pick_broker()
        self._shared = _ForkedServices(self._broker) if shared and STANDING is None else None
        config.stash[_FOLDER] = STANDING if self._shared is None else str(self._shared.home)

    def pytest_report_header(self) -> list[str]:
        return [
            f"kafka: {self._broker.description}",
            f"postgres: {postgres_note()}",
            f"redis: {redis_note()}",
        ]

    def pytest_unconfigure(self) -> None:
        if self._shared is not None:
            self._shared.stop()
            self._shared = None


def fetch_wait(config: pytest.Config) -> str:
    """KAFKA_FETCH_MAX_WAIT_MS for a hub: how long the broker waits for records before it answers with none.

    The embedded broker answers only then. A true Kafka answers at once when there is one, and answers without
    any cost CPU; but what else is asked of it on that connection waits, and a rebalance does.
    """
    return "10" if "mock" in config.stash[BROKER].description else "1000"


@contextmanager
def own_home() -> Iterator[Path]:
    """A folder that a Postgres can have its data in."""
    home = _make_home()
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def service(config: pytest.Config, home: Path, name: str, run: Run) -> Iterator[str]:
    """The address of this service: the one that the run's workers share, else one started in `home`."""
    folder = config.stash[_FOLDER]
    if folder is None:
        with run(home) as address:
            yield address
    else:
        yield _wait_for(Path(folder), name)


async def migrated_template(postgres_url: str) -> str:
    """The name of a database with the hub's tables, to be copied; made if these migrations have none yet."""
    name = f"hub_{_fingerprint_of_migrations()}"
    connection = await asyncpg.connect(postgres_url)
    try:
        await connection.execute("select pg_advisory_lock(hashtext('template'))")
        if not await connection.fetchval("select count(*) from pg_database where datname = $1", name):
            unfinished = f"unfinished_{uuid.uuid4().hex}"
            await connection.execute(f"create database {unfinished}")
            await asyncio.to_thread(migrations.upgrade, f"{postgres_url.rsplit('/', 1)[0]}/{unfinished}")
            await connection.execute(f"alter database {unfinished} rename to {name}")
    finally:
        await connection.close()
    return name


def _fingerprint_of_migrations() -> str:
    digest = hashlib.sha256()
    for file in sorted((migrations.ROOT / "migrations" / "versions").glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _wait_for(home: Path, name: str) -> str:
    (home / f"{name}.wanted").touch()
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        with suppress(FileNotFoundError):
            return (home / f"{name}.address").read_text()
        with suppress(FileNotFoundError):
            raise ServiceError((home / f"{name}.failure").read_text())
        time.sleep(_POLL_SECONDS)
    raise ServiceError(f"{name} did not start within {_START_SECONDS:.0f} s; its log is in {home / 'logs'}")


def _main(home: Path) -> None:
    os.environ.setdefault("JAVA_TOOL_OPTIONS", FEW_COMPILERS)
    home.mkdir(parents=True, exist_ok=True)
    for stale in (*home.glob("*.address"), *home.glob("*.wanted")):
        stale.unlink()
    services = SharedServices(pick_broker(), home.absolute())
    for name in ("postgres", "redis", "kafka"):
        print(f"{name}: {_wait_for(home, name)}")
    print(f"TEST_SERVICES={home.absolute()} python -m pytest ... uses them. Ctrl-C stops them.")
    try:
        signal.pause()
    except KeyboardInterrupt:
        services.stop()


def _make_home() -> Path:
    """Postgres, which won't run as root, has to reach it."""
    home = Path(tempfile.mkdtemp(prefix="hub-tests-"))
    home.chmod(0o755)
    return home


async def new_database(postgres: str, template: str) -> str:
    """The URL of a new database: a copy of `template`, in the server whose database `postgres` names."""
    server, name = postgres.rsplit("/", 1)[0], f"test_{uuid.uuid4().hex}"
    connection = await asyncpg.connect(f"{server}/postgres")
    try:
        await connection.execute(f"create database {name} template {template}")
    finally:
        await connection.close()
    return f"{server}/{name}"


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
