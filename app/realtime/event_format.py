"""Frames as Server-Sent Events (WHATWG HTML, "Server-sent events"). Bytes in, bytes out; no I/O."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

HEARTBEAT = b":\n\n"
"""A comment: clients ignore it; proxies see that the stream is alive."""


class Closing(msgspec.Struct, tag="close"):
    """The last event of a stream, which a WebSocket says by its close code and reason."""

    code: int
    reason: str


class _SeqOnly(msgspec.Struct):
    seq: int


class _FrameShape(msgspec.Struct):
    """What of a frame decides its event: a notification has `data`, a session frame `type`."""

    type: str = ""
    data: _SeqOnly | None = None
    to: int | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_FrameShape)
_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")  # in JSON these are blanks between values


def opening(start: int, retry_ms: int) -> bytes:
    """The first bytes of a stream whose client has all up to and with `start`. They have no data, so a client
    sees no event, but sends `start` as its Last-Event-ID when the stream ends before a notification.
    """
    return b"retry: %d\nid: %d\n\n" % (retry_ms, start)


def closing(code: int, reason: str) -> bytes:
    """The event that ends a stream. Its name keeps it from those that listen for notifications only."""
    return b"event: close\ndata: %b\n\n" % _encoder.encode(Closing(code, reason))


def events_of(frames: bytes) -> bytes:
    """Whole text frames of a WebSocket, as `text_frame` makes them, as events.

    A notification is an unnamed event whose id is its `seq`. A session frame is named by its type; `resumed`
    has the id up to which all was sent.
    """
    return b"".join(map(_event, payloads(frames)))


def _event(payload: bytes) -> bytes:
    frame = _decoder.decode(payload)
    data = payload.translate(_ONE_LINE)
    if frame.data is not None:
        return b"id: %d\ndata: %b\n\n" % (frame.data.seq, data)
    until = b"" if frame.to is None else b"id: %d\n" % frame.to
    return b"event: %b\n%bdata: %b\n\n" % (frame.type.encode(), until, data)


def payloads(frames: bytes) -> Iterator[bytes]:
    """The payloads of unmasked, unfragmented text frames (RFC 6455, 5.2)."""
    at = 0
    while at < len(frames):
        length, begin = frames[at + 1], at + 2
        if length >= 126:
            begin += 2 if length == 126 else 8
            length = int.from_bytes(frames[at + 2 : begin], "big")
        at = begin + length
        yield frames[begin:at]
