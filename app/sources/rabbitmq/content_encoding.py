"""The content encodings of AMQP messages, decoded within a bound. No I/O."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from app.domain.errors import InvalidEvent
from app.domain.events import MAX_EVENT_BYTES

ACCEPTED = "gzip, deflate and identity"
MAX_ENCODINGS = 3
MAX_GZIP_MEMBERS = 100


class _Format(IntEnum):
    """The `wbits` of zlib."""

    GZIP = zlib.MAX_WBITS | 16
    ZLIB = zlib.MAX_WBITS
    RAW = -zlib.MAX_WBITS


_PLAIN = frozenset(("", "identity", "none", "binary", "utf-8", "utf8", "us-ascii", "ascii"))
"""What changes nothing: some libraries write the charset here."""
_FORMATS = {
    "gzip": (_Format.GZIP,),
    "x-gzip": (_Format.GZIP,),
    "deflate": (_Format.ZLIB, _Format.RAW),
}
"""The formats of each encoding, in the order to try them: some write deflate without zlib's header."""


class Decoded(NamedTuple):
    """A body without its content encoding, or its readable beginning and why there is no more."""

    body: bytes
    error: InvalidEvent | None = None


def decoded(body: bytes, content_encoding: str | None) -> Decoded:
    """Decode the body of a message. Takes no more memory or time than an event of the largest size.

    The error's reasons: too_large, bad_content_encoding.
    """
    names = [name.strip().lower() for name in (content_encoding or "").split(",")]
    encodings = [name for name in names if name not in _PLAIN]
    for name in encodings:
        if name not in _FORMATS:
            return _failed(body, f"content_encoding {name[:50]!r} is not accepted; use {ACCEPTED}")
    if len(encodings) > MAX_ENCODINGS:
        return _failed(body, f"{len(encodings)} content encodings; the limit is {MAX_ENCODINGS}")
    for name in reversed(encodings):  # the last was applied last (RFC 9110, 8.4)
        if len(body) > MAX_EVENT_BYTES:
            return Decoded(b"", InvalidEvent("too_large", f"more than {MAX_EVENT_BYTES} bytes in {name}"))
        body, error = _in_any(_FORMATS[name], body, name)
        if error is not None:
            return Decoded(body, error)
    return Decoded(body)


def _in_any(formats: Sequence[_Format], body: bytes, name: str) -> Decoded:
    """In the first format that fits; if none does, as far as one can be read."""
    failed: list[Decoded] = []
    for each_format in formats:
        attempt = _decompress(body, name, each_format)
        if attempt.error is None:
            return attempt
        failed.append(attempt)
    return max(failed, key=lambda each: len(each.body))


def _decompress(body: bytes, name: str, wbits: _Format) -> Decoded:
    """Every member of a gzip file; the one stream of the other formats."""
    found = bytearray()
    for _ in range(MAX_GZIP_MEMBERS if wbits is _Format.GZIP else 1):
        stream = zlib.decompressobj(wbits)
        try:
            found += stream.decompress(body, MAX_EVENT_BYTES + 1 - len(found))
        except zlib.error:
            return _failed(bytes(found), f"the body is not {name}, as content_encoding says")
        if len(found) > MAX_EVENT_BYTES:
            why = f"more than {MAX_EVENT_BYTES} bytes (the limit) when decoded from {name}"
            return Decoded(bytes(found), InvalidEvent("too_large", why))
        if not stream.eof:
            return _failed(bytes(found), f"the {name} body is truncated")
        body = stream.unused_data.lstrip(b"\0") if wbits is _Format.GZIP else stream.unused_data
        if not body:
            return Decoded(bytes(found))
    return _failed(bytes(found), f"extra bytes follow the {name} body")


def _failed(body: bytes, why: str) -> Decoded:
    return Decoded(body, InvalidEvent("bad_content_encoding", why))
