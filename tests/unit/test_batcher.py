"""The intake: each message gets the outcome that is its own, whatever happens to the batch it is in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import uuid4

import pytest

from app.domain.errors import InvalidEvent
from app.ingest.batch import Batch, ParkedEvent, PreparedEvent, Rejected, SourceMessage
from app.ingest.batcher import Batcher
from app.ingest.pipeline import Pipeline

GROUP = uuid4()


class FakePipeline:
    """Rejects, parks or refuses to store what is called so."""

    def __init__(self) -> None:
        self.written: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def prepare_into(self, batch: Batch, messages: Sequence[SourceMessage]) -> None:
        for message in messages:
            match json.loads(message.value or b""):
                case "bad":
                    batch.rejected.append(Rejected(message, InvalidEvent("bad", "it is bad")))
                case "waits":
                    batch.events.append(ParkedEvent(message, cast(Any, None), GROUP))
                case "breaks":
                    raise RuntimeError("a bug")
                case _:
                    batch.events.append(PreparedEvent(message, cast(Any, None), cast(Any, None)))

    async def write(self, events: Sequence[PreparedEvent | ParkedEvent]) -> list[Rejected]:
        await self.gate.wait()
        self.written.append([json.loads(item.message.value or b"") for item in events])
        refused = InvalidEvent("store_rejected", "no")
        return [Rejected(item.message, refused) for item in events if item.message.value == b'"poison"']


def messages(*names: str) -> list[SourceMessage]:
    return [SourceMessage("test", name, json.dumps(name).encode(), None) for name in names]


@asynccontextmanager
async def running(pipeline: FakePipeline, batch_size: int = 100) -> AsyncIterator[Batcher]:
    batcher = Batcher(cast(Pipeline, pipeline), batch_size)
    await batcher.start()
    yield batcher
    await batcher.stop()


async def test_each_message_gets_its_own_outcome() -> None:
    async with running(FakePipeline()) as batcher:
        outcomes = batcher.submit(messages("good", "bad", "poison", "fine"))
        found = [await outcome for outcome in outcomes]
    assert [None if each is None else each.reason for each in found] == [None, "bad", "store_rejected", None]


async def test_what_comes_while_a_batch_is_written_is_the_next_batch() -> None:
    pipeline = FakePipeline()
    pipeline.gate.clear()
    async with running(pipeline, batch_size=3) as batcher:
        outcomes = batcher.submit(messages("1"))
        await asyncio.sleep(0.01)
        for name in "23456":
            outcomes += batcher.submit(messages(name))
        pipeline.gate.set()
        await asyncio.gather(*outcomes)
    assert pipeline.written == [["1"], ["2", "3", "4"], ["5", "6"]]


async def test_an_event_that_is_parked_has_its_outcome_with_its_batch() -> None:
    async with running(FakePipeline()) as batcher:
        assert await asyncio.gather(*batcher.submit(messages("waits", "good"))) == [None, None]


async def test_a_bug_fails_its_batch_and_no_other() -> None:
    async with running(FakePipeline()) as batcher:
        outcomes = batcher.submit(messages("good", "breaks"))
        for outcome in outcomes:
            with pytest.raises(RuntimeError):
                await outcome
        assert await batcher.submit(messages("good"))[0] is None


async def test_stopping_cancels_what_has_no_outcome() -> None:
    pipeline = FakePipeline()
    async with running(pipeline, batch_size=1) as batcher:
        pipeline.gate.clear()
        written, pending = batcher.submit(messages("1", "2"))
        await asyncio.sleep(0.01)
    assert written.cancelled()
    assert pending.cancelled()


async def test_who_no_longer_waits_for_an_outcome_disturbs_no_other() -> None:
    pipeline = FakePipeline()
    pipeline.gate.clear()
    async with running(pipeline) as batcher:
        gone, stays = batcher.submit(messages("1", "2"))
        await asyncio.sleep(0.01)
        gone.cancel()
        pipeline.gate.set()
        assert await stays is None
