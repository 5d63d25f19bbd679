"""The dead letter that a Kafka record becomes. No I/O."""

from __future__ import annotations

from typing import Any

from app.domain.errors import InvalidEvent
from app.domain.events import UnreadMessage
from app.sources.dead_letters import CUT_FROM, NULL_VALUE, TOPIC, originals, read_replay_headers, reasons

PARTITION, OFFSET, TIMESTAMP = "dlq.partition", "dlq.offset", "dlq.timestamp"
_CUT_BYTES = 64 * 1024

ProducedRecord = dict[str, Any]
"""Value, key and headers, as a producer takes them."""


def dead_letter_records(
    record: Any, dedup_key: str, value: bytes | None, error: InvalidEvent
) -> tuple[ProducedRecord, ProducedRecord]:
    """The dead letter of a record: as it was, and cut for a Kafka topic that refuses it as too large.

    `value` is the record's, without what no dead letter may hold.
    """
    attempts = read_replay_headers(dict(record.headers), "kafka").attempts
    ours = {
        **reasons("kafka", dedup_key, error, attempts, redacted=value != record.value),
        TOPIC: record.topic,
        PARTITION: str(record.partition),
        OFFSET: str(record.offset),
        TIMESTAMP: str(record.timestamp),
    }
    if isinstance(record.value, UnreadMessage):
        ours[CUT_FROM] = "a batch that was not unpacked"
    if value is None:  # a record without key and value can't be sent
        ours[NULL_VALUE] = "true"
    whole = {
        "value": value or b"",
        "key": record.key,
        "headers": [*originals(record.headers), *encoded(ours)],
    }
    sizes = f"value {len(record.value or b'')}, key {len(record.key or b'')} bytes"
    cut = {"value": (value or b"")[:_CUT_BYTES], "headers": encoded({**ours, CUT_FROM: sizes})}
    return whole, cut


def encoded(headers: dict[str, str]) -> list[tuple[str, bytes]]:
    """Headers as Kafka takes them."""
    return [(name, text.encode()) for name, text in headers.items()]
