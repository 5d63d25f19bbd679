"""The RabbitMQ source: a connection and a consumer for each queue, both replaced after any failure.

No `connect_robust`: the broker redelivers what was unacknowledged on a lost connection, so a new
connection is all it takes, and the delivery tags of two connections are never mixed up.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError, ChannelPreconditionFailed

from app.domain.errors import InvalidEvent, Unavailable
from app.ingest.batch import SourceMessage
from app.ingest.batcher import Batcher
from app.runtime.backoff import Backoff
from app.runtime.services import Background
from app.runtime.tasks import end
from app.settings.sources import RabbitMqSettings
from app.sources.dead_letters import SUFFIX
from app.sources.rabbitmq.consumer import DEAD_LETTER_EXCHANGE, QueueConsumer
from app.sources.rabbitmq.message import parked_properties

log = logging.getLogger("hub.rabbitmq")
# It logs every failed attempt; the source logs one each LOG_INTERVAL_SECONDS.
logging.getLogger("aiormq.connection").setLevel(logging.CRITICAL)

HEARTBEAT_SECONDS = (
    5  # seconds; aiormq waits for three and looks every two: a silent broker is noticed after some 20
)
CONNECT_TIMEOUT_SECONDS = 10.0
RECONNECT_BACKOFF = Backoff(first=1.0, cap=1.0)
LOG_INTERVAL_SECONDS = 30.0
FINISH_TIMEOUT_SECONDS = 2.0  # what is parked for longer at the end is delivered again
LEAVE_TIMEOUT_SECONDS = 2.0


class RabbitSource:
    """Consumes the hub's queues; nodes share them as competing consumers."""

    def __init__(self, settings: RabbitMqSettings, batcher: Batcher) -> None:
        """`settings.url` must be set."""
        assert settings.url is not None
        self._url = settings.url
        self._queues = queues(settings)
        self._prefetch = 2 * settings.batch_size  # the next batch is here while one is written
        self._batcher = batcher
        self._consuming = False
        self._consumers: dict[str, QueueConsumer] = {}
        self._stopping = asyncio.Event()
        self._running = Background(self._run, name="rabbitmq source")
        self._logged_at = -LOG_INTERVAL_SECONDS

    async def start(self) -> None:
        """Start: connect (repeatedly while no broker answers), declare queues, consume. Returns at once."""
        await self._running.start()

    async def stop(self, within: float) -> None:
        """Consume no more; acknowledge what is done, within `within` seconds at most."""
        self._stopping.set()
        await self._running.stop(within)

    async def check(self) -> None:
        """Raise `Unavailable` unless this node consumes. Heartbeats detect an unresponsive broker."""
        if not self._consuming:
            parts = urlsplit(self._url.get_secret_value())
            raise Unavailable("rabbitmq", f"no broker answers at {parts.hostname}:{parts.port or 'its port'}")

    async def dead_letter(self, message: SourceMessage, labels: bytes, error: InvalidEvent) -> None:
        """See `Source.dead_letter`. The queue's consumer publishes it."""
        queue, properties = parked_properties(labels)
        consumer = self._consumers.get(queue)
        if consumer is None:
            raise Unavailable("rabbitmq", f"this node doesn't consume {queue}")
        try:
            await consumer.publish_dead_letter(message.value or b"", properties, error)
        except (AMQPError, OSError) as problem:
            raise Unavailable("rabbitmq", type(problem).__name__) from None

    async def _run(self) -> None:
        while not self._stopping.is_set():
            # A separate task: when a connection ends, the library cancels tasks that wait for an answer.
            session = asyncio.create_task(self._session(), name="rabbitmq session")
            try:
                await asyncio.wait({session})
            finally:
                await end(session)
            failure = ConnectionError("the connection ended") if session.cancelled() else session.exception()
            if failure is not None:
                self._log_failure(failure)
            if not self._stopping.is_set():
                await asyncio.sleep(RECONNECT_BACKOFF.delay(0))

    def _log_failure(self, failure: BaseException) -> None:
        if not isinstance(failure, (AMQPError, OSError)):
            log.error("source_failed", exc_info=failure)
        elif time.monotonic() - self._logged_at >= LOG_INTERVAL_SECONDS:
            self._logged_at = time.monotonic()
            hint = "Is RABBITMQ_URL right, and does that RabbitMQ run?"
            why = str(failure) or type(failure).__name__
            log.error("rabbitmq_unavailable", extra={"why": why, "hint": hint})

    async def _session(self) -> None:
        """Run one connection until the hub stops. Raises why it failed."""
        connection = await aio_pika.connect(
            self._url.get_secret_value(), timeout=CONNECT_TIMEOUT_SECONDS, heartbeat=HEARTBEAT_SECONDS
        )
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        consumers = self._consumers = {}

        def fail(why: BaseException) -> None:
            if not ended.done():
                ended.set_exception(why)

        try:
            for queue in self._queues:
                await _declare(connection, queue)
            for queue in self._queues:
                channel = await connection.channel(on_return_raises=True)
                channel.close_callbacks.add(lambda _, why: fail(why or ConnectionError("the channel ended")))
                underlay = await channel.get_underlay_channel()
                consumer = QueueConsumer(queue, self._batcher, underlay, fail)
                consumers[queue] = consumer
                await consumer.start(self._prefetch)
            self._consuming, self._logged_at = True, -LOG_INTERVAL_SECONDS
            log.info("rabbitmq_consuming", extra={"queues": self._queues})
            await self._until(ended)
            await asyncio.gather(
                *(consumer.finish(FINISH_TIMEOUT_SECONDS) for consumer in consumers.values())
            )
        finally:
            self._consuming, self._consumers = False, {}
            fail(ConnectionError("closed"))
            ended.exception()
            for consumer in consumers.values():
                await consumer.close()
            with suppress(AMQPError, OSError):
                await asyncio.wait_for(connection.close(), LEAVE_TIMEOUT_SECONDS)

    async def _until(self, ended: asyncio.Future[None]) -> None:
        """Wait until the hub stops. Raises why the connection ended, if it ends before that."""
        stopping = asyncio.create_task(self._stopping.wait())
        either: set[asyncio.Future[Any]] = {stopping, ended}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end(stopping)
        if ended.done():
            ended.result()


def queues(settings: RabbitMqSettings) -> list[str]:
    """The queues that events come in on."""
    named = (settings.booking_queue, settings.payment_queue, settings.notifications_queue)
    return list(dict.fromkeys(named))


async def _declare(connection: AbstractConnection, queue: str) -> None:
    """Declare the queue, its DLQ and the exchange in between.

    What exists already, with whatever arguments, is used as it is.
    """
    dlq = queue + SUFFIX
    with suppress(ChannelPreconditionFailed):
        async with connection.channel() as channel:
            await channel.declare_queue(queue, durable=True)
    with suppress(ChannelPreconditionFailed):
        async with connection.channel() as channel:
            await channel.declare_queue(dlq, durable=True)
    with suppress(ChannelPreconditionFailed):
        async with connection.channel() as channel:
            await channel.declare_exchange(DEAD_LETTER_EXCHANGE, durable=True)
    async with connection.channel() as channel:
        there = await channel.get_queue(dlq)
        await there.bind(DEAD_LETTER_EXCHANGE, routing_key=queue)
