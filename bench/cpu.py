"""CPU seconds of the processes that share the machine in a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import psutil

Seconds = Callable[[], float]


class Usage(msgspec.Struct, frozen=True):
    """Seconds of wall time, and of CPU by process; `others` is what else ran on the machine."""

    wall: float
    cpu: dict[str, float]

    def share(self, name: str) -> float:
        """Cores that this process kept busy, on average."""
        return self.cpu.get(name, 0.0) / self.wall


class Meter:
    """Measures from its making to `read`."""

    def __init__(self, processes: Mapping[str, Seconds]) -> None:
        self._processes = processes
        self._before = {name: seconds() for name, seconds in processes.items()}
        self._busy = _machine_busy()
        self._began = time.monotonic()

    def read(self) -> Usage:
        """What was used so far."""
        wall = time.monotonic() - self._began
        cpu = {name: seconds() - self._before[name] for name, seconds in self._processes.items()}
        cpu["others"] = max(0.0, _machine_busy() - self._busy - sum(cpu.values()))
        return Usage(wall, cpu)


def of(process: psutil.Process) -> Seconds:
    """The CPU seconds of one process."""

    def seconds() -> float:
        times = process.cpu_times()
        return times.user + times.system

    return seconds


def of_postgres(home: Path) -> Seconds:
    """The CPU seconds of the Postgres with its data in `home/postgres`, its ended backends with them."""
    server = psutil.Process(int((home / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0]))

    def seconds() -> float:
        times = server.cpu_times()
        total = times.user + times.system + times.children_user + times.children_system
        for backend in server.children(recursive=True):
            try:
                used = backend.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += used.user + used.system
        return total

    return seconds


def find(*words: str) -> psutil.Process | None:
    """The descendant of this process whose command line has one of these words; the broker, say."""
    for process in psutil.Process().children(recursive=True):
        line = process.cmdline()
        # a guard names the whole command too; what it guards has no child
        if any(word in line for word in words) and not process.children():
            return process
    return None


def named(*names: str) -> Seconds:
    """The CPU seconds of the descendants of this process that have one of these names."""
    found = [of(each) for each in psutil.Process().children(recursive=True) if each.name() in names]
    return lambda: sum(seconds() for seconds in found)


def _machine_busy() -> float:
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)
