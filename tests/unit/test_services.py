"""Services: started and stopped alike, and periodic work that survives its failures."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack

import pytest

from app.runtime.services import Background, Part, every, started


class Work:
    """Counts its runs, and fails in those that the test chooses."""

    def __init__(self, *failing: int) -> None:
        self.runs = 0
        self._failing = failing
        self._changed = asyncio.Condition()

    async def __call__(self) -> None:
        self.runs += 1
        async with self._changed:
            self._changed.notify_all()
        if self.runs in self._failing:
            raise ValueError("failed")

    async def reached(self, runs: int) -> None:
        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(lambda: self.runs >= runs), 5)


async def test_periodic_work_runs_at_start_and_again_after_each_interval() -> None:
    work = Work()
    service = every(0.01, work, name="test")
    await service.start()
    await work.reached(3)
    await service.stop()


async def test_the_first_run_may_wait_for_the_interval() -> None:
    work = Work()
    service = every(60, work, name="test", at_start=False)
    await service.start()
    await asyncio.sleep(0.01)
    await service.stop()
    assert work.runs == 0


async def test_the_interval_may_change_from_run_to_run() -> None:
    work = Work()
    pauses = iter((0.0, 0.0, 60.0))
    service = every(lambda: next(pauses), work, name="test")
    await service.start()
    await work.reached(3)
    await asyncio.sleep(0.01)
    await service.stop()
    assert work.runs == 3


async def test_work_that_fails_is_logged_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    work = Work(1, 2)
    service = every(0.0, work, name="test work")
    await service.start()
    await work.reached(3)
    await service.stop()
    failures = [record for record in caplog.records if record.msg == "periodic_work_failed"]
    assert len(failures) == 2
    assert all(record.__dict__["work"] == "test work" and record.exc_info for record in failures)


async def test_stopping_cancels_the_run_in_progress() -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    service = every(0.0, work, name="test")
    await service.start()
    await begun.wait()
    await asyncio.wait_for(service.stop(), 5)
    assert cancelled.is_set()


async def test_a_stopped_service_runs_no_more_and_can_be_started_again() -> None:
    work = Work()
    service = every(0.0, work, name="test")
    await service.start()
    await work.reached(1)
    await service.stop()
    runs = work.runs
    await asyncio.sleep(0.01)
    assert work.runs == runs
    await service.start()
    await work.reached(runs + 1)
    await service.stop()


async def test_a_service_that_was_never_started_stops_at_once() -> None:
    await every(0.0, Work(), name="test").stop()


async def test_a_service_is_not_started_twice() -> None:
    service = every(60, Work(), name="test")
    await service.start()
    try:
        with pytest.raises(RuntimeError, match="already started"):
            await service.start()
    finally:
        await service.stop()


async def test_a_task_that_fails_is_logged_when_it_does(caplog: pytest.LogCaptureFixture) -> None:
    service = Background(Work(1), name="test task")
    await service.start()
    for _ in range(5):
        await asyncio.sleep(0)
    await service.stop()
    (record,) = (record for record in caplog.records if record.msg == "service_failed")
    assert record.levelno == logging.ERROR
    assert record.__dict__["service"] == "test task"


class Recorded:
    """Writes down when it starts and stops."""

    def __init__(self, name: str, log: list[str], *, fails: bool = False) -> None:
        self._name, self._log, self._fails = name, log, fails

    async def start(self) -> None:
        self._log.append(f"start {self._name}")
        if self._fails:
            raise ValueError("can't start")

    async def stop(self) -> None:
        self._log.append(f"stop {self._name}")


async def test_services_start_in_their_order_and_stop_in_the_reverse() -> None:
    log: list[str] = []
    stack = AsyncExitStack()
    await started([Recorded("a", log), Recorded("b", log)], stack)
    await stack.aclose()
    assert log == ["start a", "start b", "stop b", "stop a"]


async def test_a_service_that_can_not_start_is_stopped_with_those_before_it() -> None:
    log: list[str] = []
    async with AsyncExitStack() as stack:
        with pytest.raises(ValueError, match="can't start"):
            await started([Recorded("a", log), Recorded("b", log, fails=True), Recorded("c", log)], stack)
    assert log == ["start a", "start b", "stop b", "stop a"]


async def test_two_functions_make_a_service_and_either_may_be_missing() -> None:
    log: list[str] = []
    recorded = Recorded("a", log)
    for part in (Part(recorded.start, recorded.stop), Part(stop=recorded.stop), Part()):
        await part.start()
        await part.stop()
    assert log == ["start a", "stop a", "stop a"]
