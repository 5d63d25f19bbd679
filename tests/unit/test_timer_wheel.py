"""The clock of all connections, on a loop whose time passes only by waiting, so no test really waits."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.realtime.timer_wheel import MAX_CALLS_PER_TURN, TimerWheel

START = 1000.25


class VirtualLoop(asyncio.SelectorEventLoop):
    """Instead of waiting it sets its time forward."""

    def __init__(self) -> None:
        self.now = START
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self.now


class _Selector(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._loop.now += timeout or 0
        return super().select(0)


class Member:
    """Notes when it is called; `again` says when next."""

    def __init__(self, again: Callable[[float], float | None] = lambda now: None) -> None:
        self.due = 0
        self.called: list[float] = []
        self._again = again

    def tick(self, now: float) -> float | None:
        self.called.append(now)
        return self._again(now)


def run(body: Callable[[TimerWheel], Coroutine[Any, Any, None]]) -> None:
    """Run `body` with a started clock."""

    async def main() -> None:
        clock = TimerWheel()
        await clock.start()
        await asyncio.sleep(0)
        await body(clock)
        await clock.stop()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())


@given(st.lists(st.floats(0.001, 50), min_size=1, max_size=30))
def test_each_member_is_called_once_at_or_within_a_second_after_its_moment(delays: list[float]) -> None:
    members = [(START + delay, Member()) for delay in delays]

    async def body(clock: TimerWheel) -> None:
        for moment, member in members:
            clock.schedule(member, moment)
        await asyncio.sleep(60)

    run(body)
    for moment, member in members:
        assert len(member.called) == 1
        assert moment - 1e-6 <= member.called[0] < moment + 1.001
        assert member.due == 0


def test_a_new_moment_takes_the_place_of_the_old_one() -> None:
    later, sooner = Member(), Member()

    async def body(clock: TimerWheel) -> None:
        clock.schedule(later, START + 2)
        clock.schedule(later, START + 20)
        clock.schedule(sooner, START + 20)
        clock.schedule(sooner, START + 2)
        await asyncio.sleep(30)

    run(body)
    assert [round(now - START) for now in later.called] == [21]
    assert [round(now - START) for now in sooner.called] == [3]


def test_none_takes_a_member_out() -> None:
    member = Member()

    async def body(clock: TimerWheel) -> None:
        clock.schedule(member, START + 2)
        clock.schedule(member, None)
        clock.schedule(member, None)
        await asyncio.sleep(10)

    run(body)
    assert member.called == []


def test_what_tick_answers_is_the_next_moment() -> None:
    member = Member(lambda now: now + 5 if now < START + 20 else None)

    async def body(clock: TimerWheel) -> None:
        clock.schedule(member, START + 0.75)
        await asyncio.sleep(100)

    run(body)
    assert [round(now) for now in member.called] == [1001, 1006, 1011, 1016, 1021]


def test_a_member_may_take_another_of_the_same_second_out_or_move_it() -> None:
    async def body(clock: TimerWheel) -> None:
        def take_out(now: float) -> None:
            clock.schedule(moved, now + 10)

        moving, moved = Member(take_out), Member()
        clock.schedule(moving, START + 1)
        clock.schedule(moved, START + 1.1)
        await asyncio.sleep(30)
        assert len(moving.called) == 1
        assert moved.called

    run(body)


def test_a_loop_that_was_busy_for_long_misses_no_one() -> None:
    members = [Member() for _ in range(10)]

    async def body(clock: TimerWheel) -> None:
        for second, member in enumerate(members):
            clock.schedule(member, START + 1 + second)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.now += 40
        await asyncio.sleep(2)

    run(body)
    assert [len(member.called) for member in members] == [1] * 10


def test_a_stopped_clock_calls_no_one() -> None:
    member = Member()

    async def body(clock: TimerWheel) -> None:
        clock.schedule(member, START + 2)
        await clock.stop()
        await asyncio.sleep(10)

    run(body)
    assert member.called == []


def test_a_moment_that_has_passed_is_the_next_second() -> None:
    member = Member()

    async def body(clock: TimerWheel) -> None:
        clock.schedule(member, START - 3)
        await asyncio.sleep(2)

    run(body)
    assert member.called


def test_of_many_that_are_due_some_are_called_and_others_work_goes_in_between() -> None:
    async def body(clock: TimerWheel) -> None:
        turn, at = 0, list[int]()

        def next_turn() -> None:
            nonlocal turn
            turn += 1
            if len(at) < 10 * MAX_CALLS_PER_TURN:
                asyncio.get_running_loop().call_soon(next_turn)

        def note(_: float) -> None:
            if not at:
                next_turn()
            at.append(turn)

        for _ in range(10 * MAX_CALLS_PER_TURN):
            clock.schedule(Member(note), START + 1)
        await asyncio.sleep(5)
        assert len(at) == 10 * MAX_CALLS_PER_TURN
        assert max(at.count(turn) for turn in at) == MAX_CALLS_PER_TURN

    run(body)


def test_who_gets_another_moment_while_others_are_called_is_called_then_and_only_then() -> None:
    async def body(clock: TimerWheel) -> None:
        members = list[Member]()

        def put_the_others_off(now: float) -> None:
            for member in members:
                if not member.called and now < START + 5:
                    clock.schedule(member, START + 5)

        members += [Member(put_the_others_off) for _ in range(3 * MAX_CALLS_PER_TURN)]
        for member in members:
            clock.schedule(member, START + 1)
        await asyncio.sleep(10)
        assert all(len(member.called) == 1 for member in members)
        assert sum(member.called[0] < START + 5 for member in members) == 1

    run(body)
