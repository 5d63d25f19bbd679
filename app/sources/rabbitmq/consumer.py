"""One queue of RabbitMQ: its messages go to the batcher, and are acknowledged when they are done."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial

from aio_pika.exceptions import DeliveryError
from aiormq import spec
from aiormq.abc import AbstractChannel, DeliveredMessage

from app.domain.errors import InvalidEvent
from app.ingest.batch import SourceMessage
from app.ingest.batcher import Batcher, Outcome
from app.runtime.backoff import Backoff
from app.runtime.tasks import end
from app.sources.dead_letters import read_replay_headers
from app.sources.rabbitmq import lenient_headers as amqp  # noqa: F401 - it makes all messages readable
from app.sources.rabbitmq.acks import AckTracker
from app.sources.rabbitmq.content_encoding import decoded
from app.sources.rabbitmq.message import dead_letter, dedup_key_of, happened_at, labels_of

log = logging.getLogger("hub.rabbitmq")

DEAD_LETTER_EXCHANGE = "notification.dlx"
RETRY_BACKOFF = Backoff(first=1.0, cap=1.0)
FRAME_OVERHEAD_BYTES = 8  # bytes


class QueueConsumer:
    """Consumes one queue over one channel.

    A message is acknowledged only when its event was stored and pushed, or is parked, or its dead letter is
    the broker's.
    """

    def __init__(
        self,
        queue: str,
        batcher: Batcher,
        channel: AbstractChannel,
        fail: Callable[[BaseException], None],
    ) -> None:
        """`channel` has publisher confirms.

        `fail` is called with the reason when the connection has to be replaced.
        """
        self._queue = queue
        self._batcher = batcher
        self._channel = channel
        self._fail = fail
        self._acks = AckTracker()
        self._settled = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._one_flush = asyncio.Lock()
        self._consumer_tag: str | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, prefetch: int) -> None:
        """Consume; the broker sends at most `prefetch` unacknowledged messages."""
        self._spawn(self._acknowledge(), "rabbitmq acks")
        await self._channel.basic_qos(prefetch_count=prefetch)
        self._channel.on_consumer_cancel_callbacks.add(self._cancelled)
        started = await self._channel.basic_consume(self._queue, self._receive)
        self._consumer_tag = started.consumer_tag

    async def finish(self, within: float) -> None:
        """Consume no more; settle and acknowledge what can be settled within `within` seconds.

        The broker redelivers the rest.
        """
        if self._consumer_tag is not None:
            await self._channel.basic_cancel(self._consumer_tag)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), within)
        await self._flush()

    async def close(self) -> None:
        """Abandon what isn't settled."""
        await end(*self._tasks)

    async def _receive(self, delivered: DeliveredMessage) -> None:
        tag = delivered.delivery_tag
        assert tag is not None
        self._acks.delivered(tag)
        self._idle.clear()
        [outcome] = self._batcher.submit([self._message(delivered)])
        outcome.add_done_callback(partial(self._known, delivered, tag))

    def _message(self, delivered: DeliveredMessage) -> SourceMessage:
        properties = delivered.header.properties
        dedup_key = dedup_key_of(self._queue, delivered.body, properties)
        readable = decoded(delivered.body, properties.content_encoding)
        replay = read_replay_headers(properties.headers or {}, "rabbitmq")
        return SourceMessage(
            "rabbitmq",
            dedup_key,
            readable.body,
            None,
            happened_at=happened_at(properties),
            unreadable=readable.error,
            attempts=replay.attempts,
            labels=lambda _: labels_of(self._queue, properties),
            publisher_key=bool(properties.message_id),
            separate=replay.separate,
            redelivered=bool(delivered.redelivered),
        )

    def _known(self, delivered: DeliveredMessage, tag: int, outcome: Outcome) -> None:
        """Settle the message by its outcome; a cancelled one means that the hub stops first."""
        if outcome.cancelled():
            return
        if (failure := outcome.exception()) is not None:
            self._fail(failure)
        elif (refused := outcome.result()) is not None:
            self._spawn(self._dead_letter(delivered, tag, refused), "rabbitmq dead letter")
        else:
            self._settle(tag)

    def _settle(self, tag: int) -> None:
        self._acks.settled(tag)
        self._settled.set()
        if not self._acks:
            self._idle.set()

    async def _acknowledge(self) -> None:
        while True:
            await self._settled.wait()
            await self._flush()

    async def _flush(self) -> None:
        async with self._one_flush:
            self._settled.clear()
            acks = self._acks.pop()
            for number, ack in enumerate(acks, 1):
                # They are written in order: when the last one is sent, all are.
                await self._channel.basic_ack(ack.tag, ack.multiple, wait=number == len(acks))

    async def _dead_letter(self, delivered: DeliveredMessage, tag: int, error: InvalidEvent) -> None:
        """Publish the message to the dead-letter exchange; it is settled when the broker confirms."""
        for delay in RETRY_BACKOFF.delays():
            try:
                await self.publish_dead_letter(delivered.body, delivered.header.properties, error)
                break
            except DeliveryError as problem:  # no queue is bound, or it is full
                log.error("dead_letter_delayed", extra={"why": type(problem).__name__})
            await asyncio.sleep(delay)
        self._settle(tag)

    async def publish_dead_letter(
        self, body: bytes, properties: spec.Basic.Properties, error: InvalidEvent
    ) -> None:
        """Return when the broker has the dead letter. Raises what aiormq raises."""
        log.warning(
            "event_rejected",
            extra={"queue": self._queue, "message_id": properties.message_id, "reason": error.reason},
        )
        shown, kept = dead_letter(self._queue, body, properties, error, self._room())
        await self._channel.basic_publish(
            shown,
            exchange=DEAD_LETTER_EXCHANGE,
            routing_key=self._queue,
            properties=kept,
            mandatory=True,
        )

    def _room(self) -> int:
        """The bytes that the broker accepts for properties: one frame without its own overhead."""
        return self._channel.connection.connection_tune.frame_max - FRAME_OVERHEAD_BYTES

    def _cancelled(self, _: object) -> None:
        self._fail(
            ConnectionError(
                f"the broker cancelled the consumer of {self._queue}; check that the queue exists"
            )
        )

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():  # by the library too, when the connection ends
            self._fail(ConnectionError("the connection ended"))
        elif (failure := task.exception()) is not None:
            self._fail(failure)
