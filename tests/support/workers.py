"""Tests run by several processes that are forked once all are collected: `pytest --workers 4`.

Importing and collecting all tests takes 12 s of CPU. Workers that were separate processes, as those of
pytest-xdist are, would each pay for it; a fork gets it for nothing. The tests of a scope, mostly a file, go
to one worker, one after the other. A worker that dies fails the test that it was at, and another takes its
place.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import sys
import traceback
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from _pytest._io import TerminalWriter

from tests.support.schedule import scope

OPTION = "--workers"
_PR_SET_PDEATHSIG = 1


class _Finished(NamedTuple):
    """What a worker sends of a test: its serialized reports."""

    number: int
    reports: list[dict[str, Any]]


class _Warned(NamedTuple):
    text: str
    when: str
    nodeid: str
    location: tuple[str, int, str] | None


class _NextScope(NamedTuple):
    """A worker asks for more tests; the answer is a list of their numbers, empty at the end."""


class _Failed(NamedTuple):
    """A worker ends because pytest itself raised an error."""

    error: str


class _Worker:
    """A forked process, and the numbers of the tests that it was given and has not finished."""

    def __init__(self, pid: int, connection: Connection) -> None:
        self.pid = pid
        self.connection = connection
        self.given: deque[int] = deque()

    def ended(self) -> int:
        self.connection.close()
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)


class WorkersPlugin:
    """Runs the collected tests in `count` workers."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._started = 0
        self._workers: dict[Connection, _Worker] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        if session.testsfailed or session.config.option.collectonly or not session.items:
            return None  # pytest's own says what there is to say
        reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.showfspath = False  # of tests that run beside each other, a file is no line
        waiting = deque(_scopes(session.items))
        try:
            for _ in range(min(self._count, len(waiting))):
                self._start(session)
            while self._workers:
                for connection in wait(list(self._workers)):
                    assert isinstance(connection, Connection)
                    self._receive(session, self._workers[connection], waiting)
        finally:
            for worker in self._workers.values():
                os.kill(worker.pid, signal.SIGTERM)
                worker.ended()
        return True

    def _start(self, session: pytest.Session) -> None:
        ours, theirs = Pipe()
        folder: Path = session.config._tmp_path_factory.getbasetemp() / f"worker-{self._started}"  # type: ignore[attr-defined]
        self._started += 1
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            for other in (ours, *self._workers):
                other.close()
            _become_worker(session, theirs, folder)
        theirs.close()
        self._workers[ours] = _Worker(pid, ours)

    def _receive(self, session: pytest.Session, worker: _Worker, waiting: deque[list[int]]) -> None:
        try:
            message = worker.connection.recv()
        except (EOFError, ConnectionResetError):
            del self._workers[worker.connection]
            self._bury(session, worker, waiting)
            return
        hook = session.config.hook
        match message:
            case _NextScope():
                given = waiting.popleft() if waiting else []
                worker.given.extend(given)
                worker.connection.send(given)
            case _Finished(number, reports):
                worker.given.remove(number)
                item = session.items[number]
                hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
                for data in reports:
                    report = hook.pytest_report_from_serializable(config=session.config, data=data)
                    hook.pytest_runtest_logreport(report=report)
                hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
            case _Warned():
                _record(session.config, message)
            case _Failed(error):
                raise RuntimeError(f"a worker failed:\n{error}")
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)

    def _bury(self, session: pytest.Session, worker: _Worker, waiting: deque[list[int]]) -> None:
        """Report the test that a worker died of, and leave those that it had before it to another one."""
        status = worker.ended()
        if not worker.given:
            assert status == 0, f"a worker ended with status {status} after its tests"
            return
        item = session.items[worker.given.popleft()]
        text = f"the worker ended with status {status} in this test or in what it tore down after it"
        report = pytest.TestReport(item.nodeid, item.location, {}, "failed", text, "call")
        session.config.hook.pytest_runtest_logreport(report=report)
        if worker.given:
            waiting.appendleft(list(worker.given))
        if waiting:
            self._start(session)


def _scopes(items: Iterable[pytest.Item]) -> Iterable[list[int]]:
    """The numbers of the tests of each scope."""
    scopes: dict[str, list[int]] = {}
    for number, item in enumerate(items):
        scopes.setdefault(scope(item.nodeid.partition("::")[0]), []).append(number)
    return scopes.values()


def _record(config: pytest.Config, warned: _Warned) -> None:
    filename, line, _ = warned.location or ("", 0, "")
    message = warnings.WarningMessage(UserWarning(warned.text), UserWarning, filename, line)
    arguments = {"when": warned.when, "nodeid": warned.nodeid, "location": warned.location}
    config.hook.pytest_warning_recorded.call_historic(kwargs={"warning_message": message, **arguments})


class _Sender:
    """The plugin that sends what a worker has to report."""

    def __init__(self, config: pytest.Config, connection: Connection) -> None:
        self._config = config
        self._connection = connection
        self._reports: list[dict[str, Any]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._reports.append(data)

    def pytest_warning_recorded(
        self, warning_message: Any, when: str, nodeid: str, location: tuple[str, int, str] | None
    ) -> None:
        self._connection.send(_Warned(str(warning_message.message), when, nodeid, location))

    def finished(self, number: int) -> None:
        self._connection.send(_Finished(number, self._reports))
        self._reports = []


class _Terminal:
    """In a worker in place of pytest's: where pytest-timeout writes the stacks, which are captured there."""

    def __init__(self) -> None:
        self._tw = TerminalWriter(sys.__stderr__)


def _become_worker(session: pytest.Session, connection: Connection, folder: Path) -> None:
    """Run tests as long as there are some. Does not return."""
    status = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        atexit._clear()
        sender = _prepare(session.config, connection, folder)
        _run(session, connection, sender)
        atexit._run_exitfuncs()
        status = 0
    except KeyboardInterrupt:
        session._setupstate.teardown_exact(None)
    except (EOFError, BrokenPipeError):
        pass  # the run was ended
    except BaseException:
        connection.send(_Failed(traceback.format_exc()))
    finally:
        os._exit(status)


def _prepare(config: pytest.Config, connection: Connection, folder: Path) -> _Sender:
    """Output, temporary folders and reports are this worker's own."""
    capture: Any = config.pluginmanager.get_plugin("capturemanager")
    capture.stop_global_capturing()
    capture.start_global_capturing()
    folder.mkdir(mode=0o700)
    config._tmp_path_factory._basetemp = folder  # type: ignore[attr-defined]
    for name in ("terminalreporter", "lfplugin", "nfplugin", "stepwiseplugin"):
        if (plugin := config.pluginmanager.get_plugin(name)) is not None:
            config.pluginmanager.unregister(plugin)
    config.pluginmanager.register(_Terminal(), "terminalreporter")
    sender = _Sender(config, connection)
    config.pluginmanager.register(sender)
    return sender


def _run(session: pytest.Session, connection: Connection, sender: _Sender) -> None:
    numbers = _numbers(connection)
    number = next(numbers, None)
    while number is not None:
        following = next(numbers, None)  # which fixtures it can have of this test
        nextitem = None if following is None else session.items[following]
        item = session.items[number]
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)
        sender.finished(number)
        number = following


def _numbers(connection: Connection) -> Iterator[int]:
    while True:
        connection.send(_NextScope())
        given: list[int] = connection.recv()
        if not given:
            return
        yield from given
