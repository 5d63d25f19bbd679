"""Where events come in, and the list of the brokers: nothing outside this package names one.

A source polls, hands batches to the pipeline, and acknowledges what was processed.
"""

from __future__ import annotations

from app.sources.broker import Broker, EventInput, Ingest, Source
from app.sources.kafka import KafkaBroker
from app.sources.rabbitmq import RabbitBroker
from app.sources.redis import RedisBroker

__all__ = ["BROKERS", "Broker", "EventInput", "Ingest", "Source"]

BROKERS: tuple[Broker, ...] = (KafkaBroker(), RabbitBroker(), RedisBroker())
