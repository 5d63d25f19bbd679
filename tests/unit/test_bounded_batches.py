"""Compressed batches of Kafka: aiokafka reads them within a bound; beyond, one record stands for all."""

from __future__ import annotations

import gzip
import importlib
import struct
from typing import Any

import cramjam
import pytest
from aiokafka import TopicPartition, codec
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from app.domain.errors import InvalidEvent
from app.domain.events import UnreadMessage, decode
from app.sources.kafka import bounded_batches
from app.sources.kafka.bounded_batches import CODECS, PARSERS, BatchTooLarge, BoundedRecords

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
BOUND = 256 * 1024
NAMES = {GZIP: "gzip", SNAPPY: "snappy", LZ4: "lz4", ZSTD: "zstd"}


@pytest.fixture(autouse=True)
def _a_small_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_batches, "MAX_BATCH_BYTES", BOUND)
    monkeypatch.setattr(bounded_batches, "MAX_FETCH_BYTES", 2 * BOUND)


def batch(kind: int, first: int, *values: bytes) -> bytes:
    """A batch as a broker has it, with its first offset."""
    builder = DefaultRecordBatchBuilder(2, kind, 0, -1, -1, -1, 64 * 1024 * 1024)
    for number, value in enumerate(values):
        assert builder.append(number, 1_795_000_000_000 + number, b"key", value, [])
    data = bytearray(builder.build())
    data[:8] = struct.pack(">q", first)
    return bytes(data)


def legacy(kind: int, *values: bytes) -> bytes:
    builder = LegacyRecordBatchBuilder(1, kind, 64 * 1024 * 1024)
    for number, value in enumerate(values):
        assert builder.append(number, 1_795_000_000_000 + number, b"key", value)
    return bytes(builder.build())


def read(data: bytes, start: int = 0) -> tuple[list[Any], int]:
    """The records as a consumer gets them, and its position behind them."""
    records: Any = fetcher.PartitionRecords(
        TopicPartition("events", 0), fetcher.MemoryRecords(data), None, start, None, None, True, 1
    )
    return list(records), records.next_fetch_offset


def refusal(value: bytes) -> InvalidEvent:
    assert isinstance(value, UnreadMessage)
    with pytest.raises(InvalidEvent) as refused:
        decode(value, "key")
    return refused.value


@pytest.mark.parametrize("kind", [0, *NAMES])
def test_within_the_bound_a_batch_is_read_as_ever(kind: int) -> None:
    values = [b"%d " % number * 1000 for number in range(40)]
    records, position = read(batch(kind, 7, *values) + batch(kind, 47, b"next"))
    assert [record.value for record in records] == [*values, b"next"]
    assert [record.offset for record in records] == [*range(7, 48)]
    assert records[0].key == b"key"
    assert records[0].timestamp == 1_795_000_000_000
    assert position == 48


@pytest.mark.parametrize("values", [(b"\0" * 8 * BOUND,), (b"\0" * 1000,) * (8 * BOUND // 1000)])
@pytest.mark.parametrize("kind", NAMES)
def test_beyond_it_one_record_stands_for_all_and_the_next_batch_is_read(
    kind: int, values: tuple[bytes, ...]
) -> None:
    last = 7 + len(values) - 1
    data = batch(kind, 7, *values)
    assert len(data) < BOUND
    records, position = read(data + batch(kind, last + 1, b"next"))
    assert [(record.offset, record.value) for record in records] == [(last, b""), (last + 1, b"next")]
    refused = refusal(records[0].value)
    assert refused.reason == "batch_too_large"
    assert f"the offsets 7 to {last}" in str(refused)
    assert position == last + 2


def test_a_consumer_that_starts_within_such_a_batch_passes_it() -> None:
    records, position = read(batch(GZIP, 7, *[b"\0" * BOUND] * 3), start=8)
    assert [record.offset for record in records] == [9]
    assert position == 10


def test_after_some_the_rest_is_fetched_again() -> None:
    """Otherwise a thousand in one answer would take all of a node's time at once."""
    bombs = [batch(ZSTD, offset, b"\0" * 8 * BOUND) for offset in range(5)]
    records, position = read(b"".join(bombs))
    assert len(records) == position == 2
    assert len(read(b"".join(bombs[2:]), start=2)[0]) == 2


@pytest.mark.parametrize("kind", [GZIP, SNAPPY, LZ4])
def test_so_it_is_with_the_format_of_old_brokers(kind: int) -> None:
    assert [record.value for record in read(legacy(kind, b"a", b"b"))[0]] == [b"a", b"b"]
    records, position = read(legacy(kind, b"\0" * 8 * BOUND))
    assert refusal(records[0].value).reason == "batch_too_large"
    assert position == 1


def spoiled(kind: int, compressed: bytes) -> bytes:
    """A batch whose checksum is right and whose records are these bytes."""
    data = bytearray(batch(0, 7, b"x")[:61]) + compressed
    data[22] = kind
    data[8:12] = struct.pack(">i", len(data) - 12)
    data[17:21] = struct.pack(">I", calc_crc32c(bytes(data[21:])))
    return bytes(data)


@pytest.mark.parametrize("kind", [*NAMES, 5, 7])
@pytest.mark.parametrize(
    "compressed",
    [b"", b"\xff" * 50, b"\x82SNAPPY\0\0\0\0\1\0\0\0\1\0\0\0\0", gzip.compress(b"\1" * 50, mtime=0)[:-9]],
)
def test_what_can_not_be_unpacked_is_passed_too(kind: int, compressed: bytes) -> None:
    records, position = read(spoiled(kind, compressed) + batch(0, 8, b"next"))
    assert [(record.offset, record.value) for record in records] == [(7, b""), (8, b"next")]
    assert refusal(records[0].value).reason in ("batch_unreadable", "batch_too_large")
    assert position == 9


def test_pieces_that_are_small_each_are_bounded_together() -> None:
    member = gzip.compress(b"\0" * (BOUND // 2))
    assert len(CODECS["gzip_decode"](member * 2)) == BOUND
    for payload in (member * 3, gzip.compress(b"") * 100):
        with pytest.raises(BatchTooLarge):
            CODECS["gzip_decode"](payload)
    block = bytes(cramjam.snappy.compress_raw(b"\0" * (BOUND // 2)))
    blocks = codec.snappy_encode(b"")[:16] + (struct.pack(">i", len(block)) + block) * 3
    with pytest.raises(BatchTooLarge):
        CODECS["snappy_decode"](blocks)


def test_aiokafka_still_unpacks_by_the_functions_that_are_replaced() -> None:
    """If not, read how 0.14 did it in aiokafka/record/default_records.py, and what took its place."""
    replaced = 0
    for name in PARSERS:
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        for function, bounded in CODECS.items():
            if hasattr(module, function):
                assert getattr(module, function) is bounded, f"{name}.{function}"
                replaced += 1
    assert replaced >= len(CODECS)
    assert fetcher.MemoryRecords is BoundedRecords
    for function in CODECS:
        assert callable(getattr(codec, function))
