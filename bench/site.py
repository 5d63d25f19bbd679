"""Where a run takes place: the services, and one server at a time on them."""

from __future__ import annotations

import json
import os
import secrets
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import psutil

from app.dev.postgres import postgres_note, run_postgres
from app.dev.process import Command, Running, start, start_on_free_port
from app.dev.redis import redis_note, run_redis
from app.store import migrations
from bench import cpu
from bench.clients import ROOT, Clients
from tests.support.kafka.choose import choose_broker

_READY_SECONDS = 30.0
_WINDOW_SECONDS = 10.0
_EMBEDDED_FETCH_MS = "10"  # librdkafka's mock broker answers a fetch only when its wait is over


@dataclass(frozen=True)
class Target:
    """What is measured: how it is started and reached."""

    name: str
    arguments: tuple[str, ...]
    ready: str
    socket: str
    table: str
    environment: Mapping[str, str] = field(default_factory=dict)


HUB = Target(
    name="hub",
    arguments=(str(ROOT / "run.py"),),
    ready="/api/v2/notification-service/ready",
    socket="/ws/v2/notification-service/notifications/users/{user}",
    table="notifications",
)
NAIVE = Target(
    name="naive",
    arguments=("-m", "bench.naive"),
    ready="/ready",
    socket="/users/{user}",
    table="naive_notifications",
)


@dataclass(frozen=True)
class Server:
    """A running target."""

    target: Target
    port: int
    process: psutil.Process
    window: Path

    def connect(self, clients: Clients, secret: str, count: int, first: int = 0) -> None:
        """Connect clients to it."""
        clients.connect(self.port, self.target.socket, secret, count, first)

    def look(self) -> dict[str, Any]:
        """What its window shows now; only for a target started through the harness."""
        return look_through(self.window, self.process)


def look_through(window: Path, process: psutil.Process) -> dict[str, Any]:
    """What the window of a process shows that runs through the harness. Waits for it."""
    window.unlink(missing_ok=True)
    process.send_signal(signal.SIGUSR1)
    deadline = time.monotonic() + _WINDOW_SECONDS
    while not window.exists():
        if time.monotonic() > deadline:
            raise RuntimeError("the server doesn't answer SIGUSR1")
        time.sleep(0.02)
    found: dict[str, Any] = json.loads(window.read_text())
    return found


@dataclass(frozen=True)
class Site:
    """The running services, with one line each on what they are."""

    home: Path
    database_url: str
    redis_url: str
    kafka: str
    embedded_broker: bool
    secret: str
    notes: tuple[str, ...]

    def processes(self, server: Server, clients: Clients) -> dict[str, cpu.Seconds]:
        """Whose CPU is measured."""
        found = {
            "server": cpu.of(server.process),
            "postgres": cpu.of_postgres(self.home),
            "generator": cpu.of(clients.process),
            "bench": cpu.of(psutil.Process()),
        }
        broker = cpu.find("kafka.Kafka", "app.dev.broker")
        return found | {"broker": cpu.of(broker)} if broker else found

    def database_of(self, target: Target) -> str:
        """The URL of the database that the target writes to."""
        return target.environment.get("DATABASE_URL", self.database_url)

    def environment(self, target: Target, topic: str, port: int) -> dict[str, str]:
        """A server's settings: the production defaults but for what this machine sets."""
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PORT": str(port),
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "USER_SERVICE_URL": "http://127.0.0.1:9",  # nobody: the events name their receivers
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka,
            "NOTIFICATION_TOPIC": topic,
            "JWT_ALGORITHM": "HS256",
            "JWT_SECRET": self.secret,
            "LOG_LEVEL": "warning",
            **({"KAFKA_FETCH_MAX_WAIT_MS": _EMBEDDED_FETCH_MS} if self.embedded_broker else {}),
            **target.environment,
        }


@contextmanager
def open_site(home: Path) -> Iterator[Site]:
    """Run the services with their data in `home`, migrated. Postgres syncs to disk, as in production."""
    with ExitStack() as running:
        database_url = running.enter_context(run_postgres(home))
        redis_url = running.enter_context(run_redis(home))
        broker = running.enter_context(choose_broker(home))
        migrations.upgrade(database_url)
        yield Site(
            home,
            database_url,
            redis_url,
            broker.bootstrap,
            broker.description.startswith("librdkafka"),
            secrets.token_urlsafe(48),
            (postgres_note(), redis_note(), broker.description),
        )


@contextmanager
def run_server(site: Site, target: Target, topic: str, *, window: bool = False) -> Iterator[Server]:
    """Run a target as its own process, ready; with `window` through the harness (see `Server.look`)."""
    shown = site.home / f"{target.name}.window"
    arguments = ("-m", "bench.harness", target.name, str(shown)) if window else target.arguments
    running, port = start_on_free_port(lambda port: (_start(site, target, arguments, topic, port), port))
    try:
        guarded = psutil.Process(running.guard.pid).children()[0]
        yield Server(target, port, guarded, shown)
    finally:
        running.stop()


def _start(site: Site, target: Target, arguments: tuple[str, ...], topic: str, port: int) -> Running:
    command = Command(
        name=f"The {target.name} server",
        arguments=[sys.executable, *arguments],
        log=site.home / "logs" / f"{target.name}.log",
        remedy="Its log says why.",
        folder=site.home,
        environment=site.environment(target, topic, port),
    )
    running = start(command)
    try:
        running.wait_until(_answers(f"http://127.0.0.1:{port}{target.ready}"), _READY_SECONDS)
    except BaseException:
        running.stop()
        raise
    return running


def _answers(address: str) -> Callable[[], bool]:
    def answers() -> bool:
        try:
            with urllib.request.urlopen(address, timeout=5) as response:
                return bool(response.status == HTTPStatus.OK)
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
            return False

    return answers
