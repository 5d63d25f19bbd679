"""Kafka: source, watchdog, dead letters, DLQ reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import TYPE_CHECKING

from app.sources.broker import EventInput, Ingest, Source

if TYPE_CHECKING:
    from app.runtime.outbound import Records
    from app.settings.sources import SourceSections
    from app.sources.dlq import DlqReader


_CODES = {
    "REGISTRATION_EVENTS_TOPIC": "otp_register",
    "RESET_PASSWORD_EVENTS_TOPIC": "otp_reset_password",
    "EMAIL_CHANGE_EVENTS_TOPIC": "otp_change_email",
}
"""The event type of each Kafka topic of one-time codes, whose messages don't say it."""


class KafkaBroker:
    """Kafka, which each hub has. See `Broker`."""

    name = "kafka"
    place = "Kafka topic"
    transports: Mapping[str, str] = MappingProxyType({"kafka": "Kafka"})

    def configured(self, settings: SourceSections) -> bool:
        """As `Broker.configured`."""
        return True

    def inputs(self, settings: SourceSections) -> Sequence[EventInput]:
        """As `Broker.inputs`."""
        found: dict[str, EventInput] = {}
        for setting, topic in settings.kafka.topics.items():
            found.setdefault(topic, EventInput(self.name, "topic", topic, setting, _CODES.get(setting)))
        return [*found.values()]

    def sources(self, settings: SourceSections, ingest: Ingest) -> dict[str, Source]:
        """Codes and logouts have a separate consumer: none waits behind a backlog of other events."""
        from app.sources.kafka.clients import check_security
        from app.sources.kafka.source import KafkaSource
        from app.sources.redaction import redact_message, without_code

        kafka = settings.kafka
        check_security(kafka)
        codes = {kafka.topics[setting]: event_type for setting, event_type in _CODES.items()}
        events: dict[str, str | None] = {kafka.notification_topic: None}
        urgent: dict[str, str | None] = {kafka.logout_topic: None, **codes}
        for topic in events:  # one topic may have both roles
            urgent.pop(topic, None)

        def redact(value: bytes, topic: str) -> bytes:
            return without_code(value) if topic in codes else redact_message(value)

        return {
            "kafka": KafkaSource(
                kafka, ingest.pipeline, events, redact, ingest.now, expected=kafka.topics.values()
            ),
            "kafka_codes": KafkaSource(kafka, ingest.code_pipeline, urgent, redact, ingest.now),
        }

    def open_dlq(self, settings: SourceSections) -> AbstractAsyncContextManager[DlqReader]:
        """As `Broker.open_dlq`."""
        from app.sources.kafka.dlq import open_dlq

        return open_dlq(settings.kafka)

    def records(self, settings: SourceSections, timeout: float) -> Records:
        """As `Broker.records`."""
        from app.sources.kafka.records import KafkaRecords

        return KafkaRecords(settings.kafka, timeout)

    def retained_events(self, settings: SourceSections) -> tuple[()]:
        """As `Broker.retained_events`."""
        return ()
