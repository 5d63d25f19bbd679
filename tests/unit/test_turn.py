"""The order of batches: one is written at a time, and pushed while the next is written."""

from __future__ import annotations

import asyncio

import pytest

from app.ingest.turn import Turn, Turns


class Batches:
    """Batches that note what they do; Postgres answers when the test says so."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.done: list[str] = []
        self.answers: dict[str, asyncio.Future[None]] = {}

    async def run(self, name: str, *, lookup: asyncio.Future[None] | None = None) -> None:
        async with Turn(self.turns) as turn:
            self.done.append(f"send {name}")
            self.answers[name] = asyncio.get_running_loop().create_future()
            await self.answers[name]
            await turn.push(last=True)
            if lookup is not None:
                await lookup
            self.done.append(f"push {name}")

    async def answer(self, name: str) -> None:
        while name not in self.answers:  # noqa: ASYNC110 - what it waits for tells no one
            await asyncio.sleep(0)
        self.answers[name].set_result(None)


async def test_the_next_statement_is_sent_before_a_batch_is_pushed() -> None:
    batches = Batches()
    async with asyncio.TaskGroup() as group:
        for name in "abc":
            group.create_task(batches.run(name))
        for name in "abc":
            await batches.answer(name)
    assert batches.done == ["send a", "send b", "push a", "send c", "push b", "push c"]


async def test_a_batch_whose_push_has_to_wait_is_pushed_before_the_next() -> None:
    batches, lookup = Batches(), asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        group.create_task(batches.run("a", lookup=lookup))
        group.create_task(batches.run("b"))
        group.create_task(batches.run("c"))
        for name in "ab":
            await batches.answer(name)
        for _ in range(10):
            await asyncio.sleep(0)
        assert batches.done == ["send a", "send b"], "the third is not sent while two are not pushed"
        lookup.set_result(None)
        await batches.answer("c")
    assert [each for each in batches.done if each.startswith("push")] == ["push a", "push b", "push c"]


async def test_a_batch_that_fails_or_is_cancelled_ends_its_turn() -> None:
    batches = Batches()
    failing = asyncio.create_task(batches.run("a"))
    waiting = asyncio.create_task(batches.run("b"))
    await asyncio.sleep(0)
    waiting.cancel()
    batches.answers["a"].set_exception(RuntimeError("the test's"))
    with pytest.raises(RuntimeError):
        await failing
    assert (batches.turns.taken, batches.turns.waiting) == (False, 0)
    async with Turn(batches.turns) as turn:
        await turn.push(last=False)
        assert batches.turns.taken
    assert not batches.turns.taken
