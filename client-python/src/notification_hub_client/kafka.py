"""Publish over Kafka: `pip install "notification-hub-client[kafka]"`."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from notification_hub_client.errors import TransportError
from notification_hub_client.event import Event, Json, body_of

T = TypeVar("T")
_KEYS = ("group_id", "user_id", "user_email", "email", "to", "product_name")


@dataclass(frozen=True)
class Topics:
    """The names of the hub's Kafka topics, if its operator changed them."""

    notifications: str = "service_notifications"
    logouts: str = "user_service.user.logout_account"
    registration: str = "user_service.user.register_account"
    reset_password: str = "user_service.user.reset_password"  # noqa: S105 - a topic
    email_change: str = "user_service.user.change_email"


@dataclass(frozen=True)
class Position:
    """Where an event was stored."""

    topic: str
    partition: int
    offset: int


class AsyncKafkaPublisher:
    """Publishes events. Those with the same key (the group, else the user) keep their order.

    Give events an `event_id`, or one that is published twice is processed twice.
    """

    def __init__(self, bootstrap_servers: str, *, topics: Topics | None = None, **options: Any) -> None:
        """`options` are other arguments of `aiokafka.AIOKafkaProducer`, such as those of TLS and SASL."""
        self._arguments: dict[str, Any] = {
            "bootstrap_servers": bootstrap_servers,
            "acks": "all",
            "enable_idempotence": True,
            **options,
        }
        self._topics = topics or Topics()
        self._producer: AIOKafkaProducer | None = None

    async def __aenter__(self) -> Self:
        self._producer = AIOKafkaProducer(**self._arguments)
        try:
            await self._producer.start()
        except KafkaError as error:
            await self._producer.stop()
            raise TransportError("kafka_unavailable", repr(error)) from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._producer is not None:
            await self._producer.stop()

    async def publish(self, event: Event | Json, *, key: str | None = None) -> Position:
        """Publish one event; returns when all replicas in sync have it. Raises `TransportError`."""
        (position,) = await self.publish_many([event], key=key)
        return position

    async def publish_many(
        self, events: Iterable[Event | Json], *, key: str | None = None
    ) -> Sequence[Position]:
        """Publish events; returns their positions in the same order. Raises `TransportError`."""
        if self._producer is None:
            raise RuntimeError("use the publisher in `async with`")
        try:
            sent = [await self._producer.send(*self._record(event, key)) for event in events]
            stored = await asyncio.gather(*sent)
        except KafkaError as error:
            raise TransportError("kafka_unavailable", repr(error)) from error
        return [Position(each.topic, each.partition, each.offset) for each in stored]

    def _record(self, event: Event | Json, key: str | None) -> tuple[str, bytes, bytes | None]:
        body = body_of(event)
        topic = getattr(self._topics, event.topic if isinstance(event, Event) else "notifications")
        chosen = key or next((str(body[name]) for name in _KEYS if body.get(name)), None)
        value = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        return topic, value, None if chosen is None else chosen.encode()


class KafkaPublisher:
    """The same for programs without asyncio: the producer runs in a separate thread."""

    def __init__(self, bootstrap_servers: str, *, topics: Topics | None = None, **options: Any) -> None:
        """As for `AsyncKafkaPublisher`."""
        self._publisher = AsyncKafkaPublisher(bootstrap_servers, topics=topics, **options)
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="kafka publisher", daemon=True)
        self._thread.start()
        try:
            self._run(self._publisher.__aenter__())
        except BaseException:
            self._stop(self._loop)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = self._loop
        if loop is None:
            return
        try:
            self._run(self._publisher.__aexit__(kind, error, trace))
        finally:
            self._stop(loop)

    def publish(self, event: Event | Json, *, key: str | None = None) -> Position:
        """Publish one event; returns when all replicas in sync have it. Raises `TransportError`."""
        return self._run(self._publisher.publish(event, key=key))

    def publish_many(self, events: Iterable[Event | Json], *, key: str | None = None) -> Sequence[Position]:
        """Publish events; returns their positions in the same order. Raises `TransportError`."""
        return self._run(self._publisher.publish_many(events, key=key))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            work.close()
            raise RuntimeError("use the publisher in `with`")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _stop(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = None
        loop.call_soon_threadsafe(loop.stop)
        self._thread.join()
        loop.close()
