"""Kafka: source, watchdog, dead letters, DLQ reader."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.settings import Settings
    from app.sources.broker import Ingest, Source
    from app.sources.dlq import DlqReader


class KafkaBroker:
    """Kafka, which each hub has. See `Broker`."""

    name = "kafka"
    place = "Kafka topic"
    transports: Mapping[str, str] = MappingProxyType({"kafka": "Kafka"})

    def configured(self, settings: Settings) -> bool:
        return True

    def sources(self, settings: Settings, ingest: Ingest) -> dict[str, Source]:
        """Codes have a consumer of their own: none waits behind a backlog of other events."""
        from app.sources.kafka.source import KafkaSource
        from app.sources.redaction import without_code

        events = dict.fromkeys((settings.notification_topic, settings.logout_events_topic))
        codes = {  # the event type of each; the messages don't say it
            settings.registration_events_topic: "otp_register",
            settings.reset_password_events_topic: "otp_reset_password",
            settings.email_change_events_topic: "otp_change_email",
        }
        return {
            "kafka": KafkaSource(settings, ingest.pipeline, events, now=ingest.now),
            "kafka_codes": KafkaSource(settings, ingest.code_pipeline, codes, without_code, ingest.now),
        }

    def open_dlq(self, settings: Settings) -> AbstractAsyncContextManager[DlqReader]:
        from app.sources.kafka.dlq import open_dlq

        return open_dlq(settings)

    def retained_events(self, settings: Settings) -> tuple[()]:
        return ()
