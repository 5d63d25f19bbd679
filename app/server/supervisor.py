"""Several processes of one hub on this machine: each is a node, as those of other machines are.

All listen on the same port, each with a separate socket (SO_REUSEPORT), and the kernel spreads clients
evenly. The sockets stay with the supervisor: while a worker is replaced, its clients wait and aren't refused.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

from app.domain.errors import HubError
from app.runtime.backoff import Backoff

log = logging.getLogger("hub.workers")

RESTART_BACKOFF = Backoff(first=0.2, cap=30.0)  # before a worker that died is replaced
STABLE_AFTER_SECONDS = 10.0  # seconds after which a fall counts as the first
KILL_AFTER_SECONDS = 5.0  # seconds past the workers' own grace
MAX_GAP_SECONDS = 1.0  # seconds that clients may wait for the next worker
POLL_SECONDS = 0.5
_STOPPING = (signal.SIGTERM, signal.SIGINT)

Serve = Callable[[socket.socket, int, Callable[[], None]], None]
"""Serves on a socket until SIGTERM, or until the descriptor becomes readable: the supervisor died. Calls the
function when it is ready.
"""


def share_metrics() -> tempfile.TemporaryDirectory[str]:
    """Have `/metrics` of any worker speak for all. To be called before prometheus_client is imported."""
    folder = tempfile.TemporaryDirectory(prefix="hub-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder.name
    return folder


@dataclass
class _Worker:
    listener: socket.socket | None
    pid: int = 0
    ready: int = -1
    """Readable once the worker is ready, or gone."""
    started_at: float = 0.0
    start_at: float = 0.0
    crashes: int = 0
    """In a row: how often it died soon after its start."""
    was_ready: bool = False


class Supervisor:
    """Runs the workers and replaces those that fall, until SIGTERM or SIGINT."""

    def __init__(self, count: int, bind: Callable[[], socket.socket], serve: Serve, grace: float) -> None:
        """`bind` gives one more socket of the same address. `grace` is the seconds that a worker may take to
        stop.
        """
        self._bind = bind
        self._workers = [_Worker(bind()) for _ in range(count)]
        self._serve = serve
        self._grace = grace
        self._status = 0
        self._asked = False
        self._stop_by: float | None = None
        self._lifeline, self._held = os.pipe()

    def run(self) -> int:
        """Returns when all workers have ended: 0, or 1 if one couldn't start in the first place.

        A worker that somebody killed or stopped before it was ready is replaced, as it would be later.
        """
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(woken, False)
        signal.set_wakeup_fd(wake)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._asked_to_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only to be woken
        while self._stop_by is None or any(worker.pid for worker in self._workers):
            if self._asked:
                self._stop()
            self._start_due()
            waiting = [worker.ready for worker in self._workers if worker.ready >= 0]
            readable, _, _ = select.select([woken, *waiting], [], [], POLL_SECONDS)
            if woken in readable:
                os.read(woken, 4096)
            for worker in self._workers:
                if worker.ready in readable:
                    self._note_ready(worker)
            self._reap()
            if self._stop_by is not None and time.monotonic() > self._stop_by:
                self._signal_all(signal.SIGKILL)
        return self._status

    def _asked_to_stop(self, *_: object) -> None:
        """Only a note: whatever the signal interrupted, a fork or a funeral, comes to its end first."""
        self._asked = True

    def _start_due(self) -> None:
        for worker in self._workers:
            if worker.pid == 0 and self._stop_by is None and time.monotonic() >= worker.start_at:
                self._start(worker)

    def _start(self, worker: _Worker) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        if worker.listener is None:
            worker.listener = self._bind()
        worker.ready, ready_end = os.pipe()
        worker.started_at = time.monotonic()
        # Until the child has installed its handlers it would take a signal for its parent's.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
        worker.pid = os.fork()
        if worker.pid == 0:
            self._become(worker, worker.listener, ready_end)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
        os.close(ready_end)

    def _become(self, worker: _Worker, listener: socket.socket, ready_end: int) -> None:
        """In the new process: serve, and never return."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (*_STOPPING, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
            os.close(self._held)
            for other in self._workers:
                if other is not worker and other.listener is not None:
                    other.listener.close()
            self._serve(listener, self._lifeline, lambda: _report_ready(ready_end))
            status = 0
        except HubError as error:
            print(error, file=sys.stderr)
        except Exception:
            log.exception("worker_failed")
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _note_ready(self, worker: _Worker) -> None:
        if os.read(worker.ready, 1):
            worker.was_ready = True
            log.info("worker_ready", extra={"pid": worker.pid})
        os.close(worker.ready)
        worker.ready = -1

    def _reap(self) -> None:
        for worker in self._workers:
            if worker.pid:
                pid, status = os.waitpid(worker.pid, os.WNOHANG)
                if pid:
                    worker.pid = 0
                    self._ended(worker, pid, status)

    def _ended(self, worker: _Worker, pid: int, status: int) -> None:
        from prometheus_client.multiprocess import mark_process_dead  # not before `share_metrics`

        mark_process_dead(pid)  # type: ignore[no-untyped-call]
        if worker.ready >= 0:
            self._note_ready(worker)
        if self._stop_by is not None:
            return
        if not worker.was_ready and os.waitstatus_to_exitcode(status) > 0:
            log.error("worker_never_ready", extra={"pid": pid})
            self._status = 1
            self._stop()
            return
        steady = status == 0 or time.monotonic() - worker.started_at > STABLE_AFTER_SECONDS
        worker.crashes = 0 if steady else worker.crashes + 1
        pause = RESTART_BACKOFF.delay(worker.crashes)
        worker.start_at = time.monotonic() + pause
        if pause > MAX_GAP_SECONDS and worker.listener is not None:
            worker.listener.close()  # nobody waits so long in its queue: the kernel chooses another worker
            worker.listener = None
        how = {"pid": pid, "status": os.waitstatus_to_exitcode(status), "next_in_seconds": round(pause, 1)}
        log.warning("worker_ended", extra=how)

    def _stop(self) -> None:
        if self._stop_by is None:
            self._stop_by = time.monotonic() + self._grace + KILL_AFTER_SECONDS
            self._signal_all(signal.SIGTERM)

    def _signal_all(self, number: signal.Signals) -> None:
        for worker in self._workers:
            if worker.pid:
                os.kill(worker.pid, number)


def _report_ready(descriptor: int) -> None:
    os.write(descriptor, b".")
    os.close(descriptor)
