"""The transactions of parked events: how they are cut, and what a lane costs others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from app.domain.effects import Effects
from app.domain.errors import InboxesLocked, InvalidEvent, Unavailable
from app.domain.events import Event
from app.domain.planning import PlanRequest
from app.ingest.batch import PreparedEvent, Rejected, SourceMessage
from app.ingest.pipeline import Pipeline
from app.ingest.shared_writes import (
    MAX_EVENTS_PER_WRITE,
    MAX_LOCKED_ATTEMPTS,
    MAX_ROWS_PER_WRITE,
    SharedWrites,
)
from app.runtime.backoff import Backoff
from app.store.writer import MAX_EVENTS_THAT_WAIT
from tests.support.store import draft

QUICK = Backoff(1e-6, 1e-6)


class Transactions:
    """Stands in for the pipeline: notes what is written together. `check` may refuse it."""

    def __init__(self) -> None:
        self.attempted: list[list[str]] = []
        self.written: list[list[str]] = []
        self.check: Callable[[Sequence[PreparedEvent]], None] = lambda _: None
        self.rejected: set[str] = set()
        self.others_take = 0.0
        self.go = asyncio.Event()
        self.go.set()

    def last_batch(self) -> float:
        return self.others_take

    async def write(self, events: Sequence[PreparedEvent], max_rows: int) -> list[Rejected]:
        assert max_rows == MAX_ROWS_PER_WRITE
        names = [each.event.event_id for each in events]
        self.attempted.append(names)
        await self.go.wait()
        self.check(events)
        self.written.append(names)
        why = InvalidEvent("store_rejected", "no")
        return [Rejected(each.message, why) for each in events if each.event.event_id in self.rejected]


def lane(name: str, *receivers: UUID, events: int = 1) -> list[PreparedEvent]:
    """Prepared events `name`0, `name`1 …, for these receivers."""
    effects = Effects(draft(receivers))
    request = PlanRequest(effects, "food", False, lambda _: effects)
    return [
        PreparedEvent(
            SourceMessage("kafka", f"{name}{number}", b"", None, parked_id=hash((name, number))),
            Event(f"{name}{number}", "food_expired", {}),
            request,
        )
        for number in range(events)
    ]


@pytest.fixture
def transactions() -> Transactions:
    return Transactions()


@pytest.fixture
def writes(transactions: Transactions) -> SharedWrites:
    return SharedWrites(cast("Pipeline", transactions), QUICK)


async def start(writes: SharedWrites, ready: Sequence[PreparedEvent], **how: Any) -> asyncio.Task[Any]:
    """A lane that waits for its transaction."""
    task = asyncio.create_task(writes.write(ready, **how))
    await asyncio.sleep(0)
    return task


async def done(*tasks: asyncio.Task[Any]) -> list[Any]:
    async with asyncio.timeout(20):
        return await asyncio.gather(*tasks, return_exceptions=True)


async def test_lanes_that_come_while_one_is_written_share_the_next_transaction(
    writes: SharedWrites, transactions: Transactions
) -> None:
    transactions.go.clear()
    tasks = [await start(writes, lane(name, uuid4())) for name in "abcd"]
    transactions.go.set()
    assert await done(*tasks) == [[], [], [], []]
    assert transactions.written == [["a0"], ["b0", "c0", "d0"]]


async def test_more_lanes_than_a_transaction_takes_are_all_written(
    writes: SharedWrites, transactions: Transactions
) -> None:
    """A lane whose turn came while others were written had its result; it waited for it without end."""
    transactions.go.clear()
    number = 2 * MAX_EVENTS_PER_WRITE + 3
    tasks = [await start(writes, lane(f"{each}-", uuid4())) for each in range(number)]
    transactions.go.set()
    assert await done(*tasks) == [[]] * number
    assert [len(each) for each in transactions.written] == [1, MAX_EVENTS_PER_WRITE, MAX_EVENTS_PER_WRITE, 2]


async def test_a_transaction_is_bounded_by_its_receivers_too(
    writes: SharedWrites, transactions: Transactions
) -> None:
    transactions.go.clear()
    many = [uuid4() for _ in range(MAX_ROWS_PER_WRITE // 2)]
    tasks = [await start(writes, lane(name, *many)) for name in "abcd"]
    transactions.go.set()
    await done(*tasks)
    assert transactions.written == [["a0"], ["b0", "c0"], ["d0"]]


async def test_lanes_that_need_no_answer_come_before_a_backlog(
    writes: SharedWrites, transactions: Transactions
) -> None:
    transactions.go.clear()
    full = MAX_EVENTS_PER_WRITE
    tasks = [await start(writes, lane(name, uuid4(), events=full)) for name in "abc"]
    tasks += [await start(writes, lane(name, uuid4()), first=True) for name in "xy"]
    transactions.go.set()
    await done(*tasks)
    assert [each[0] for each in transactions.written] == ["a0", "x0", "b0", "c0"]
    assert transactions.written[1] == ["x0", "y0"], "they are by themselves, and few: they wait for locks"


async def test_those_that_are_first_stay_few(writes: SharedWrites, transactions: Transactions) -> None:
    transactions.go.clear()
    tasks = [await start(writes, lane("a", uuid4()))]
    tasks += [
        await start(writes, lane(name, uuid4(), events=MAX_EVENTS_THAT_WAIT // 2), first=True)
        for name in "xyz"
    ]
    transactions.go.set()
    await done(*tasks)
    assert [len(each) for each in transactions.written] == [
        1,
        MAX_EVENTS_THAT_WAIT,
        MAX_EVENTS_THAT_WAIT // 2,
    ]


async def test_a_lane_whose_inbox_is_locked_costs_no_other_lane_its_transaction(
    writes: SharedWrites, transactions: Transactions
) -> None:
    """Each was written alone then, one after the other, which delayed other events by 12 s."""
    locked, user, left = uuid4(), uuid4(), 2

    def check(events: Sequence[PreparedEvent]) -> None:
        nonlocal left
        reached = {user for each in events for user in each.request.effects.notification.receivers}  # type: ignore[union-attr]
        if left and locked in reached:
            left -= 1
            raise InboxesLocked({locked})

    transactions.check = check
    transactions.go.clear()
    tasks = [await start(writes, lane("a", user))]
    tasks += [await start(writes, lane(name, locked if name == "c" else user)) for name in "bcde"]
    transactions.go.set()
    assert await done(*tasks) == [[]] * 5
    assert transactions.written == [["a0"], ["b0", "d0", "e0"], ["c0"]]


async def test_a_lane_that_is_first_misses_no_transaction_when_its_inbox_was_locked(
    transactions: Transactions,
) -> None:
    writes = SharedWrites(cast("Pipeline", transactions), Backoff(60.0, 60.0))
    locked, left = uuid4(), 1

    def check(events: Sequence[PreparedEvent]) -> None:
        nonlocal left
        if left and events[0].event.event_id == "x0":
            left -= 1
            raise InboxesLocked({locked})

    transactions.check = check
    transactions.go.clear()
    full = MAX_EVENTS_PER_WRITE
    tasks = [await start(writes, lane(name, uuid4(), events=full)) for name in "abc"]
    tasks.append(await start(writes, lane("x", locked), first=True))
    transactions.go.set()
    await done(*tasks)
    assert [each[0] for each in transactions.written] == ["a0", "x0", "b0", "c0"]


async def test_a_lane_whose_inbox_stays_locked_is_given_back(
    writes: SharedWrites, transactions: Transactions
) -> None:
    locked = uuid4()

    def check(events: Sequence[PreparedEvent]) -> None:
        raise InboxesLocked({locked})

    transactions.check = check
    [error] = await done(await start(writes, lane("a", locked)))
    assert isinstance(error, InboxesLocked)
    assert len(transactions.attempted) == MAX_LOCKED_ATTEMPTS


async def test_a_locked_inbox_that_no_lane_names_gives_all_back(
    writes: SharedWrites, transactions: Transactions
) -> None:
    def check(events: Sequence[PreparedEvent]) -> None:
        raise InboxesLocked({uuid4()})

    transactions.check = check
    found = await done(await start(writes, lane("a", uuid4())), await start(writes, lane("b", uuid4())))
    assert [type(each) for each in found] == [InboxesLocked, InboxesLocked]


@pytest.mark.parametrize(
    "error", [RuntimeError("a bug"), Unavailable("postgres", "away")], ids=["bug", "away"]
)
async def test_what_fails_for_one_lane_fails_for_no_other(
    writes: SharedWrites, transactions: Transactions, error: Exception
) -> None:
    def check(events: Sequence[PreparedEvent]) -> None:
        if any(each.event.event_id == "c0" for each in events):
            raise error

    transactions.check = check
    transactions.go.clear()
    tasks = [await start(writes, lane(name, uuid4())) for name in "abcd"]
    transactions.go.set()
    assert await done(*tasks) == [[], [], error, []]


async def test_each_lane_hears_of_its_own_rejected_events(
    writes: SharedWrites, transactions: Transactions
) -> None:
    transactions.rejected = {"b1"}
    transactions.go.clear()
    tasks = [await start(writes, lane(name, uuid4(), events=2)) for name in "abc"]
    transactions.go.set()
    first, second, third = await done(*tasks)
    assert (first, [each.message.dedup_key for each in second], third) == ([], ["b1"], [])


async def test_a_lane_that_is_given_up_keeps_no_other_waiting(
    writes: SharedWrites, transactions: Transactions
) -> None:
    transactions.go.clear()
    tasks = [await start(writes, lane(name, uuid4())) for name in "abc"]
    tasks[1].cancel()  # while it waits for its turn
    await asyncio.sleep(0)
    tasks[0].cancel()  # while it writes
    transactions.go.set()
    found = await done(*tasks)
    assert [type(each) for each in found] == [asyncio.CancelledError, asyncio.CancelledError, list]


async def test_the_slower_the_node_is_for_other_events_the_longer_is_the_pause_between_transactions(
    writes: SharedWrites, transactions: Transactions
) -> None:
    transactions.others_take = 0.05
    transactions.go.clear()
    tasks = [await start(writes, lane(name, uuid4(), events=MAX_EVENTS_PER_WRITE)) for name in "abc"]
    transactions.go.set()
    began = asyncio.get_running_loop().time()
    await done(*tasks)
    assert asyncio.get_running_loop().time() - began >= 2 * 0.05
    assert len(transactions.written) == 3
