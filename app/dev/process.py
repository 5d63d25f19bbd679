"""Child processes of the services: they report why they fail, always end, and never share a home."""

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeVar

import psutil

from app.domain.errors import HubError

_GUARD = Path(__file__).with_name("guard.py")
_LOG_KEPT_BYTES = 5_000_000
_MAX_LINES_SHOWN = 12
_MAX_PORT_ATTEMPTS = 5
_LOCK_WAIT_SECONDS = 20.0
# A process that was just killed still looks alive for a moment.
_OWNER_DIES_SECONDS = 1.0
_POLL_SECONDS = 0.01

Started = TypeVar("Started")


class ServiceError(HubError):
    """An embedded service does not work. The text says what is wrong and what to do."""


class PortTaken(ServiceError):  # noqa: N818 (a state of the world, and read as one)
    """Another process took the port between choosing it and listening on it."""


@dataclass(frozen=True)
class Command:
    """What to run and how to end it. `stop_grace` is in seconds, then comes SIGKILL."""

    name: str
    arguments: Sequence[str]
    log: Path
    remedy: str
    stop_signal: int = signal.SIGTERM
    stop_grace: float = 10.0
    user: str | None = None
    folder: Path | None = None
    environment: Mapping[str, str] | None = None
    lock: int | None = None
    speaks: bool = False


@dataclass
class Running:
    """A started command under its guard. `stop()` is idempotent and returns when the process is gone."""

    command: Command
    guard: subprocess.Popen[bytes]
    log_start: int
    _stopped: bool = field(default=False, init=False)

    def wait_until(self, ready: Callable[[], bool], timeout: float) -> None:
        """Return when `ready()` is true.

        Raises PortTaken or ServiceError, with the last lines of the log, when the process ends before or when
        `timeout` seconds are over; the process is stopped then.
        """
        deadline = time.monotonic() + timeout
        while not ready():
            if self.guard.poll() is not None:
                raise self._failure(f"ended with status {self.guard.returncode}")
            if time.monotonic() > deadline:
                self.stop()
                raise self._failure(f"was not ready after {timeout:.0f} s")
            time.sleep(_POLL_SECONDS)

    def wait_for_line(self) -> str:
        """The first line the process prints (Command.speaks); ServiceError when it ends without one."""
        assert self.guard.stdout is not None
        line = self.guard.stdout.readline().decode().strip()
        if not line:
            self.stop()
            raise self._failure(f"ended with status {self.guard.returncode}")
        return line

    def wait_for_end(self) -> None:
        """Wait for a command that ends by itself; raises ServiceError unless its status is 0."""
        if self.guard.wait() != 0:
            raise self._failure(f"ended with status {self.guard.returncode}")

    def stop(self) -> None:
        """Ask the process to end and wait until it has; its guard kills it after the grace."""
        if self._stopped:
            return
        self._stopped = True
        assert self.guard.stdin is not None
        with suppress(BrokenPipeError):
            self.guard.stdin.close()
        self.guard.wait()
        if self.guard.stdout is not None:
            self.guard.stdout.close()

    def _failure(self, what: str) -> ServiceError:
        lines = _lines_since(self.command.log, self.log_start)
        kind = PortTaken if any("already in use" in line for line in lines) else ServiceError
        shown = "\n".join(f"  {line}" for line in lines[-_MAX_LINES_SHOWN:]) or "  (nothing)"
        return kind(
            f"{self.command.name} {what}. {self.command.remedy}\n"
            f"The last lines of {self.command.log}:\n{shown}"
        )


def start(command: Command) -> Running:
    """Start a command in a new session, so that a Ctrl-C in the terminal doesn't reach it.

    It ends when `stop()` is called or when this process ends, for any reason.
    """
    log = _open_log(command.log)
    with log:
        log_start = log.tell()  # before the child writes: it shares the position
        guard = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", str(_GUARD)),
                *(str(os.getpid()), str(int(command.stop_signal)), str(command.stop_grace)),
                *(command.user or "-", *command.arguments),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if command.speaks else log,
            stderr=log,
            cwd=command.folder,
            env=command.environment,
            pass_fds=() if command.lock is None else (command.lock,),
            start_new_session=True,
        )
        return Running(command, guard, log_start)


def run_to_end(command: Command) -> None:
    """Run a command that ends by itself, or with this process; raises ServiceError when it fails."""
    running = start(command)
    try:
        running.wait_for_end()
    finally:
        running.stop()


def start_on_free_port(start_on: Callable[[int], Started]) -> Started:
    """`start_on(port)` with a free port, again with another one when somebody was faster (PortTaken)."""
    for _ in range(_MAX_PORT_ATTEMPTS - 1):
        with suppress(PortTaken):
            return start_on(free_port())
    return start_on(free_port())


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def make_folder(folder: Path) -> Path:
    """The folder, made with its parents where missing; raises ServiceError when it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(folder, error) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _not_writable(folder, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
    return folder


@contextmanager
def locked(home: Path, service: str) -> Iterator[int]:
    """The right to run `service` in `home`: a file descriptor to hand to `Command.lock`.

    The lock lives as long as any process that inherited it, so nothing of an earlier run is left when it is
    acquired. After a kill -9 an earlier run still needs a moment to stop: it is waited for. Raises
    ServiceError if a running hub has the lock.
    """
    path = home / f"{service}.lock"
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _not_writable(home, error) from error
    try:
        _acquire(lock, path, service)
        yield lock
    finally:
        os.close(lock)


def _acquire(lock: int, path: Path, service: str) -> None:
    began = time.monotonic()
    while not _try_lock(lock):
        owner = path.read_text()
        waited = time.monotonic() - began
        if waited > (_OWNER_DIES_SECONDS if _is_alive(owner) else _LOCK_WAIT_SECONDS):
            pid = owner.partition(" ")[0] or "(unknown)"
            raise ServiceError(
                f"{service} already runs in {path.parent} for process {pid}. "
                "Stop that process, or set HUB_HOME to another directory."
            )
        time.sleep(_POLL_SECONDS)
    os.ftruncate(lock, 0)
    os.pwrite(lock, _identity(os.getpid()).encode(), 0)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _identity(pid: int) -> str:
    """A process id is used again; together with its start time, in seconds, it is not."""
    return f"{pid} {psutil.Process(pid).create_time():.0f}"


def _is_alive(identity: str) -> bool:
    """Whether that process still works; one that ended but was not waited for doesn't. "" is none."""
    try:
        pid = int(identity.partition(" ")[0])
        return _identity(pid) == identity and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except (ValueError, psutil.NoSuchProcess):
        return False


def _open_log(path: Path) -> IO[bytes]:
    make_folder(path.parent)
    try:
        if path.exists() and path.stat().st_size > _LOG_KEPT_BYTES:
            path.replace(path.with_name(path.name + ".old"))
        log = path.open("ab")
    except OSError as error:
        raise _not_writable(path.parent, error) from error
    log.seek(0, os.SEEK_END)
    return log


def _lines_since(log: Path, offset: int) -> list[str]:
    with log.open("rb") as opened:
        opened.seek(offset)
        return opened.read().decode(errors="replace").splitlines()


def _not_writable(folder: Path, error: OSError) -> ServiceError:
    return ServiceError(
        f"{folder} cannot be written: {error.strerror}. "
        "Make it writable, check the free space, or choose another directory."
    )
