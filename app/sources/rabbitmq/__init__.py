"""RabbitMQ: source, dead letters, DLQ reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import TYPE_CHECKING

from app.sources.broker import EventInput, Ingest, Source

if TYPE_CHECKING:
    from app.settings.sources import SourceSections
    from app.sources.dlq import DlqReader


class RabbitBroker:
    """RabbitMQ, where `RABBITMQ_URL` is set. See `Broker`."""

    name = "rabbitmq"
    place = "RabbitMQ queue"
    transports: Mapping[str, str] = MappingProxyType({"rabbitmq": "RabbitMQ"})

    def configured(self, settings: SourceSections) -> bool:
        """As `Broker.configured`."""
        return settings.rabbitmq.url is not None

    def inputs(self, settings: SourceSections) -> Sequence[EventInput]:
        """As `Broker.inputs`."""
        rabbitmq = settings.rabbitmq
        named = {
            "BOOKING_EVENTS_QUEUE": rabbitmq.booking_queue,
            "PAYMENT_EVENTS_QUEUE": rabbitmq.payment_queue,
            "NOTIFICATIONS_QUEUE": rabbitmq.notifications_queue,
        }
        once = {queue: setting for setting, queue in reversed(named.items())}
        return [EventInput(self.name, "queue", queue, once[queue]) for queue in dict.fromkeys(named.values())]

    def sources(self, settings: SourceSections, ingest: Ingest) -> dict[str, Source]:
        """As `Broker.sources`."""
        from app.sources.rabbitmq.source import RabbitSource

        return {"rabbitmq": RabbitSource(settings.rabbitmq, ingest.batcher)}

    def open_dlq(self, settings: SourceSections) -> AbstractAsyncContextManager[DlqReader]:
        """As `Broker.open_dlq`."""
        from app.sources.rabbitmq.dlq import open_dlq

        return open_dlq(settings.rabbitmq)

    def records(self, settings: SourceSections, timeout: float) -> None:
        """None, as webhooks don't write here."""

    def retained_events(self, settings: SourceSections) -> tuple[()]:
        """As `Broker.retained_events`."""
        return ()
