"""Each transport at full speed, on one warm server: Kafka, RabbitMQ, a Redis stream, HTTP."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import psutil
import redis

from app.dev import tokens
from bench import cpu
from bench.cases import WARM_UP_EACH, Stage, backlog, rows, stage
from bench.clients import ROOT, Clients
from bench.events import Load
from bench.http_load import Sending
from bench.options import Options
from bench.progress import bar, say
from bench.results import HTTP_BULK, Round, TransportResult
from bench.site import Site, Target
from tests.support.install_tools import has_rabbitmq
from tests.support.rabbitmq_server import MISSING, RabbitMQServer

BULK, BULK_AT_ONCE = 500, 4  # notifications a request, requests at once
SINGLE_AT_ONCE = 64
_QUEUE = "notifications"
_STREAM = "inventory:low-stock:stream"
_RABBITMQ, _REDIS = ("beam.smp",), ("redis-server", "valkey-server")  # the programs
_SERIALS = 10_000_000  # of each transport
_SEND = "/api/v2/notification-service/notifications"

Run = Callable[[Load, str], Round]


@dataclass(frozen=True)
class Transport:
    """A transport; `run` sends one load over it, with a label for the progress bar."""

    name: str
    stage: Stage
    events: int
    run: Run
    first_serial: int

    def measure(self, rounds: int) -> TransportResult:
        """Warm up, and run `rounds` times."""
        warm_up = self.stage.users * WARM_UP_EACH
        self.run(self.stage.load(self.first_serial, warm_up), f"{self.name}, warming up")
        before = rows(self.stage)
        done = []
        for number in range(rounds):
            load = self.stage.load(self.first_serial + warm_up + number * self.events, self.events)
            done.append(self.run(load, f"{self.name}, round {number + 1} of {rounds}"))
        return TransportResult(
            transport=self.name,
            events=self.events,
            rounds=done,
            rows=rows(self.stage) - before,
            rows_due=sum(each.notifications for each in done),
        )


@contextmanager
def open_transports(
    site: Site, hub: Target, clients: Clients, options: Options, *, window: bool = False
) -> Iterator[Sequence[Transport]]:
    """A hub that listens on all transports, and these; without RabbitMQ where it isn't installed."""
    with ExitStack() as running:
        environment = {**hub.environment, "REDIS_EVENTS_URL": site.redis_url}
        rabbitmq = running.enter_context(_run_rabbitmq(site.home / "rabbitmq"))
        if rabbitmq is not None:
            environment["RABBITMQ_URL"] = rabbitmq.url
        target = replace(hub, environment=environment)
        on = running.enter_context(
            stage(site, target, clients, options.users, options.partitions, window=window)
        )
        sender = running.enter_context(_run_sender())
        many, few = options.transport_events, options.single_events
        transports: dict[str, tuple[int, Run]] = {"Kafka": (many, partial(backlog, on, on.publisher.burst))}
        if rabbitmq is not None:
            to_rabbitmq = partial(_to_rabbitmq, rabbitmq)
            transports["RabbitMQ"] = (many, partial(backlog, on, to_rabbitmq, feeder=_RABBITMQ))
        transports["Redis stream"] = (many, partial(backlog, on, partial(_to_stream, site), feeder=_REDIS))
        transports[HTTP_BULK] = (many, partial(sender.run, on, BULK, BULK_AT_ONCE))
        transports["HTTP, one a request"] = (few, partial(sender.run, on, 1, SINGLE_AT_ONCE))
        yield [
            Transport(name, on, events, run, number * _SERIALS)
            for number, (name, (events, run)) in enumerate(transports.items(), 1)
        ]


@contextmanager
def _run_rabbitmq(folder: Path) -> Iterator[RabbitMQServer | None]:
    if not has_rabbitmq():
        say(f"{MISSING}; it is left out.")
        yield None
        return
    server = RabbitMQServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def measure(site: Site, hub: Target, clients: Clients, options: Options) -> Iterator[TransportResult]:
    """Measure each transport alone, one after the other."""
    with open_transports(site, hub, clients, options) as transports:
        for transport in transports:
            yield transport.measure(options.rounds)


def _to_rabbitmq(server: RabbitMQServer, load: Load) -> None:
    asyncio.run(server.publish(_QUEUE, *map(load.message, range(load.events))))


def _to_stream(site: Site, load: Load) -> None:
    with redis.Redis.from_url(site.redis_url) as client, client.pipeline(transaction=False) as pipe:
        for index in range(load.events):
            pipe.xadd(_STREAM, {"data": load.message(index)})
        pipe.execute()


class Sender:
    """The handle to the process that sends over HTTP."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._cpu = cpu.of(psutil.Process(process.pid))

    def run(self, stage: Stage, per_request: int, connections: int, load: Load, what: str) -> Round:
        """Send the load, `per_request` notifications in each request, over so many connections at once."""
        token = tokens.sign("bench", stage.site.secret, scope="notifications:send")
        path = _SEND if per_request == 1 else f"{_SEND}/bulk"
        self._ask(
            msgspec.json.encode(Sending(load, stage.server.port, path, token, per_request, connections))
        )
        stage.clients.expect(load)
        meter = stage.meter(broker=self._cpu)
        began = time.monotonic()
        with bar(what, load.notifications, "notifications") as progress:
            refused: dict[str, int] = self._ask(b"")
            stage.clients.wait(load, progress)
        usage = meter.read()
        received = stage.clients.result(load)
        problems = [f"{count} × {why}" for why, count in refused.items()]
        return Round(
            load.notifications,
            received.last - began,
            received.last - began,
            usage,
            received.problems + problems,
        )

    def _ask(self, line: bytes) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the sender ended; its words are above")
        return msgspec.json.decode(answer)


@contextmanager
def _run_sender() -> Iterator[Sender]:
    command = [sys.executable, "-m", "bench.http_load"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdin is not None
        yield Sender(process)
        process.stdin.close()
