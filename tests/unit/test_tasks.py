"""Ending background tasks: none goes on, whatever it makes of a cancellation."""

from __future__ import annotations

import asyncio
import gc

import pytest

from app.runtime import tasks as under_test
from app.runtime.tasks import end


@pytest.fixture(autouse=True)
def soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "CANCEL_AGAIN_SECONDS", 0.05)


async def ends() -> None:
    await asyncio.sleep(60)


async def fails() -> None:
    try:
        await asyncio.sleep(60)
    finally:
        raise RuntimeError("a bug")


async def swallows(times: int = 1) -> None:
    """As `asyncio.wait_for` before Python 3.12, when a cancellation comes in a certain moment."""
    for _ in range(times):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            continue
    await asyncio.sleep(60)


async def test_when_it_returns_all_have_ended_however_they_did() -> None:
    tasks = [asyncio.create_task(task) for task in (ends(), fails(), swallows(), swallows(2))]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await end(*tasks, None)
    assert all(task.done() for task in tasks)


async def test_no_exception_of_a_task_is_reported_as_never_retrieved() -> None:
    told: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context))
    try:
        task = asyncio.create_task(fails())
        await asyncio.sleep(0)
        await end(task)
        del task
        gc.collect()
    finally:
        loop.set_exception_handler(None)
    assert told == []


async def test_what_has_ended_or_never_began_is_not_waited_for() -> None:
    done = asyncio.create_task(asyncio.sleep(0))
    await done
    async with asyncio.timeout(5):
        await end(done, None)
        await end()


async def test_who_is_ended_while_ending_others_leaves_none_behind() -> None:
    """As `Membership._first` is, by `Membership.stop`: else the node goes on saying that it is alive."""
    inner = asyncio.create_task(swallows())

    async def outer() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await end(inner)

    task = asyncio.create_task(outer())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await end(task)
    left_behind = not inner.done()
    await end(inner)
    assert task.cancelled()
    assert not left_behind


async def test_who_is_ended_while_ending_others_knows_of_it() -> None:
    inner = asyncio.create_task(swallows())
    ending = asyncio.create_task(end(inner))
    await asyncio.sleep(0.01)
    ending.cancel()
    async with asyncio.timeout(5):
        await asyncio.wait({ending})
    assert ending.cancelled()
    assert inner.done()
