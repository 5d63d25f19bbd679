"""Compressed batches of Kafka are decompressed up to a limit. Import it before the first consumer.

aiokafka 0.14 decompresses a batch as a whole: 1 MB, within any broker's limits, may decompress to 1 GB or
more. That froze a node for 25 s and took 2.7 GB; with a memory limit the partition was blocked for good. Here
a batch that decompresses to more than `MAX_BATCH_BYTES`, or can't be decompressed, becomes one record without
content, at the position of its last one. The event decoder refuses it with the reason: it is dead-lettered by
its position.
"""

from __future__ import annotations

import importlib
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import cramjam
from aiokafka import codec
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError
from aiokafka.record.memory_records import MemoryRecords

from app.domain.errors import InvalidEvent
from app.domain.events import UnreadMessage

MAX_BATCH_BYTES = 16 * 1024 * 1024
"""Unpacked. Publishers collect 16 KB by default, and 1 MB at most where nobody raised all limits."""
MAX_FETCH_BYTES = 2 * MAX_BATCH_BYTES
"""Unpacked of one answer of a broker, about; the rest is fetched again, so that others get a turn."""
_MAX_GZIP_MEMBERS = 16
_FIRST_GUESS_PER_BYTE = 8  # usual ratio of decompressed to compressed size
_MIN_BUFFER_BYTES = 64 * 1024
_XERIAL_HEADER_BYTES = 16
_CODEC_BITS = 0x07  # the bits of a batch's attributes that name its codec
_LEGACY_ATTRIBUTES_OFFSET, _MAGIC_OFFSET, _ATTRIBUTES_OFFSET = 17, 16, 22  # positions in a batch
_LENGTH, _OVERHEAD_BYTES = struct.Struct(">8xi"), 12
_VARINT_BITS = 7


class BatchTooLarge(Exception):  # noqa: N818
    """A batch decompresses to more than the limit."""


_UNREADABLE = (
    BatchTooLarge,
    CorruptRecordException,
    UnsupportedCodecError,
    cramjam.DecompressionError,
    zlib.error,
    struct.error,
    AssertionError,  # a legacy batch within another
    EOFError,
    ValueError,
    IndexError,
    MemoryError,
)


def gzip_decode(payload: Any) -> bytes:
    """As `aiokafka.codec` has it. Raises `BatchTooLarge` like the other codecs here."""
    rest, size = bytes(payload), 0
    parts: list[bytes] = []
    for _ in range(_MAX_GZIP_MEMBERS):
        member = zlib.decompressobj(wbits=31)
        parts.append(member.decompress(rest, MAX_BATCH_BYTES + 1 - size))
        size += len(parts[-1])
        if size > MAX_BATCH_BYTES:
            raise BatchTooLarge
        if not member.eof:
            raise EOFError("the batch ends within its compressed data")
        rest = member.unused_data.lstrip(b"\0")
        if not rest:
            return parts[0] if len(parts) == 1 else b"".join(parts)
    raise BatchTooLarge


def _bounded(unpack_into: Callable[[bytes, bytearray], int]) -> Callable[[bytes], bytes]:
    def decode(payload: bytes) -> bytes:
        guess = min(MAX_BATCH_BYTES, max(_MIN_BUFFER_BYTES, _FIRST_GUESS_PER_BYTE * len(payload)))
        for size in (guess, MAX_BATCH_BYTES):
            buffer = bytearray(size)
            try:
                return bytes(memoryview(buffer)[: unpack_into(payload, buffer)])
            except cramjam.DecompressionError:
                if size == MAX_BATCH_BYTES:
                    raise BatchTooLarge from None  # or corrupt, which can't be distinguished
        raise AssertionError("the loop returns or raises")

    return decode


lz4_decode = _bounded(cramjam.lz4.decompress_into)
zstd_decode = _bounded(cramjam.zstd.decompress_into)


def snappy_decode(payload: bytes) -> bytes:
    """The size that each block says it has is checked before decompression, and by snappy itself after."""
    if sum(_snappy_sizes(payload)) > MAX_BATCH_BYTES:
        raise BatchTooLarge
    unpacked: bytes = codec.snappy_decode(payload)
    return unpacked


def _snappy_sizes(payload: bytes) -> Iterator[int]:
    if not payload.startswith(b"\x82SNAPPY\0"):
        yield _varint(payload, 0)
        return
    position = _XERIAL_HEADER_BYTES
    while position < len(payload):
        (length,) = struct.unpack_from(">i", payload, position)
        if length <= 0:
            raise ValueError("a block without a length")
        yield _varint(payload, position + 4)
        position += 4 + length


def _varint(data: bytes, position: int) -> int:
    value = shift = 0
    for byte in data[position : position + 5]:
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += _VARINT_BITS
    return value


class _UnreadRecord(NamedTuple):
    """Stands for all records of a batch, in the form that `aiokafka` has records in."""

    offset: int
    timestamp: int
    value: UnreadMessage
    timestamp_type: int = 0
    key: None = None
    checksum: None = None
    headers: tuple[()] = ()


class BoundedBatch:
    """A compressed batch. Its records are as aiokafka reads them, or one that stands for all."""

    def __init__(self, batch: Any, unpacked: Callable[[], None]) -> None:
        """`unpacked` is called when it was too large, or can't be read."""
        self._batch = batch
        self._unpacked = unpacked

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        try:
            records = iter(self._batch)  # it decompresses here; asked for an iterator twice, it fails
            while (record := next(records, None)) is not None:
                yield record
        except _UNREADABLE as error:
            self._unpacked()
            yield self._unread(error)

    def _unread(self, error: Exception) -> _UnreadRecord:
        last = self._batch.next_offset - 1
        first = getattr(self._batch, "base_offset", last)
        where = f"the batch of the offsets {first} to {last}"
        if isinstance(error, (BatchTooLarge, MemoryError)):
            why = f"{where} is corrupt, or decompresses to more than {MAX_BATCH_BYTES} bytes"
            refused = InvalidEvent("batch_too_large", why)
        else:
            refused = InvalidEvent(
                "batch_unreadable", (f"{where} cannot be decompressed ({type(error).__name__})")
            )
        return _UnreadRecord(last, getattr(self._batch, "max_timestamp", -1), UnreadMessage(refused))


class BoundedRecords:
    """Takes the place of `MemoryRecords`, which it asks: the batches of one answer of a broker."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._records = MemoryRecords(data)
        self._position = self._spent = 0

    def size_in_bytes(self) -> int:
        """The compressed size of what is left."""
        size: int = self._records.size_in_bytes()
        return size

    def has_next(self) -> bool:
        """Whether there is another batch within the limit."""
        return self._spent < MAX_FETCH_BYTES and self._records.has_next()

    def next_batch(self) -> Any:
        """The next batch; one that is too large or corrupt is replaced by its position."""
        start, data = self._position, self._data
        self._position = start + _OVERHEAD_BYTES + _LENGTH.unpack_from(data, start)[0]
        batch = self._records.next_batch()
        legacy = data[start + _MAGIC_OFFSET] <= 1
        attributes = data[start + (_LEGACY_ATTRIBUTES_OFFSET if legacy else _ATTRIBUTES_OFFSET)]
        return BoundedBatch(batch, self._spend) if attributes & _CODEC_BITS else batch

    def _spend(self) -> None:
        self._spent += MAX_BATCH_BYTES


CODECS = {
    "gzip_decode": gzip_decode,
    "snappy_decode": snappy_decode,
    "lz4_decode": lz4_decode,
    "zstd_decode": zstd_decode,
}
PARSERS = (
    "aiokafka.record.default_records",
    "aiokafka.record.legacy_records",
    "aiokafka.record._crecords.default_records",
    "aiokafka.record._crecords.legacy_records",
)
"""The modules that decompress batches; those written in C are not there on every platform."""


def _install() -> None:
    for name in PARSERS:
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        for function, bounded in CODECS.items():
            if hasattr(module, function):
                setattr(module, function, bounded)
    fetcher.MemoryRecords = BoundedRecords


_install()
