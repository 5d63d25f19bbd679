"""Calls that share round trips: each gets its own answer, and nobody is left waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from app.runtime.shared_calls import SharedCalls


class Doubler:
    """Doubles numbers, when it is let."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, numbers: Sequence[int]) -> Sequence[int]:
        self.calls.append([*numbers])
        await self.open.wait()
        if 13 in numbers:
            raise ValueError("13")
        return [2 * number for number in numbers]


@pytest.fixture
def doubler() -> Doubler:
    return Doubler()


@pytest.fixture
def shared(doubler: Doubler) -> SharedCalls[int, int]:
    return SharedCalls(doubler, 3, name="doubling")


async def test_what_is_asked_during_one_call_goes_out_in_the_next(
    doubler: Doubler, shared: SharedCalls[int, int]
) -> None:
    doubler.open.clear()
    first = asyncio.create_task(shared.ask(1))
    await asyncio.sleep(0.01)
    others = [asyncio.create_task(shared.ask(number)) for number in range(2, 7)]
    await asyncio.sleep(0.01)
    doubler.open.set()
    assert await asyncio.gather(first, *others) == [2, 4, 6, 8, 10, 12]
    assert doubler.calls == [[1], [2, 3, 4], [5, 6]]


async def test_a_call_that_fails_fails_for_those_who_were_in_it(
    doubler: Doubler, shared: SharedCalls[int, int]
) -> None:
    answers = await asyncio.gather(*map(shared.ask, (1, 13, 2, 4)), return_exceptions=True)
    assert [isinstance(answer, ValueError) for answer in answers] == [True, True, True, False]
    assert await shared.ask(5) == 10


async def test_who_gave_up_is_not_asked_for_and_costs_the_others_nothing(
    doubler: Doubler, shared: SharedCalls[int, int]
) -> None:
    doubler.open.clear()
    first, gone, last = (asyncio.create_task(shared.ask(number)) for number in (1, 2, 3))
    await asyncio.sleep(0.01)
    late = asyncio.create_task(shared.ask(4))
    await asyncio.sleep(0.01)
    gone.cancel()
    late.cancel()
    await asyncio.sleep(0)
    doubler.open.set()
    assert [*await asyncio.gather(first, last)] == [2, 6]
    assert doubler.calls == [[1, 2, 3]]


async def test_close_leaves_nobody_waiting(doubler: Doubler, shared: SharedCalls[int, int]) -> None:
    doubler.open.clear()
    asked = [asyncio.create_task(shared.ask(number)) for number in range(5)]
    await asyncio.sleep(0.01)
    await shared.close()
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(answer) for answer in answers} == {asyncio.CancelledError}
