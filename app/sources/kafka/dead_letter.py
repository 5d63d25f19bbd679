"""The dead letter that a Kafka record becomes. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from app.domain.errors import InvalidEvent
from app.domain.events import UnreadMessage
from app.ingest.batch import SourceMessage
from app.sources.dead_letters import CUT_FROM, NULL_VALUE, TOPIC, originals, read_replay_headers, reasons

PARTITION, OFFSET, TIMESTAMP = "dlq.partition", "dlq.offset", "dlq.timestamp"
_CUT_BYTES = 64 * 1024


class ParkedRecord(NamedTuple):
    """What is kept of a record whose event is parked."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    value: bytes | None = None


_labels = msgspec.msgpack.Encoder()
_parked = msgspec.msgpack.Decoder(ParkedRecord)


def labels_of(message: SourceMessage) -> bytes:
    """Encode all of a record but its value, for `parked_record`."""
    of = message.origin
    headers = [(name, value) for name, value in of.headers]
    return _labels.encode((of.topic, of.partition, of.offset, of.timestamp, of.key, headers))


def parked_record(labels: bytes, value: bytes | None) -> ParkedRecord:
    """The record whose event was parked with these labels."""
    return _parked.decode(labels)._replace(value=value)


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
        ours[CUT_FROM] = "a batch that was not decompressed"
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
