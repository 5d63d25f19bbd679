"""Stalled readers: some clients stop reading, and the others must not notice."""

from __future__ import annotations

import re
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.dev import tokens
from bench.cases import WARM_UP_EACH, Stage, pace, percentiles
from bench.clients import Clients
from bench.results import Stopped

_LOOK_EVERY = 0.05  # seconds
_METRICS = "/api/v2/notification-service/metrics"
_TINY = 4096  # bytes that the kernel of a stopped client takes
_SHARE = 100  # one in so many stops
_GONE_WITHIN = 30.0  # seconds


def stopped(stage: Stage, stoppers: Clients, rate: float, seconds: float) -> Stopped:
    """The same paced load four times: the second and the fourth time with clients that stop reading.

    Those are further connections of some of the users, in a process that is stopped once they are open.
    """
    count = max(1, stage.users // _SHARE)
    serial = stage.users * WARM_UP_EACH
    events = int(rate * seconds)
    p99: dict[bool, list[float]] = {False: [], True: []}
    closed_after: list[float] = []
    memory: list[float] = []
    problems: list[str] = []
    pace(stage, stage.load(serial, events), rate, "warming up")
    for with_stopped in (False, True, False, True):
        serial += events
        before = stage.server.process.memory_info().rss
        gone = _stop_some(stage, stoppers, count) if with_stopped else None
        with watched_memory(stage) as sizes:
            what = f"{count} stopped" if with_stopped else "all read"
            run = pace(stage, stage.load(serial, events), rate, what)
        p99[with_stopped].append(percentiles(run.received)["p99"])
        problems += run.received.problems
        if gone is not None:
            memory.append(max(sizes) / before)
            closed_after.append(gone())
            stoppers.process.resume()
            stoppers.close()
    return Stopped(
        connections=stage.users,
        stopped=count,
        rate=rate,
        p99_without=p99[False],
        p99_with=p99[True],
        closed_after=closed_after,
        memory=max(memory),
        problems=problems,
    )


def _stop_some(stage: Stage, stoppers: Clients, count: int) -> Callable[[], float]:
    """Open connections that stop reading; the function waits, and gives the seconds until all were closed."""
    server = stage.server
    stoppers.connect(
        server.port, server.target.socket, stage.site.secret, count, stage.first_user, receive_buffer=_TINY
    )
    stoppers.process.suspend()
    began = time.monotonic()
    seconds: list[float] = []

    def watch() -> None:
        while time.monotonic() - began < _GONE_WITHIN:
            if _connections(server.port, stage.site.secret) <= stage.users:
                seconds.append(time.monotonic() - began)
                return
            time.sleep(_LOOK_EVERY * 5)

    watching = threading.Thread(target=watch)
    watching.start()

    def gone() -> float:
        watching.join()
        return seconds[0] if seconds else float("inf")

    return gone


def _connections(port: int, secret: str) -> int:
    headers = {"Authorization": f"Bearer {tokens.sign('bench', secret, scope='metrics:read')}"}
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{_METRICS}", headers=headers)
    with urllib.request.urlopen(asked, timeout=5) as response:
        found = re.search(r"^hub_connections (\S+)$", response.read().decode(), re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


@contextmanager
def watched_memory(stage: Stage) -> Iterator[list[int]]:
    """The server's RSS while this is open."""
    sizes = [stage.server.process.memory_info().rss]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_LOOK_EVERY * 5):
            sizes.append(stage.server.process.memory_info().rss)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield sizes
    finally:
        done.set()
        watching.join()
