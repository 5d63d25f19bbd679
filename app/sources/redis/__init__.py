"""Redis: source, consumer group, deduplication, DLQ reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import TYPE_CHECKING

from app.sources.broker import EventInput, Ingest, Source

if TYPE_CHECKING:
    from app.domain.erasure import Place
    from app.settings.sources import SourceSections
    from app.sources.dlq import DlqReader


class RedisBroker:
    """The Redis that services publish on, where `REDIS_EVENTS_URL` is set. See `Broker`."""

    name = "redis"
    place = "Redis stream"
    transports: Mapping[str, str] = MappingProxyType(
        {"redis_stream": "Redis stream", "redis_pubsub": "Redis Pub/Sub"}
    )

    def configured(self, settings: SourceSections) -> bool:
        """As `Broker.configured`."""
        return settings.redis_streams.url is not None

    def inputs(self, settings: SourceSections) -> Sequence[EventInput]:
        """As `Broker.inputs`."""
        from app.sources.redis.messages import LOW_STOCK

        events = settings.redis_streams
        return [
            EventInput(self.name, "stream", events.stream, "LOW_STOCK_STREAM", default_type=LOW_STOCK),
            EventInput(self.name, "channel", events.channel, "LOW_STOCK_CHANNEL", default_type=LOW_STOCK),
        ]

    def sources(self, settings: SourceSections, ingest: Ingest) -> dict[str, Source]:
        """As `Broker.sources`."""
        from app.sources.redis.source import RedisSource

        return {"redis_events": RedisSource(settings.redis_streams, ingest.batcher)}

    def open_dlq(self, settings: SourceSections) -> AbstractAsyncContextManager[DlqReader]:
        """As `Broker.open_dlq`."""
        from app.sources.redis.dlq import open_dlq

        return open_dlq(settings.redis_streams)

    def records(self, settings: SourceSections, timeout: float) -> None:
        """None, as webhooks don't write here."""

    def retained_events(self, settings: SourceSections) -> Sequence[Place]:
        """As `Broker.retained_events`."""
        from app.sources.redis.retained import EventStream

        return [EventStream(settings.redis_streams)]
