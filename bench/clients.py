"""The handle to the load generator's process."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil

from bench.events import Load

ROOT = Path(__file__).resolve().parent.parent
_POLL_SECONDS = 0.1
_STALLED_SECONDS = 20.0
_LATE_SECONDS = 0.3  # how long to wait for frames that nobody expects


class Received(msgspec.Struct, frozen=True):
    """What reached the sockets in one round; all of the counts below `last` should be 0."""

    frames: int
    first: float
    last: float
    missing: int
    doubled: int
    unexpected: int
    out_of_order: int
    connections_lost: int
    close_codes: list[int]
    latencies: list[float]

    @property
    def problems(self) -> list[str]:
        """What went wrong, in words; empty when every event came once, in `seq` order."""
        counts = {
            "frames missing": self.missing,
            "frames doubled": self.doubled,
            "frames of no event": self.unexpected,
            "gaps or steps back in seq": self.out_of_order,
            "connections lost": self.connections_lost,
        }
        words = [f"{count} {what}" for what, count in counts.items() if count]
        return words + [f"close code {code}" for code in self.close_codes]


class Returned(msgspec.Struct, frozen=True):
    """How long each client took to be back, and what refused them, by how often."""

    seconds: list[float]
    refusals: dict[str, int]


class Clients:
    """All WebSocket clients, in a separate process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.process = psutil.Process(process.pid)

    def connect(
        self,
        port: int,
        path: str,
        secret: str,
        count: int,
        first: int = 0,
        receive_buffer: int | None = None,
    ) -> None:
        """Connect the users `first` … `first + count - 1`; raises RuntimeError unless all are let in.

        `receive_buffer` is the size of their kernel's, in bytes.
        """
        answer = self._do(
            "connect",
            port=port,
            path=path,
            secret=secret,
            count=count,
            first=first,
            receive_buffer=receive_buffer,
        )
        if answer["accepted"] != count:
            raise RuntimeError(f"{answer['accepted']} of {count} were let in, another: {answer['refusal']}")

    def storm(self, port: int, path: str, secret: str, count: int, first: int, seq: int) -> Returned:
        """All these users connect at once, and resume after this `seq`."""
        values = {"port": port, "path": path, "secret": secret, "count": count, "first": first, "seq": seq}
        return msgspec.convert(self._do("storm", **values), Returned)

    def expect(self, load: Load) -> None:
        """Forget the last round; this load comes next."""
        self._do("reset", first_serial=load.first_serial, events=load.events)

    def wait(self, load: Load, on_progress: Callable[[int], None]) -> None:
        """Return when the whole load has arrived, or when nothing came for a long time."""
        frames, moved = 0, time.monotonic()
        while frames < load.notifications and time.monotonic() - moved < _STALLED_SECONDS:
            time.sleep(_POLL_SECONDS)
            before, frames = frames, self._do("status")["frames"]
            if frames != before:
                moved = time.monotonic()
                on_progress(frames)

    def result(self, load: Load, *, latencies: bool = False) -> Received:
        """What arrived of the load, and what arrived beside it."""
        time.sleep(_LATE_SECONDS)
        return msgspec.convert(self._do("result", copies=load.fan_out, latencies=latencies), Received)

    def close(self) -> None:
        """Drop all connections."""
        self._do("close")

    def _do(self, command: str, **values: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode({"do": command, **values}) + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the load generator ended; its words are above")
        answer: dict[str, Any] = msgspec.json.decode(line)
        return answer


@contextmanager
def run_clients() -> Iterator[Clients]:
    """Run the load generator; it ends with this process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.generator"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    try:
        yield Clients(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
