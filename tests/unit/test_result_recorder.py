"""Results of deliveries are recorded in batches, and one that can't be recorded costs no other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast
from uuid import UUID, uuid4

import pytest

from app.domain.deliveries import Status
from app.domain.errors import StoreFailed, StoreRejected, Unavailable
from app.outbox.results import MAX_BATCH, ResultRecorder
from app.store.deliveries import DeliveryResult, DeliveryStore


class SlowStore:
    """Records when the test lets it, and raises `error` for a batch with one of `bad`."""

    def __init__(self) -> None:
        self.batches: list[list[UUID]] = []
        self.go_on = asyncio.Event()
        self.bad: set[UUID] = set()
        self.error: Exception = StoreRejected("a value")

    async def finish(self, results: Sequence[DeliveryResult]) -> None:
        self.batches.append([each.id for each in results])
        await self.go_on.wait()
        if self.bad & {each.id for each in results}:
            raise self.error


@pytest.fixture
def store() -> SlowStore:
    return SlowStore()


@pytest.fixture
def recorder(store: SlowStore) -> ResultRecorder:
    return ResultRecorder(cast("DeliveryStore", store))


async def record(recorder: ResultRecorder, *ids: UUID) -> list[asyncio.Task[None]]:
    """Begin to record results, each for a separate caller."""
    results = [DeliveryResult(each, 1, Status.SENT) for each in ids]
    tasks = [asyncio.create_task(recorder.record(each)) for each in results]
    for _ in range(3):  # until each waits
        await asyncio.sleep(0)
    return tasks


async def test_results_that_come_while_others_are_recorded_are_recorded_together(
    store: SlowStore, recorder: ResultRecorder
) -> None:
    first, *others = [uuid4() for _ in range(MAX_BATCH + 2)]
    tasks = await record(recorder, first)
    tasks += await record(recorder, *others)
    assert store.batches == [[first]]
    assert not any(task.done() for task in tasks)
    store.go_on.set()
    await asyncio.gather(*tasks)
    assert store.batches == [[first], others[:MAX_BATCH], others[MAX_BATCH:]]


async def test_one_that_the_store_rejects_costs_no_other(store: SlowStore, recorder: ResultRecorder) -> None:
    ids = [uuid4() for _ in range(4)]
    store.bad.add(ids[2])
    store.go_on.set()
    tasks = await record(recorder, *ids)
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in ends] == [type(None), type(None), StoreRejected, type(None)]


@pytest.mark.parametrize("error", [Unavailable("postgres", "away"), StoreFailed("postgres", "no table")])
async def test_what_is_not_recorded_is_for_its_caller_to_record_again(
    store: SlowStore, recorder: ResultRecorder, error: Exception
) -> None:
    ids = [uuid4() for _ in range(3)]
    store.bad, store.error = set(ids), error
    store.go_on.set()
    ends = await asyncio.gather(*await record(recorder, *ids), return_exceptions=True)
    assert {type(each) for each in ends} == {type(error)}
    store.bad.clear()
    await asyncio.gather(*await record(recorder, *ids))


async def test_a_caller_that_is_cancelled_costs_no_other(store: SlowStore, recorder: ResultRecorder) -> None:
    cancelled, other = await record(recorder, uuid4(), uuid4())
    cancelled.cancel()
    store.go_on.set()
    await other
    assert cancelled.cancelled()


async def test_closing_gives_what_is_being_recorded_time(store: SlowStore, recorder: ResultRecorder) -> None:
    (task,) = await record(recorder, uuid4())
    asyncio.get_running_loop().call_later(0.05, store.go_on.set)
    await recorder.close(within=10)
    await task


async def test_closing_waits_no_longer_than_it_may(store: SlowStore, recorder: ResultRecorder) -> None:
    (task,) = await record(recorder, uuid4())
    await recorder.close(within=0.01)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not store.go_on.is_set()
