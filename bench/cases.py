"""The three cases: full speed, paced, idle. Each runs a fresh server on the same services."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import asyncpg
from redis import Redis

from bench import cpu
from bench.clients import Clients, Received
from bench.cpu import Meter, Seconds, Usage
from bench.events import Load, Publisher, make_topic
from bench.progress import bar
from bench.results import FullSpeed, Idle, Paced, Round
from bench.site import Server, Site, Target, run_server

WARM_UP_EACH = 4  # notifications a user gets before anything is measured
_SETTLE_SECONDS = 3.0
_REST_SECONDS = 20.0
_FIRST_CONNECTIONS = 100  # connected before the measure, for what is loaded and kept at the first use
_CONNECTIONS_AT_ONCE = 5000  # of more, a hub refuses some while as many wait to be let in
_STEPS = [*(f"p{percent}" for percent in range(1, 100)), "p99.9", "max"]
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Stage:
    """A warm server with its clients and its Kafka topic."""

    site: Site
    server: Server
    clients: Clients
    publisher: Publisher
    users: int
    first_user: int

    def load(self, first_serial: int, events: int, fan_out: int = 1) -> Load:
        return Load(first_serial, events, self.users, self.first_user, fan_out)

    def meter(self, **more: Seconds) -> Meter:
        """Of all processes, and of `more`, which take the place of those with the same name."""
        return Meter({**self.site.processes(self.server, self.clients), **more})


@contextmanager
def stage(
    site: Site, target: Target, clients: Clients, users: int, partitions: int, *, window: bool = False
) -> Iterator[Stage]:
    """A fresh server, new users and a new Kafka topic; every user has had some notifications already."""
    number = next(_numbers)
    topic, first_user = f"bench.{target.name}.{number}", number * 1_000_000
    if not site.embedded_broker:  # that one can't be asked; it makes four partitions at the first use
        make_topic(site.kafka, topic, partitions)
    with run_server(site, target, topic, window=window) as server:
        publisher = Publisher(site.kafka, topic)
        server.connect(clients, site.secret, users, first_user)
        ready = Stage(site, server, clients, publisher, users, first_user)
        warm_up(ready)
        yield ready
        clients.close()


def warm_up(stage: Stage) -> None:
    load = stage.load(0, stage.users * WARM_UP_EACH)
    stage.clients.expect(load)
    stage.publisher.burst(load)
    stage.clients.wait(load, lambda _: None)
    if problems := stage.clients.result(load).problems:
        raise RuntimeError(f"{stage.server.target.name}, warming up: {'; '.join(problems)}")


def full_speed(stage: Stage, events: int, rounds: int, fan_out: int = 1) -> FullSpeed:
    """Let the server loose on a backlog, `rounds` times."""
    before = rows(stage)
    first_serial = stage.users * WARM_UP_EACH
    done = []
    for number in range(rounds):
        load = stage.load(first_serial + number * events, events, fan_out)
        what = f"{stage.server.target.name}, {fan_out} a event, round {number + 1} of {rounds}"
        done.append(backlog(stage, stage.publisher.burst, load, what))
    return FullSpeed(
        target=stage.server.target.name,
        users=stage.users,
        events=events,
        fan_out=fan_out,
        rounds=done,
        rows=rows(stage) - before,
        rows_due=sum(each.notifications for each in done),
    )


def backlog(
    stage: Stage, publish: Callable[[Load], None], load: Load, what: str, feeder: Sequence[str] = ()
) -> Round:
    """The backlog is made while the server is stopped, so that the making costs it nothing.

    `feeder` names the programs whose CPU time is the broker's, if that isn't Kafka.
    """
    stage.clients.expect(load)
    stage.server.process.suspend()
    try:
        publish(load)
    finally:
        released = time.monotonic()
        stage.server.process.resume()
    meter = stage.meter(broker=cpu.named(*feeder)) if feeder else stage.meter()
    with bar(what, load.notifications, "notifications") as progress:
        stage.clients.wait(load, progress)
    usage = meter.read()
    received = stage.clients.result(load)
    return Round(
        load.notifications,
        received.last - received.first,
        received.last - released,
        usage,
        received.problems,
    )


def paced(stage: Stage, rate: float, warm_seconds: float, seconds: float) -> Paced:
    """Publish at a steady rate and time every event from there to the socket.

    First for `warm_seconds`, kept apart: Kafka's JVM compiles its code for this load, on the same cores.
    """
    first_serial = stage.users * WARM_UP_EACH
    warming = pace(stage, stage.load(first_serial, int(rate * warm_seconds)), rate, "warming up")
    load = stage.load(first_serial + int(rate * warm_seconds), int(rate * seconds))
    measured = pace(stage, load, rate, "measured")
    return Paced(
        target=stage.server.target.name,
        rate=rate,
        reached=measured.reached,
        events=load.events,
        milliseconds=percentiles(measured.received),
        warming=percentiles(warming.received),
        usage=measured.usage,
        problems=warming.received.problems + measured.received.problems,
    )


class Pace(NamedTuple):
    reached: float
    usage: Usage
    received: Received


def pace(stage: Stage, load: Load, rate: float, what: str) -> Pace:
    stage.clients.expect(load)
    meter = stage.meter()
    with bar(f"{stage.server.target.name} at {rate:,.0f}/s, {what}", load.events, "events") as progress:
        reached = stage.publisher.paced(load, rate, progress)
        stage.clients.wait(load, progress)
    usage = meter.read()
    return Pace(reached, usage, stage.clients.result(load, latencies=True))


def percentiles(received: Received) -> dict[str, float]:
    ordered = sorted(received.latencies)
    if not ordered:
        return {}
    shares = [percent / 100 for percent in range(1, 100)] + [0.999, 1.0]
    return {
        name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000
        for name, share in zip(_STEPS, shares, strict=True)
    }


def idle(site: Site, target: Target, clients: Clients, connections: int, partitions: int) -> Idle:
    """Connect many and look at the server's memory and tasks.

    Through the harness, as only the process itself knows its tasks; the app is made and served as ever.
    """
    with stage(site, target, clients, _FIRST_CONNECTIONS, partitions, window=True) as few:
        before = few.server.process.memory_info().rss, few.server.look()["tasks"]
        began = time.monotonic()
        with bar(f"{target.name}, idle", connections, "connections") as progress:
            first = few.first_user + _FIRST_CONNECTIONS
            for done in range(0, connections, _CONNECTIONS_AT_ONCE):
                count = min(_CONNECTIONS_AT_ONCE, connections - done)
                few.server.connect(clients, site.secret, count, first + done)
                progress(done + count)
        connected = time.monotonic() - began
        time.sleep(_SETTLE_SECONDS)
        after = few.server.process.memory_info().rss, few.server.look()["tasks"]
        share, traffic = _at_rest(site, few.server)
    return Idle(
        target=target.name,
        connections=connections,
        bytes_each=(after[0] - before[0]) / connections,
        tasks_each=(after[1] - before[1]) / connections,
        seconds_to_connect=connected,
        cpu_share=share,
        redis_bytes=traffic,
    )


def _at_rest(site: Site, server: Server) -> tuple[float, float]:
    """The server's share of a core and the bytes a second to and from Redis while nothing happens."""

    def figures() -> tuple[float, float]:
        used, stats = server.process.cpu_times(), redis.info("stats")
        return used.user + used.system, stats["total_net_input_bytes"] + stats["total_net_output_bytes"]

    with Redis.from_url(site.redis_url) as redis:
        cpu_before, bytes_before = figures()
        time.sleep(_REST_SECONDS)
        cpu_after, bytes_after = figures()
    return (cpu_after - cpu_before) / _REST_SECONDS, (bytes_after - bytes_before) / _REST_SECONDS


def rows(stage: Stage) -> int:
    async def count() -> int:
        connection = await asyncpg.connect(stage.site.database_of(stage.server.target))
        try:
            found: int = await connection.fetchval(f"select count(*) from {stage.server.target.table}")
            return found
        finally:
            await connection.close()

    return asyncio.run(count())
