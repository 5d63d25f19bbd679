"""Hubs by fork: a process that has imported the hub becomes one at once, where each new Python takes seconds.

The hub is a separate process all the same, with the environment, output and signals of one that was started
from a shell; what it runs is `run.py`, or the hub that fails at a point. Hubs that a library is loaded into
are started as they always are. TEST_HUB_START=fresh, in the environment of the tests or of one hub, starts
them so; `make test-long` does for all. All workers of a run share one such process.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import IO, Protocol

import msgspec

ROOT = Path(__file__).parents[2]
FORKED = (("run.py",), ("-m", "faults.failing_hub"), ("-m", "alembic"))
"""How the commands begin that may be forked."""

IMPORTED_LATE = (
    *("aiormq", "email.contentmanager", "email.generator", "email.headerregistry", "encodings.idna"),
    *("httpcore", "sanic_testing.manager"),
)
"""What libraries import once they are used."""

_PR_SET_PDEATHSIG = 1
_MAX_REQUEST_BYTES = 1_000_000
_allowed = threading.Event()
# What a process is another for, however it is started.
_LOADERS = ("LD_PRELOAD", "PYTHONPATH", "FAKETIME")


class Process(Protocol):
    """A hub's process: as much of `subprocess.Popen` as tests use."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


def allow(*, now: bool = False) -> None:
    """From now on hubs may be forked. `now`: start the process they are forked from, before workers are."""
    _allowed.set()
    if now:
        _parent()


def start(
    command: Sequence[str], environment: dict[str, str], log: IO[bytes], folder: Path = ROOT
) -> Process:
    """Run Python with these arguments in the folder; what it prints goes to the log."""
    if _may_fork(command, environment):
        return _parent().fork(command, environment, log, folder)
    return subprocess.Popen([sys.executable, *command], cwd=folder, env=environment, stdout=log, stderr=log)


def _may_fork(command: Sequence[str], environment: dict[str, str]) -> bool:
    if not _allowed.is_set() or not hasattr(os, "pidfd_open") or environment.get("TEST_HUB_START") == "fresh":
        return False
    changed = any(environment.get(name) != os.environ.get(name) for name in _LOADERS)
    return not changed and any(tuple(command[: len(begin)]) == begin for begin in FORKED)


class Forked:
    """A child of the parent below, watched from here."""

    def __init__(self, pid: int, parent: _Parent) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._parent = parent
        self._fd = os.pidfd_open(pid)

    def poll(self) -> int | None:
        return self._ended(0.0)

    def wait(self, timeout: float | None = None) -> int:
        status = self._ended(timeout)
        if status is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired("a forked hub", timeout)
        return status

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            signal.pidfd_send_signal(self._fd, sig)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is not None:
            return self.returncode
        end = select.poll()
        end.register(self._fd, select.POLLIN)
        if end.poll(None if timeout is None else timeout * 1000):
            self.returncode = self._parent.status(self.pid)
            os.close(self._fd)
        return self.returncode


class _Parent:
    """The process that has imported the hub. It ends with this one and its workers, and its hubs with it."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.prefork", str(theirs.fileno())],
                cwd=ROOT,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        atexit.register(self.stop)

    def fork(
        self, command: Sequence[str], environment: dict[str, str], log: IO[bytes], folder: Path
    ) -> Forked:
        request = msgspec.json.encode((command, environment, str(folder)))
        return Forked(self._ask(request, [log.fileno()]), self)

    def status(self, pid: int) -> int:
        """The exit status of one that has ended, as `Popen.returncode`."""
        return self._ask(b"%d" % pid, [])

    def stop(self) -> None:
        self._socket.close()
        self._process.wait()

    def _ask(self, request: bytes, files: list[int]) -> int:
        """Each request brings a socket for its answer: workers, and their threads, ask at the same time."""
        answer, theirs = socket.socketpair()
        with answer:
            with theirs:
                socket.send_fds(self._socket, [request], [theirs.fileno(), *files])
            return int(answer.recv(64))


@cache
def _parent() -> _Parent:
    return _Parent()


def _serve(connection: socket.socket) -> None:
    """Answer until the tests end. In each child it raises SystemExit with what the command ended with."""
    while True:
        request, files, _, _ = socket.recv_fds(connection, _MAX_REQUEST_BYTES, 2)
        if not request:
            return
        answer, *log = files
        with socket.socket(fileno=answer) as asker:
            if not log:
                _, status = os.waitpid(int(request), 0)
                asker.send(b"%d" % os.waitstatus_to_exitcode(status))
                continue
            pid = os.fork()
            if pid == 0:
                asker.close()
                connection.close()
                _become(*msgspec.json.decode(request, type=tuple[list[str], dict[str, str], str]), log[0])
                sys.exit()
            os.close(log[0])
            asker.send(b"%d" % pid)


def _become(command: list[str], environment: dict[str, str], folder: str, log: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    for output in (1, 2):
        os.dup2(log, output)
    os.close(log)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    if command[0] == "-m":
        sys.argv = command[1:]
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = command
        runpy.run_path(str(ROOT / command[0]), run_name="__main__")


def _import_hub() -> None:
    """What a hub imports until it is ready, where it imports it when it starts too: 0.4 s of CPU a hub."""
    for module in pkgutil.walk_packages([str(ROOT / "app")], "app."):
        if not module.name.startswith(("app.dev", "app.testing")):
            importlib.import_module(module.name)
    for name in IMPORTED_LATE:
        importlib.import_module(name)


def _main(fd: int) -> None:
    _import_hub()
    assert threading.active_count() == 1
    gc.collect()
    gc.freeze()
    _serve(socket.socket(fileno=fd))


if __name__ == "__main__":
    _main(int(sys.argv[1]))
