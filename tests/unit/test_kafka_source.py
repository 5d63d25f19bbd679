"""The Kafka source on a consumer that the test plays: what is committed, and what never is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast
from uuid import uuid4

import pytest
from aiokafka import TopicPartition

from app.domain.errors import InvalidEvent, Unavailable
from app.domain.events import Event
from app.ingest.batch import Batch, ParkedEvent, PreparedEvent, Rejected, SourceMessage
from app.runtime.backoff import Backoff
from app.settings.sources import KafkaSettings
from app.sources.kafka import clients as kafka_clients
from app.sources.kafka.dead_letter_producer import KafkaDeadLetters
from app.sources.kafka.source import KafkaSource

P = TopicPartition("events", 0)


class Record(NamedTuple):
    offset: int
    topic: str = "events"
    partition: int = 0
    timestamp: int = 0
    key: bytes | None = None
    value: bytes | None = b""
    headers: tuple[Any, ...] = ()


class Consumer:
    """Returns what the test gives it, and keeps what is committed."""

    def __init__(self) -> None:
        self.polls: asyncio.Queue[dict[TopicPartition, list[Record]]] = asyncio.Queue()
        self.committed: list[int] = []
        self.commits = asyncio.Event()
        """Commits wait for it."""
        self.commits.set()

    async def getmany(self, timeout_ms: int) -> dict[TopicPartition, list[Record]]:
        return await self.polls.get()

    def give(self, *offsets: int) -> None:
        self.polls.put_nowait({P: [Record(offset) for offset in offsets]})

    def subscribe(self, topics: Sequence[str], listener: object) -> None:
        pass

    def assignment(self) -> set[TopicPartition]:
        return {P}

    async def commit(self, positions: dict[TopicPartition, int]) -> None:
        await self.commits.wait()
        self.committed.append(positions[P])

    async def topics(self) -> set[str]:
        return set()

    async def stop(self) -> None:
        pass


class Pipeline:
    """Offsets in `parked` are parked; a write waits for `free`."""

    def __init__(self, parked: Sequence[int] = ()) -> None:
        self.parked = set(parked)
        self.free = asyncio.Event()
        self.written: list[int] = []
        self.begun: list[int] = []
        """How many events each call has, at its beginning."""
        self.failure: Exception | None = None
        """What the next call that is free raises."""

    async def prepare_into(self, batch: Batch, messages: Sequence[SourceMessage]) -> None:
        for message in messages:
            event = Event(str(message.origin.offset), "x", {})
            if message.origin.offset in self.parked:
                batch.events.append(ParkedEvent(message, event, uuid4()))
            else:
                batch.events.append(PreparedEvent(message, event, cast(Any, None)))

    async def write(
        self, events: Sequence[PreparedEvent | ParkedEvent], *, on_last: Callable[[], None]
    ) -> list[Any]:
        on_last()
        self.begun.append(len(events))
        await self.free.wait()
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        self.written += [item.message.origin.offset for item in events]
        return []


class Scene:
    """A source that runs on a consumer and a pipeline of the test's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pipeline: Pipeline) -> None:
        self.consumer = Consumer()
        self.pipeline = pipeline
        settings = KafkaSettings(bootstrap_servers="unused", batch_size=10, shutdown_grace=5.0)
        topics = {"events": None, "logouts": None}
        self.source = KafkaSource(settings, pipeline, topics)  # type: ignore[arg-type]

        async def start(_: KafkaSettings) -> tuple[Consumer, Consumer]:
            return self.consumer, self.consumer

        monkeypatch.setattr(kafka_clients, "start", start)

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not holds():  # noqa: ASYNC110 - what it waits for tells no one
                await asyncio.sleep(0)


async def started(monkeypatch: pytest.MonkeyPatch, pipeline: Pipeline) -> Scene:
    scene = Scene(monkeypatch, pipeline)
    await scene.source.start()
    return scene


async def test_an_offset_is_committed_after_the_write_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = await started(monkeypatch, Pipeline())
    scene.consumer.give(0, 1, 2)
    await scene.until(lambda: scene.source._writing is not None)
    assert scene.consumer.committed == []
    scene.pipeline.free.set()
    await scene.until(lambda: scene.consumer.committed == [3])
    await scene.source.stop(within=1)


@pytest.mark.parametrize("timestamp", [-1, 10**15, -(10**18), 2**63 - 1])
async def test_a_record_whose_timestamp_is_no_time_is_a_record_like_others(
    monkeypatch: pytest.MonkeyPatch, timestamp: int
) -> None:
    scene = await started(monkeypatch, Pipeline())
    scene.pipeline.free.set()
    monkeypatch.setattr(Record, "timestamp", timestamp)
    scene.consumer.give(0, 1, 2)
    await scene.until(lambda: scene.consumer.committed == [3])
    await scene.source.stop(within=1)


async def test_while_a_batch_is_written_the_next_one_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = await started(monkeypatch, Pipeline())
    scene.consumer.give(0)
    await scene.until(lambda: scene.source._writing is not None)
    scene.consumer.give(1)
    scene.consumer.give(2, 3)
    await scene.until(lambda: len(scene.source._next.batch.ready) == 3)
    scene.pipeline.free.set()
    await scene.until(lambda: scene.pipeline.written == [0, 1, 2, 3])
    await scene.until(lambda: scene.consumer.committed[-1:] == [4])
    await scene.source.stop(within=1)


async def test_batches_that_follow_each_other_closely_are_committed_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.sources.kafka.commits.COMMIT_SECONDS", 3600.0)
    scene = await started(monkeypatch, Pipeline())
    scene.pipeline.free.set()
    scene.consumer.give(0)
    await scene.until(lambda: scene.consumer.committed == [1])
    for offset in (1, 2):
        scene.consumer.give(offset)
        await scene.until(lambda: scene.pipeline.written[-1] == offset)  # noqa: B023 - it is called at once
    await scene.source.stop(within=1)
    assert scene.consumer.committed == [1, 3], "and what is left at the end"


async def test_a_full_batch_is_begun_behind_the_one_that_is_written_and_one_that_has_room_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = await started(monkeypatch, Pipeline())
    scene.consumer.give(0)
    await scene.until(lambda: scene.pipeline.begun == [1])
    scene.consumer.give(*range(1, 6))
    await scene.until(lambda: len(scene.source._next.batch.ready) == 5)
    assert scene.pipeline.begun == [1]
    scene.consumer.give(*range(6, 11))
    await scene.until(lambda: scene.pipeline.begun == [1, 10])
    scene.consumer.give(*range(11, 21))  # no third one, however full
    await scene.until(lambda: len(scene.source._next.batch.ready) == 10)
    assert scene.pipeline.begun == [1, 10]
    scene.pipeline.free.set()
    await scene.until(lambda: scene.consumer.committed[-1:] == [21])
    assert scene.pipeline.written == [*range(21)]
    await scene.source.stop(within=1)


async def test_no_offset_passes_a_batch_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.sources.kafka.source.RECONNECT_BACKOFF", Backoff(first=0.01, cap=0.01))
    scene = await started(monkeypatch, Pipeline())
    scene.consumer.give(0)
    await scene.until(lambda: scene.pipeline.begun == [1])
    scene.consumer.give(*range(1, 11))
    await scene.until(lambda: scene.pipeline.begun == [1, 10])
    scene.pipeline.failure = RuntimeError("the test's")
    scene.pipeline.free.set()
    await scene.until(lambda: scene.source._writing is None)
    assert scene.consumer.committed == []
    scene.consumer.give(*range(11))  # as a broker does, from the committed offset on
    await scene.until(lambda: scene.consumer.committed == [11])
    await scene.source.stop(within=1)


async def test_the_offset_passes_what_is_parked_once_that_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = await started(monkeypatch, Pipeline(parked=[5]))
    scene.consumer.give(*range(10))
    await scene.until(lambda: scene.source._writing is not None)
    assert scene.consumer.committed == []
    scene.pipeline.free.set()
    await scene.until(lambda: scene.consumer.committed == [10])
    assert scene.pipeline.written == [*range(10)], "in the order of the partition"
    await scene.source.stop(within=1)


async def test_no_offset_passes_a_batch_whose_task_was_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.sources.kafka.source.RECONNECT_BACKOFF", Backoff(first=0.01, cap=0.01))
    scene = await started(monkeypatch, Pipeline())
    scene.consumer.give(0)
    await scene.until(lambda: scene.source._writing is not None)
    scene.consumer.give(1)
    await scene.until(lambda: len(scene.source._next.batch.ready) == 1)
    scene.source._writes()[0].cancel()
    await scene.until(lambda: not scene.source._polls)
    scene.pipeline.free.set()
    scene.consumer.give(0, 1)  # as a broker does, from the committed offset on
    await scene.until(lambda: scene.consumer.committed == [2])
    assert scene.pipeline.written == [0, 1]
    await scene.source.stop(within=1)


async def test_a_batch_isnt_begun_before_all_of_its_poll_are_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(Pipeline):
        """Prepares one message, and the others when `go_on` is set."""

        go_on = asyncio.Event()

        async def prepare_into(self, batch: Batch, messages: Sequence[SourceMessage]) -> None:
            await super().prepare_into(batch, messages[:1])
            if len(messages) > 1:
                await self.go_on.wait()
                await super().prepare_into(batch, messages[1:])

    pipeline = Slow()
    scene = await started(monkeypatch, pipeline)
    scene.consumer.give(0)
    await scene.until(lambda: pipeline.begun == [1])
    scene.consumer.give(1)
    scene.consumer.give(2, 3)
    await scene.until(lambda: len(scene.source._next.batch.ready) == 2)
    pipeline.free.set()
    await scene.until(lambda: scene.source._writing is None)
    pipeline.go_on.set()
    await scene.until(lambda: scene.consumer.committed[-1:] == [4])
    assert pipeline.begun == [1, 3]
    await scene.source.stop(within=1)


async def test_a_batch_that_is_not_finished_makes_the_node_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = await started(monkeypatch, Pipeline())
    scene.consumer.give(0)
    await scene.until(lambda: scene.source._writing is not None)
    await scene.source.check()
    monkeypatch.setattr("app.sources.kafka.source.STANDSTILL_SECONDS", 0.0)
    with pytest.raises(Unavailable, match="intake"):
        await scene.source.check()
    monkeypatch.undo()
    scene.pipeline.free.set()
    await scene.until(lambda: scene.consumer.committed == [1])
    await scene.source.check()
    await scene.source.stop(within=1)


async def test_while_partitions_are_taken_away_no_batch_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """What isn't committed is delivered again to another node: its dead letters would be written twice."""
    scene = await started(monkeypatch, Pipeline())
    scene.consumer.give(0, 1)
    await scene.until(lambda: scene.source._writing is not None)
    scene.consumer.give(2, 3)
    await scene.until(lambda: len(scene.source._next.batch.ready) == 2)
    scene.consumer.commits.clear()
    revoking = asyncio.create_task(scene.source.revoked())
    await asyncio.sleep(0)
    scene.pipeline.free.set()
    await scene.until(lambda: scene.source._writing is None)
    await asyncio.sleep(0.05)
    scene.consumer.commits.set()
    await revoking
    assert (scene.pipeline.written, scene.consumer.committed) == ([0, 1], [2])

    scene.consumer.give(2, 3)  # they came back
    await scene.until(lambda: scene.consumer.committed == [2, 4])
    await scene.source.stop(within=1)


async def test_the_next_batch_has_an_end_also_for_what_waits_or_is_rejected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = await started(monkeypatch, Pipeline(parked=range(1, 100)))
    scene.consumer.give(0)
    await scene.until(lambda: scene.source._writing is not None)
    for offset in range(1, 40):
        scene.consumer.give(offset)
    await scene.until(lambda: len(scene.source._next.batch.parked) == 10)
    await asyncio.sleep(0.05)
    assert len(scene.source._next.batch.parked) == 10
    await scene.source.stop(within=0.1)


async def test_a_dead_letter_is_of_the_time_that_the_hub_knows_not_of_a_clock_that_is_wrong() -> None:
    """A broker refuses records from more than an hour ahead, for as long as the clock is wrong."""
    sent: list[dict[str, Any]] = []

    class Producer:
        async def send_and_wait(self, topic: str, **dead_letter: Any) -> None:
            sent.append({"topic": topic, **dead_letter})

    dead_letters = KafkaDeadLetters(lambda value, _: value, lambda: 1_700_000_000.5)
    why = InvalidEvent("not_json", "it is no JSON")
    message = SourceMessage("kafka", "kafka:events:0:7:1", b"x", Record(7))
    await dead_letters.put(Producer(), [Rejected(message, why)])
    assert [(each["topic"], each["timestamp_ms"]) for each in sent] == [("events.dlq", 1_700_000_000_500)]
