"""The Kafka source: poll a batch, pass it through the pipeline, then commit the offsets.

While one batch is written the next is polled, prepared and, if it is full, planned. It is written while the
one before is pushed, so that Postgres and the hub work at the same time (decision 007).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError
from msgspec.structs import replace

from app.domain.errors import InvalidEvent, Unavailable
from app.domain.time import Now, event_time
from app.ingest.batch import Batch, Rejected, SourceMessage
from app.ingest.pipeline import Pipeline
from app.runtime.backoff import Backoff
from app.runtime.metrics import INTAKE_STANDSTILL, REBUILT
from app.runtime.services import Background
from app.runtime.tasks import end, first, is_to_end
from app.settings.sources import KafkaSettings
from app.sources.dead_letters import NOT_REPLAYED, read_replay_headers
from app.sources.kafka import clients as kafka_clients
from app.sources.kafka import library_log
from app.sources.kafka.commits import OffsetCommits
from app.sources.kafka.dead_letter import labels_of, parked_record
from app.sources.kafka.dead_letter_producer import KafkaDeadLetters
from app.sources.kafka.watchdog import ConsumerStalled, ConsumerWatchdog, ask_ends
from app.sources.redaction import redact_message

log = logging.getLogger("hub.kafka")

POLL_MS = 200
PAUSED_POLL_SECONDS = 1.0  # seconds between polls of a consumer that is paused
TOPICS_SETTLE_SECONDS = 5.0  # a cluster that creates topics by itself has them by then
TOPICS_CHECK_SECONDS = 60.0
TOPICS_HINT = "Create them. The hub consumes each within 10 s of its creation."
STANDSTILL_SECONDS = 30.0  # for one batch; then the node says that it isn't ready
RECONNECT_BACKOFF = Backoff(first=1.0, cap=1.0)  # constant: a retry costs one connection


class _Prepared(NamedTuple):
    batch: Batch
    ends: dict[TopicPartition, int]


class _Polled(NamedTuple):
    records: dict[TopicPartition, Sequence[Any]]
    assignment: int


class _Write:
    """A batch on its way to Postgres."""

    def __init__(self, work: Callable[[_Write], Coroutine[Any, Any, None]]) -> None:
        self.is_last_part = False
        """Whether its last transaction has begun, so that the next batch can't overtake it."""
        self.task = asyncio.create_task(work(self), name="kafka batch")

    def begin_last_part(self) -> None:
        self.is_last_part = True


def _empty() -> _Prepared:
    return _Prepared(Batch([], []), {})


class KafkaSource:
    """Consumes the hub's Kafka topics as a member of its consumer group.

    A record's offset is committed only when its event was stored and pushed, parked, or dead-lettered.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        pipeline: Pipeline,
        topics: Mapping[str, str | None],
        redact: Callable[[bytes, str], bytes] = lambda value, _: redact_message(value),
        now: Now = time.time,
        expected: Collection[str] = (),
    ) -> None:
        """`topics`: the Kafka topics, each with the event type of its messages where they don't say it.

        `redact` removes what no dead letter of a topic may hold. The log names those of `expected` that are
        missing.
        """
        self._settings = settings
        self._pipeline = pipeline
        self._topics = topics
        self._expected = frozenset(expected)
        self._missing: frozenset[str] = frozenset()
        self._dead_letters = KafkaDeadLetters(redact, now)
        self._commits = OffsetCommits(None)
        self._next = _empty()
        self._assignment = 0  # counts: what was polled under an earlier one is not ours to finish
        self._polls = self._adds = False
        """Whether it polls, and whether it is adding what it polled to the next batch."""
        self._writing: _Write | None = None
        self._behind: _Write | None = None
        """A full batch: planned while the one before is written, and written while that one is pushed."""
        self._writing_since = 0.0
        self._write_error: BaseException | None = None
        self._write_failed, self._one_written = asyncio.Event(), asyncio.Event()
        self._standstill = INTAKE_STANDSTILL.labels(",".join(topics))
        self._closing_clients = kafka_clients.ClosingClients()
        self._running = Background(self._run, name="kafka source")
        self._stopping = asyncio.Event()
        self.watch = ConsumerWatchdog(settings.stalled_after, self._ends)
        self._consumer: Any = None
        self._producer: Any = None

    async def start(self) -> None:
        """Start: connect (repeatedly while no broker answers), join the group, consume. Returns at once."""
        library_log.quieten()
        await self._running.start()

    async def stop(self, within: float) -> None:
        """Finish and commit the current batch within `within` seconds; leave the group."""
        self._stopping.set()
        await self._running.stop(within)
        await self._closing_clients.abort()

    async def check(self) -> None:
        """Raises `Unavailable` unless a broker answers and this node consumes."""
        if not self._running.running or self._consumer is None:
            raise Unavailable("kafka", f"no broker answers at {self._settings.bootstrap_servers}")
        if self._stands_still_for() >= STANDSTILL_SECONDS:
            seconds = round(self._stands_still_for())
            raise Unavailable("kafka", f"intake is stalled: one batch has been writing for {seconds} s")
        try:
            await self._consumer.topics()
        except (KafkaError, OSError) as error:
            raise Unavailable("kafka", type(error).__name__) from None

    def _stands_still_for(self) -> float:
        """For how many seconds a batch has been written: to Postgres, or its dead letters to the broker."""
        if self._writing is None or self._writing.task.done():
            return 0.0
        return time.monotonic() - self._writing_since

    async def _run(self) -> None:
        """Consume until `stop`.

        After any failure restart from the committed offsets; events that were processed since then are
        recognised as such.
        """
        while not self._stopping.is_set():
            try:
                self._consumer, self._producer = await kafka_clients.start(self._settings)
                self._commits = OffsetCommits(self._consumer)
                self._consumer.subscribe([*self._topics], listener=_Rebalance(self))
                await first(self._consume(), self.watch.run(self._consumer), self._watch_topics())
            except ConsumerStalled as stalled:
                REBUILT.inc()
                log.error("consumer_stalled", extra={"why": str(stalled)})
            except (KafkaError, OSError) as error:
                hint = "Is KAFKA_BOOTSTRAP_SERVERS right, and does that Kafka run?"
                log.error("kafka_unavailable", extra={"why": self._why(error), "hint": hint})
            except Exception:
                log.exception("source_failed")
            except asyncio.CancelledError:
                if is_to_end():
                    raise
                log.error("source_failed", extra={"why": "a task inside aiokafka was cancelled"})
            finally:
                await self._disconnect()
            if not self._stopping.is_set():
                await asyncio.sleep(RECONNECT_BACKOFF.delay(0))

    def _why(self, error: Exception) -> str:
        if isinstance(error, KafkaConnectionError):
            return f"no broker answers at {self._settings.bootstrap_servers}"
        return str(error) or type(error).__name__

    async def _watch_topics(self) -> None:
        """Log which of the expected topics are missing, once they could have been created by the cluster."""
        await asyncio.sleep(TOPICS_SETTLE_SECONDS)
        while True:
            try:
                missing = self._expected - await self._consumer.topics() if self._expected else frozenset()
            except (KafkaError, OSError):
                missing = self._missing  # the poll finds out whether the broker is away
            if missing and missing != self._missing:
                log.warning("kafka_topics_missing", extra={"topics": sorted(missing), "hint": TOPICS_HINT})
            self._missing = missing
            await asyncio.sleep(TOPICS_CHECK_SECONDS)

    async def _consume(self) -> None:
        await first(self._poll_on(), self._stopping.wait(), self._until_a_write_fails())
        while self._writing is not None:
            await asyncio.wait({self._writing.task})
        self._raise_write_error()
        await self._commits.now()

    async def _ends(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        return await ask_ends(self._settings, partitions)

    async def _disconnect(self) -> None:
        """Abandon the current batch, and leave the group."""
        await end(*self._writes())
        await self._commits.stop()
        self._writing = self._behind = self._write_error = None
        self._write_failed.clear()
        self._next = _empty()
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await self._closing_clients.close(consumer, self._producer)

    async def _poll_on(self) -> None:
        """Add polled records to the next batch, and write it when the previous one is written.

        So a batch is as large as the load makes it: no event waits for others to arrive. One task does it, as
        a task for each poll costs more than the poll.
        """
        self._polls = True
        try:
            while True:
                if self._has_room():
                    await self._add_to_next_batch(await self._get(POLL_MS))
                elif not await self._is_one_written_within(PAUSED_POLL_SECONDS):
                    await self._stay_in_the_group()
                self._standstill.set(self._stands_still_for())
                self._write_next()
        finally:
            self._polls = False

    async def _is_one_written_within(self, seconds: float) -> bool:
        self._one_written.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await self._one_written.wait()
        return False

    async def _until_a_write_fails(self) -> None:
        await self._write_failed.wait()
        self._raise_write_error()

    def _raise_write_error(self) -> None:
        if self._write_error is not None:
            raise self._write_error

    def _has_room(self) -> bool:
        events = sum(len(part) for part in self._next.batch)
        return events < self._settings.batch_size

    async def _get(self, timeout_ms: int) -> _Polled:
        with self.watch.poll():
            records = await self._consumer.getmany(timeout_ms=timeout_ms)
        if timeout_ms and sum(map(len, records.values())) < self._settings.batch_size:
            self.watch.emptied()
        return _Polled(records, self._assignment)

    async def _stay_in_the_group(self) -> None:
        """Poll a paused consumer: the group removes one that doesn't poll."""
        assigned = self._consumer.assignment()
        self._consumer.pause(*assigned)
        try:
            # a partition that is assigned meanwhile isn't paused
            await self._add_to_next_batch(await self._get(timeout_ms=0))
        finally:
            self._consumer.resume(*(assigned & self._consumer.assignment()))

    async def _add_to_next_batch(self, polled: _Polled) -> None:
        """Add the records to the next batch, if their partitions are still assigned to us."""
        if polled.assignment != self._assignment:
            return
        batch, ends = self._next
        messages = [self._message(record) for records in polled.records.values() for record in records]
        self._adds = True
        try:
            await self._pipeline.prepare_into(batch, messages)  # meanwhile another one is being written
        finally:
            self._adds = False
        ends.update((partition, records[-1].offset) for partition, records in polled.records.items())

    def _message(self, record: Any) -> SourceMessage:
        # The timestamp distinguishes a recreated topic, whose offsets start at 0 again, from the old one.
        topic, timestamp = record.topic, record.timestamp
        position = f"kafka:{topic}:{record.partition}:{record.offset}:{timestamp}"
        replay = read_replay_headers(dict(record.headers), "kafka") if record.headers else NOT_REPLAYED
        return SourceMessage(
            "kafka",
            replay.dedup_key or position,
            record.value,
            record,
            self._topics.get(topic),
            event_time(timestamp / 1000),
            order_key=record.key,
            attempts=replay.attempts,
            labels=labels_of,
            separate=replay.separate,
            position=position,
        )

    async def dead_letter(self, message: SourceMessage, labels: bytes, error: InvalidEvent) -> None:
        """See `Source.dead_letter`."""
        parked = parked_record(labels, message.value)
        await self._dead_letters.put_parked(self._producer, Rejected(replace(message, origin=parked), error))

    def _write_next(self) -> None:
        """Begin to write the next batch, if there is one and it may."""
        before = self._writing
        full = not self._has_room()
        if self._write_error is not None or not self._next.ends:
            return  # behind a batch that failed, none may be committed
        if before is None or (before.is_last_part and full and self._behind is None):
            prepared, self._next = self._next, _empty()
            write = _Write(partial(self._finish, prepared, before))
            write.task.add_done_callback(self._write_ended)
            if before is None:
                self._writing, self._writing_since = write, time.monotonic()
            else:
                self._behind = write

    def _write_ended(self, task: asyncio.Task[None]) -> None:
        if self._writing is None or self._writing.task is not task:
            return
        self._writing, self._behind = self._behind, None
        self._writing_since = time.monotonic()
        self._one_written.set()
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None:
            self._write_error = error
            self._write_failed.set()
        elif self._polls and not self._adds:
            self._write_next()

    def _writes(self) -> list[asyncio.Task[None]]:
        return [write.task for write in (self._writing, self._behind) if write is not None]

    async def _finish(self, prepared: _Prepared, before: _Write | None, write: _Write) -> None:
        """Store, push and dead-letter one batch, and schedule the commit behind that of `before`."""
        batch, ends = prepared
        offsets = self._commits.offsets
        rejected = batch.rejected + await self._pipeline.write(batch.events, on_last=write.begin_last_part)
        if before is not None:
            await asyncio.wait({before.task})
            before.task.result()  # if it failed, this one is delivered again with it
        if rejected:
            await self._dead_letters.put(self._producer, rejected)
        if offsets is not self._commits.offsets:
            return  # the partitions were revoked meanwhile
        for partition, offset in ends.items():
            offsets.passed(partition, offset)
        self._commits.soon()

    async def revoked(self) -> None:
        """Finish the current batch and forget the rest: our partitions may be assigned to another node.

        What was polled and isn't written is delivered again, to the node that gets its partition: that starts
        at the committed offset. So none of it is started from here on.
        """
        self._assignment += 1
        self._next = _empty()
        if writes := self._writes():
            await asyncio.wait(writes, timeout=self._settings.shutdown_grace)
        await self._commits.now()
        self._commits.forget()


class _Rebalance(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    def __init__(self, source: KafkaSource) -> None:
        self._source = source

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        await self._source.revoked()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._source.watch.assigned()
        log.info("partitions_assigned", extra={"partitions": [f"{p.topic}/{p.partition}" for p in assigned]})
