"""A real hub for tests: `python run.py` as its own process, and clients that talk to it as users do."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import socket
import ssl
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import httpx
from aiokafka import AIOKafkaConsumer
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from app.dev import tokens
from app.settings.sources import TOPIC_VARIABLES
from tests.support import prefork
from tests.support.kept_clients import KeptClients, make_topics

ROOT = Path(__file__).parents[2]
REST = "/api/v2/notification-service"
WEBSOCKET = "/ws/v2/notification-service"
SECRET = "a secret for tests, long enough to be accepted"
ISSUER = "tests"
METRICS_TOKEN = "for the tests' own scraper, 32 characters".replace(" ", "-")
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients of plain HTTP: without it, httpx reads all certificate authorities for each, 20 ms of CPU."""
WAIT = 30.0  # seconds until something expected counts as missing, on a machine that does much else
_FIRST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 0.1  # each question costs CPU, of which the hub that is waited for needs some

T = TypeVar("T")
PORTS = range(11_000, 32_768)
"""Below those that Linux gives to outgoing connections."""


async def eventually(ask: Callable[[], Awaitable[T | None]], what: str, within: float = WAIT) -> T:
    """The first answer that is neither None nor False; fails naming `what` when none comes in time."""
    end = asyncio.get_running_loop().time() + within
    pause = _FIRST_PAUSE_SECONDS
    while True:
        answer = await ask()
        if answer is not None and answer is not False:
            return answer
        assert asyncio.get_running_loop().time() < end, f"waited {within:g} s without success: {what}"
        await asyncio.sleep(pause)
        pause = min(pause * 1.2, _LONGEST_PAUSE_SECONDS)


def free_port() -> int:
    """A port of 127.0.0.1 that is free, and that no outgoing connection is given meanwhile."""
    while True:
        port = secrets.choice(PORTS)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def token(user_id: str | uuid.UUID, **changes: Any) -> str:
    return tokens.sign(str(user_id), SECRET, **{"issuer": ISSUER, **changes})


def new_user() -> str:
    return str(uuid.uuid4())


def hub_settings(database: str, redis: str, kafka: str, user_service: str, mark: str) -> dict[str, str]:
    """The settings of a hub on these services; `mark` names the Kafka topics and keys that are its own."""
    return {
        "DATABASE_URL": database,
        "REDIS_URL": redis,
        "REDIS_PREFIX": f"hub-{mark}",
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "KAFKA_GROUP": f"group-{mark}",
        "KAFKA_SESSION_TIMEOUT_MS": "3000",
        "NOTIFICATION_TOPIC": f"notifications-{mark}",
        "LOGOUT_EVENTS_TOPIC": f"logouts-{mark}",
        "REGISTRATION_EVENTS_TOPIC": f"register-{mark}",
        "RESET_PASSWORD_EVENTS_TOPIC": f"reset-{mark}",
        "EMAIL_CHANGE_EVENTS_TOPIC": f"change-{mark}",
        "USER_SERVICE_URL": user_service,
        "USER_SERVICE_CACHE": "0",
        "HTTP_WAIT": "4",
        "JWT_ALGORITHM": "HS256",
        "JWT_SECRET": SECRET,
        "JWT_ISSUER": ISSUER,
        "ALLOWED_ORIGINS": "https://app.example.com",
    }


@dataclass
class Hub:
    """One hub process with a separate database and separate Kafka topics."""

    environment: dict[str, str]
    log: Path
    port: int = field(default_factory=free_port)
    process: prefork.Process | None = None
    command: tuple[str, ...] = ("run.py",)
    kept: KeptClients | None = None

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def topic(self) -> str:
        return self.environment["NOTIFICATION_TOPIC"]

    @property
    def logout_topic(self) -> str:
        return self.environment["LOGOUT_EVENTS_TOPIC"]

    @property
    def database(self) -> str:
        return self.environment["DATABASE_URL"]

    def token(self, user_id: str, **changes: Any) -> str:
        return token(user_id, **changes)

    async def start(self) -> None:
        """Start the process; returns when /ready says so. A process that doesn't get there is killed."""
        await self.make_topics()
        self.launch()
        try:
            await self.until_ready()
        except BaseException:
            await self.kill()
            raise

    def launch(self) -> None:
        """Start the process and don't wait for it."""
        with self.log.open("ab") as log:
            environment = {**os.environ, "METRICS_TOKEN": METRICS_TOKEN, **self.environment}
            self.process = prefork.start(self.command, {**environment, "PORT": str(self.port)}, log)

    async def until_ready(self, within: float = 90.0) -> None:
        """Returns when /ready says so; fails when the process ends before."""
        async with httpx.AsyncClient(base_url=self.http, verify=NO_TLS) as client:

            async def ready() -> bool:
                assert self.process is not None
                assert self.process.poll() is None, f"the hub ended:\n{self.log.read_text()}"
                try:
                    return (await client.get(f"{REST}/ready")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(ready, "the hub is ready", within)

    async def make_topics(self) -> None:
        """The hub need not wait to notice them. Those of dead letters are made when one is sent."""
        topics = [self.environment[variable] for variable in TOPIC_VARIABLES]
        await make_topics(self.environment["KAFKA_BOOTSTRAP_SERVERS"], topics)

    async def wait(self) -> int:
        """Wait for the process to end; its exit status."""
        assert self.process is not None
        return await asyncio.to_thread(self.process.wait, WAIT)

    async def stop(self) -> int:
        """SIGTERM, as an orchestrator does it."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return await self.wait()

    async def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        await self.wait()

    @asynccontextmanager
    async def client(self, user_id: str, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
        """A REST client of this user."""
        base = self.http + REST
        headers = {"Authorization": f"Bearer {token(user_id)}", **headers}
        async with httpx.AsyncClient(base_url=base, headers=headers, timeout=WAIT, verify=NO_TLS) as client:
            yield client

    def socket(self, user_id: str, **options: Any) -> connect:
        """A plain WebSocket of this user: `async with hub.socket(user) as socket`."""
        options.setdefault("additional_headers", {"Authorization": f"Bearer {token(user_id)}"})
        return connect(self.socket_address(user_id), **{"compression": None, "open_timeout": WAIT, **options})

    def socket_address(self, user_id: str) -> str:
        return f"{self.ws}{WEBSOCKET}/notifications/users/{user_id}"

    async def publish(
        self,
        *messages: Any,
        topic: str | None = None,
        key: bytes | None = None,
        partition: int | None = None,
        compression: str | None = None,
    ) -> None:
        """Publish to Kafka: objects as JSON, bytes as they are."""
        async with self._clients() as clients:
            producer = await clients.producer(self.environment["KAFKA_BOOTSTRAP_SERVERS"], compression)
            for message in messages:
                value = message if isinstance(message, bytes) else json.dumps(message).encode()
                await producer.send(topic or self.topic, value, key=key, partition=partition)
            await producer.flush()

    @asynccontextmanager
    async def _clients(self) -> AsyncIterator[KeptClients]:
        """Those that are kept, as `run_hub` closes them at its end; else some for this use."""
        if self.kept is not None:
            yield self.kept
            return
        clients = KeptClients()
        try:
            yield clients
        finally:
            await clients.close()

    async def metrics(self) -> str:
        """What /metrics says."""
        headers = {"Authorization": f"Bearer {METRICS_TOKEN}"}
        # The kernel may choose a worker that is still starting.
        async with httpx.AsyncClient(headers=headers, timeout=WAIT, verify=NO_TLS) as client:
            return (await client.get(f"{self.http}{REST}/metrics")).raise_for_status().text

    async def metric(self, name: str) -> float:
        """What it says of a metric without labels."""
        text = await self.metrics()
        return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))

    async def rows(self, statement: str, *values: Any) -> list[asyncpg.Record]:
        """Ask the hub's database."""
        async with self._clients() as clients:
            return await clients.rows(self.database, statement, values)

    async def stored(self, user_id: str, count: int) -> list[asyncpg.Record]:
        """The user's rows in order of `seq`, once there are at least `count`."""

        async def enough() -> list[asyncpg.Record] | None:
            statement = "select * from notifications where receiver = $1 order by seq"
            rows = await self.rows(statement, uuid.UUID(user_id))
            return rows if len(rows) >= count else None

        return await eventually(enough, f"{count} rows of {user_id}")

    async def records(self, topic: str) -> list[Any]:
        """Every record that a Kafka topic holds now."""
        consumer = AIOKafkaConsumer(
            topic,
            bootstrap_servers=self.environment["KAFKA_BOOTSTRAP_SERVERS"],
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=8_000_000,
        )
        await consumer.start()
        try:
            ends = await consumer.end_offsets(list(consumer.assignment()))
            found: list[Any] = []
            while any([await consumer.position(partition) < end for partition, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += records
            return found
        finally:
            await consumer.stop()

    async def dead_letters(self, seen: Sequence[Any] = (), topic: str | None = None) -> list[Any]:
        """The records of the dead-letter Kafka topic that weren't `seen`, once there is one."""
        places = {(record.partition, record.offset) for record in seen}

        async def new() -> list[Any] | None:
            records = await self.records(f"{topic or self.topic}.dlq")
            return [r for r in records if (r.partition, r.offset) not in places] or None

        return await eventually(new, "a dead letter")


@asynccontextmanager
async def running_hub(environment: dict[str, str], log: Path, port: int | None = None) -> AsyncIterator[Hub]:
    """Run a hub; what it logged is shown when the test fails."""
    async with run_hub(Hub(environment, log, port or free_port())) as hub:
        yield hub


@asynccontextmanager
async def run_hub(hub: Hub) -> AsyncIterator[Hub]:
    """Run this hub, and keep its clients meanwhile."""
    await hub.start()
    hub.kept = KeptClients()
    try:
        yield hub
    finally:
        if hub.process is not None and hub.process.poll() is None:
            await hub.stop()
        await hub.kept.close()
        print(hub.log.read_text()[-8000:])


def reasons(records: list[Any]) -> list[str]:
    """Why each record was dead-lettered."""
    return [dict(record.headers)["dlq.reason"].decode() for record in records]


async def receive(socket: ClientConnection, within: float = WAIT) -> dict[str, Any]:
    """The next frame."""
    async with asyncio.timeout(within):
        frame: dict[str, Any] = json.loads(await socket.recv())
    return frame


async def quiet(socket: ClientConnection, during: float = 0.3) -> bool:
    """Whether no frame comes for a moment. Ask only after what could bring one was seen to be done."""
    try:
        async with asyncio.timeout(during):
            await socket.recv()
    except TimeoutError:
        return True
    return False


async def close_code(socket: ClientConnection) -> int | None:
    """Read on until the hub closes."""
    try:
        async with asyncio.timeout(WAIT):
            while True:
                await socket.recv()
    except ConnectionClosed:
        return socket.close_code


def event(event_type: str, receivers: list[str] | None = None, **data: Any) -> dict[str, Any]:
    """A group event with all it needs, unless `data` says otherwise."""
    message: dict[str, Any] = {"event_type": event_type, "group_id": GROUP}
    if receivers is not None:
        message["receivers"] = receivers
    message["data"] = {"group_name": "Family Group", **data}
    return message


def added(receiver: str, requester: str = "john_doe") -> dict[str, Any]:
    """A `group_user_added` of one receiver."""
    return event("group_user_added", [receiver], requester_username=requester)


GROUP = "123e4567-e89b-12d3-a456-426614174000"
