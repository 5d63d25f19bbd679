"""A line in front of the event loop: in order, at its pace, and others go in between."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

import pytest

from app.runtime.rate_limit import MAX_IDLE_PER_TURN, AdmissionQueue
from tests.support.hub import eventually

NEVER = 1e9  # seconds
EACH = 0.003


async def all_gone(pacer: AdmissionQueue) -> None:
    async def gone() -> bool:
        return len(pacer) == 0

    await eventually(gone, "the line is empty")


async def test_as_many_go_at_once_as_may_and_the_others_wait() -> None:
    pacer, gone = AdmissionQueue(NEVER, 2), list[int]()
    for number in range(5):
        pacer.take(lambda number=number: gone.append(number))  # type: ignore[misc]
    assert gone == [0, 1]
    assert len(pacer) == 3
    await asyncio.sleep(0.01)
    assert gone == [0, 1]


async def test_those_who_wait_go_in_order_and_no_faster_than_the_pace() -> None:
    pacer, gone = AdmissionQueue(EACH, 1), list[int]()
    began = time.monotonic()
    for number in range(20):
        pacer.take(lambda number=number: gone.append(number))  # type: ignore[misc]
    await all_gone(pacer)
    assert gone == [*range(20)]
    assert time.monotonic() - began >= 19 * EACH


async def test_who_comes_while_others_wait_goes_behind_them() -> None:
    pacer, gone = AdmissionQueue(EACH, 1), list[str]()
    pacer.take(lambda: gone.append("first"))
    pacer.take(lambda: gone.append("second"))
    await asyncio.sleep(0)
    pacer.take(lambda: gone.append("third"))
    await all_gone(pacer)
    assert gone == ["first", "second", "third"]


async def test_who_takes_the_next_turn_in_its_own_waits_for_it() -> None:
    pacer, gone = AdmissionQueue(NEVER, 1), list[int]()

    def go() -> None:
        gone.append(1)
        pacer.take(go)

    pacer.take(go)
    assert (gone, len(pacer)) == ([1], 1)


async def test_after_a_calm_no_more_go_at_once_than_before() -> None:
    pacer, gone = AdmissionQueue(0.001, 2), list[int]()
    await asyncio.sleep(0.02)
    for _ in range(5):
        pacer.take(lambda: gone.append(1))
    assert len(gone) == 2


async def test_those_who_have_nothing_to_do_any_more_take_nobodys_turn() -> None:
    pacer, gone = AdmissionQueue(NEVER, 1), list[str]()
    for _ in range(1000):
        pacer.take(lambda: False)
    pacer.take(lambda: gone.append("at once"))
    pacer.take(lambda: gone.append("never"))
    assert (gone, len(pacer)) == (["at once"], 1)


async def test_not_all_of_those_are_found_out_about_in_one_turn_of_the_loop() -> None:
    pacer = AdmissionQueue(EACH, 1)
    pacer.take(lambda: None)
    for _ in range(1000):
        pacer.take(lambda: False)
    others = [len(pacer)]
    while others[-1]:
        await asyncio.sleep(0)
        others.append(len(pacer))
    assert max(before - after for before, after in pairwise(others)) <= MAX_IDLE_PER_TURN


async def test_one_that_fails_delays_no_other() -> None:
    pacer, gone = AdmissionQueue(EACH, 1), list[str]()

    def fail() -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError):
        pacer.take(fail)
    loop = asyncio.get_running_loop()
    told = list[object]()
    loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
    pacer.take(fail)
    pacer.take(lambda: gone.append("after it"))
    await all_gone(pacer)
    loop.set_exception_handler(None)
    assert gone == ["after it"]
    assert [type(error) for error in told] == [RuntimeError]


async def test_whose_work_takes_longer_than_the_pace_still_lets_others_in_between() -> None:
    pacer, others = AdmissionQueue(1e-9, 1), list[int]()
    for turn in range(5):
        asyncio.get_running_loop().call_soon(others.append, turn)
        await pacer.turn()
        assert len(others) == turn + 1


async def test_who_gave_up_waiting_takes_nobodys_turn() -> None:
    pacer = AdmissionQueue(EACH, 1)
    await pacer.turn()
    impatient = asyncio.create_task(pacer.turn())
    patient = asyncio.create_task(pacer.turn())
    await asyncio.sleep(0)
    impatient.cancel()
    async with asyncio.timeout(5):
        await patient
    assert impatient.cancelled()
