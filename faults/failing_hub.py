"""A hub that fails at a named point: `python -m faults.failing_hub POINT die|block [SECONDS [AFTER]]`.

`die` is kill -9 of itself; `block` stops its event loop for SECONDS, once. Either happens when the point is
passed for the time number AFTER (1). The hub's own code knows nothing of it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any

import aiormq
from aiokafka import AIOKafkaConsumer

from app import settings
from app.ingest.large_events import LargeEvents
from app.realtime.bus import RedisBus
from app.server import app as server
from app.store import writer

Fail = Callable[[], None]

ON_SIGNAL = "on-signal"
"""The point is SIGUSR1, whenever it comes."""
BLOCKED = "failpoint: the event loop is blocked"
"""Stands in the log from then on."""
BEFORE: dict[str, tuple[Any, str]] = {
    "before-commit": (writer, "_insert"),
    "before-publish": (RedisBus, "publish"),
    "between-chunks": (LargeEvents, "_yield_to_others"),
    "before-logout": (RedisBus, "disconnect"),
    "before-offset": (AIOKafkaConsumer, "commit"),
    "before-ack": (aiormq.Channel, "basic_ack"),
}
DURING: dict[str, tuple[Any, str]] = {
    "in-transaction": (writer, "_insert"),
}
"""Postgres has the statement, and has not answered."""
AFTER: dict[str, tuple[Any, str]] = {
    "after-commit": (writer.BatchWriter, "write"),
    "after-publish": (RedisBus, "publish"),
    "after-offset": (AIOKafkaConsumer, "commit"),
}


def install(point: str, fail: Fail) -> None:
    """Have `fail` called at the point."""
    if point == ON_SIGNAL:
        signal.signal(signal.SIGUSR1, lambda *_: fail())
        return
    owner, name = BEFORE.get(point) or DURING.get(point) or AFTER[point]
    call = getattr(owner, name)
    setattr(
        owner, name, _during(call, fail) if point in DURING else _wrapped(call, fail, first=point in BEFORE)
    )


def _wrapped(call: Callable[..., Any], fail: Fail, *, first: bool) -> Callable[..., Any]:
    def wrapped(*given: Any, **named: Any) -> Any:
        if first:
            fail()
        answer = call(*given, **named)
        if not first:
            fail()
        return answer

    async def wrapped_async(*given: Any, **named: Any) -> Any:
        if first:
            fail()
        answer = await call(*given, **named)
        if not first:
            fail()
        return answer

    return wrapped_async if iscoroutinefunction(call) else wrapped


def _during(call: Callable[..., Any], fail: Fail) -> Callable[..., Any]:
    async def wrapped(*given: Any, **named: Any) -> Any:
        running = asyncio.ensure_future(call(*given, **named))
        await asyncio.sleep(0)  # it has sent what it sends
        fail()
        return await running

    return wrapped


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _once(fail: Fail, after: int) -> Fail:
    """Fails at the call with this number only."""
    passed = 0

    def maybe() -> None:
        nonlocal passed
        passed += 1
        if passed == after:
            fail()

    return maybe


def _blocks(seconds: float) -> Fail:
    def block() -> None:
        print(BLOCKED, file=sys.stderr, flush=True)
        time.sleep(seconds)

    return block


def main(point: str, action: str, seconds: str = "0", after: str = "1") -> None:
    fail = _die if action == "die" else _blocks(float(seconds))
    install(point, fail if point == ON_SIGNAL else _once(fail, int(after)))
    server.run(settings.load())


if __name__ == "__main__":
    main(*sys.argv[1:])
