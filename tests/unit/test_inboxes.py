"""The shared reader of inboxes: each caller together is answered together, and nobody is left waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest

from app.domain.errors import Unavailable
from app.domain.notifications import InboxCounters
from app.realtime.inboxes import MAX_READERS_PER_QUERY, InboxReader
from app.store.inboxes import InboxState
from app.testing import MemoryStore


class Store(MemoryStore):
    """Answers each inbox with its number; raises what `error` holds."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[int] = []
        self.error: Exception | None = None

    async def states(self, wanted: Sequence[tuple[UUID, int | None]], most: int) -> list[InboxState]:
        self.reads.append(len(wanted))
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return [InboxState(InboxCounters(0, user.int % 1000, 0), user.int % 1000, []) for user, _ in wanted]


async def test_many_readers_share_few_reads_and_each_gets_its_own_answer() -> None:
    store = Store()
    reader = InboxReader(store)
    users = [uuid4() for _ in range(MAX_READERS_PER_QUERY * 2 + 50)]
    states = await asyncio.gather(*(reader.read(user) for user in users))
    assert [state.last_seq for state in states] == [user.int % 1000 for user in users]
    assert store.reads == [MAX_READERS_PER_QUERY, MAX_READERS_PER_QUERY, 50]


@pytest.mark.parametrize("error", [Unavailable("postgres", "gone"), RuntimeError("a bug")])
async def test_a_read_that_fails_leaves_nobody_waiting_and_the_next_one_works(error: Exception) -> None:
    store = Store()
    store.error = error
    reader = InboxReader(store)
    async with asyncio.timeout(5):
        failed = await asyncio.gather(*(reader.read(uuid4()) for _ in range(3)), return_exceptions=True)
    assert {type(answer) for answer in failed} == {Unavailable}
    store.error = None
    assert (await reader.read(UUID(int=7))).last_seq == 7
