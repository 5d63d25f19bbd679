"""A strict parser of HTTP/1.1 requests (RFC 9112), free of I/O: bytes in; heads, and pieces of bodies, out.

What two parsers may understand differently is refused. Then no proxy in front of the hub, however lenient,
takes for a body what the hub takes for a request, or the reverse (request smuggling; decision 031).
"""

from __future__ import annotations

import re
from typing import NamedTuple

BLANKS = " \t"
EMPTY_LINE = b"\r\n"
HEAD_END = b"\r\n\r\n"
MAX_LENGTH_DIGITS = 18  # of Content-Length
MAX_SIZE_DIGITS = 16  # of a chunk's size
MAX_CHUNK_LINE_BYTES = 256  # a chunk's size and its extensions
MAX_TRAILER_BYTES = 8 * 1024

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_VALUE = rb"[\t\x20-\x7e\x80-\xff]*+"
_QUOTED = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*+"'
_FIELD_LINE = _TOKEN + rb":" + _VALUE + rb"\r\n"
# RFC 3986 allows fewer characters in a target; browsers send the others as they are. `#` begins a fragment.
_HEAD = re.compile(
    rb"(" + _TOKEN + rb") ([!\"$-~]++) HTTP/1\.([01])\r\n((?:" + _FIELD_LINE + rb")*+)", re.DOTALL
)
_FIELD = re.compile(_FIELD_LINE)
_CHUNK_LINE = re.compile(  # without the blanks beside ; and = that RFC 9112 tolerates and llhttp doesn't
    rb"([0-9A-Fa-f]{1,%d})(?:;%b(?:=(?:%b|%b))?)*+\r\n" % (MAX_SIZE_DIGITS, _TOKEN, _TOKEN, _QUOTED)
)
_STRAY = re.compile(rb"(?<!\r)\n|\r(?=[^\n])|[\0-\x08\x0b\x0c\x0e-\x1f\x7f]")
# RFC 3986 allows a comma in a name. Here it is one that joins two fields.
_AUTHORITY = r"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9\-._~!$&'()*+;=]|%[0-9A-Fa-f]{2})*+)(?::[0-9]{0,5})?"
_HOST = re.compile(_AUTHORITY)
_ABSOLUTE = re.compile(rf"https?://(?=[^/?:])({_AUTHORITY})(?=[/?]|$)(.*)", re.IGNORECASE)
_LENGTH = re.compile(rf"[0-9]{{1,{MAX_LENGTH_DIGITS}}}")
_NOT_IN_TRAILERS = (b"content-length", b"transfer-encoding", b"host", b"connection")


class MalformedRequest(Exception):  # noqa: N818 - not an error of the hub
    """Bytes that aren't a request, or that recipients may frame in several ways. Answer 400, and close."""


class Head(NamedTuple):
    """The request line and the fields of a request."""

    method: str
    target: str
    """In origin form, or `*`. ASCII."""
    version: str
    """`1.0` or `1.1`."""
    fields: list[tuple[str, str]]
    """Names in lower case. Bytes that aren't UTF-8 are surrogates."""
    length: int | None
    """Of the body in bytes; None if it comes in chunks."""
    has_body: bool
    """Whether a body was announced, be it empty."""
    keep_alive: bool
    websocket: bool
    """Whether the client would upgrade to `websocket`, among other protocols."""
    size: int
    """Bytes of the head, with the empty lines before it and the one that ends it."""

    def values(self, name: str) -> list[str]:
        """The values of the fields of this name, in lower case."""
        return [value for each, value in self.fields if each == name]


def lower(text: str) -> str:
    """In lower case, as RFC 9110 compares: ASCII only. `str.lower` makes a k of the Kelvin sign, and a
    `chunked` of what every proxy takes for an unknown coding.
    """
    return text.lower() if text.isascii() else text


def head_end(buffer: bytearray, begin: int = 0) -> int:
    """Where the head ends that the buffer begins with, after its final empty line; -1 while it is incomplete.

    Args:
        buffer: All that was received since the last request.
        begin: How much of it was searched before.
    """
    while buffer.startswith(EMPTY_LINE):  # RFC 9112, 2.2
        del buffer[: len(EMPTY_LINE)]
        begin = 0
    end = buffer.find(HEAD_END, max(0, begin - len(HEAD_END) + 1))
    return -1 if end < 0 else end + len(HEAD_END)


def check_incomplete(buffer: bytearray, begin: int = 0) -> None:
    """Look for what no head may contain, from `begin`: whoever ends lines with LF alone would otherwise wait
    for the time limit. Raises `MalformedRequest`.
    """
    if _STRAY.search(buffer, max(0, begin - 1)):
        raise MalformedRequest


def parse_head(head: bytes) -> Head:
    """Parse a head, which ends with an empty line. Raises `MalformedRequest`."""
    match = _HEAD.fullmatch(head, 0, len(head) - len(EMPTY_LINE))
    if match is None or not head.endswith(HEAD_END):
        raise MalformedRequest
    method, target, minor = match[1].decode(), match[2].decode(), match[3]
    fields = []
    special: dict[str, list[str]] = {}
    for line in match[4].decode(errors="surrogateescape").split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        field = name.lower(), value.strip(BLANKS)
        fields.append(field)
        if field[0] in _SPECIAL:
            special.setdefault(*field[:1], []).append(field[1])
    modern = minor == b"1"
    target = _origin_form(method, target, fields, special)
    _check_host(special.get("host", []), required=modern)
    length, has_body = _body_length(special, modern=modern)
    options = _items(special, "connection")
    keep_alive = "close" not in options and (modern or "keep-alive" in options)
    websocket = "upgrade" in special and "websocket" in _items(special, "upgrade")
    version = "1.1" if modern else "1.0"
    return Head(method, target, version, fields, length, has_body, keep_alive, websocket, len(head))


_SPECIAL = frozenset(("host", "content-length", "transfer-encoding", "connection", "upgrade"))


def _items(fields: dict[str, list[str]], name: str) -> list[str]:
    if name not in fields:
        return []
    return [lower(item.strip(BLANKS)) for item in ",".join(fields[name]).split(",")]


def _origin_form(
    method: str, target: str, fields: list[tuple[str, str]], special: dict[str, list[str]]
) -> str:
    """The target in origin form. An absolute one names the host, whatever Host says (RFC 9112, 3.2.2)."""
    if target.startswith("/") or (target == "*" and method == "OPTIONS"):
        return target
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise MalformedRequest
    _check_host(special.get("host", []), required=False)
    if special.get("host"):
        fields[:] = [(name, match[1] if name == "host" else value) for name, value in fields]
        special["host"] = [match[1]]
    return match[2] if match[2].startswith("/") else f"/{match[2]}"


def _check_host(values: list[str], *, required: bool) -> None:
    if len(values) > 1 or (required and not values) or not all(map(_HOST.fullmatch, values)):
        raise MalformedRequest


def _body_length(fields: dict[str, list[str]], *, modern: bool) -> tuple[int | None, bool]:
    """The length of the body, None for chunks, and whether there is one (RFC 9112, 6.3)."""
    codings, lengths = fields.get("transfer-encoding"), fields.get("content-length")
    if codings is not None:
        if lengths is not None or not modern or [*map(lower, codings)] != ["chunked"]:
            raise MalformedRequest
        return None, True
    if lengths is None:
        return 0, False
    if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
        raise MalformedRequest
    return int(lengths[0]), True


class ChunkedBody:
    """Reads a body in chunks (RFC 9112, 7.1). Extensions and trailers are checked and dropped."""

    __slots__ = ("_in_trailers", "_left", "_trailer_bytes", "_within", "done")

    def __init__(self) -> None:
        self._left = 0  # bytes of the chunk
        self._within = False  # a chunk, whose end in CRLF is still to come
        self._in_trailers = False
        self._trailer_bytes = 0
        self.done = False
        """Whether all of the body was read, with its trailers."""

    def size_of_next(self, buffer: bytearray) -> int | None:
        """Read up to the data of a chunk; the bytes of it that are left, 0 if the body is `done`. None if
        that takes more bytes than the buffer holds. Raises `MalformedRequest`.
        """
        while not self._left and not self.done:
            line = self._chunk_end(buffer) if self._within else self._line(buffer)
            if line is None:
                return None
        return self._left

    def take(self, buffer: bytearray) -> bytes:
        """Take data of the chunk from the buffer, which holds some. Call after `size_of_next`."""
        data = bytes(buffer[: self._left])
        del buffer[: len(data)]
        self._left -= len(data)
        return data

    def _chunk_end(self, buffer: bytearray) -> bytes | None:
        if not EMPTY_LINE.startswith(bytes(buffer[:2])):
            raise MalformedRequest
        if len(buffer) < len(EMPTY_LINE):
            return None
        del buffer[: len(EMPTY_LINE)]
        self._within = False
        return EMPTY_LINE

    def _line(self, buffer: bytearray) -> bytes | None:
        """Read the line with a chunk's size, or one of the trailers."""
        longest = MAX_TRAILER_BYTES - self._trailer_bytes if self._in_trailers else MAX_CHUNK_LINE_BYTES
        end = buffer.find(b"\n", 0, longest) + 1
        if not end:
            if len(buffer) >= longest:
                raise MalformedRequest
            check_incomplete(buffer)
            return None
        line = bytes(buffer[:end])
        if self._in_trailers:
            self._read_trailer(line)
        else:
            self._read_size(line)
        del buffer[:end]
        return line

    def _read_size(self, line: bytes) -> None:
        match = _CHUNK_LINE.fullmatch(line)
        if match is None:
            raise MalformedRequest
        self._left = int(match[1], 16)
        self._within = self._left > 0
        self._in_trailers = not self._within

    def _read_trailer(self, line: bytes) -> None:
        self._trailer_bytes += len(line)
        if line == EMPTY_LINE:
            self.done = True
        elif not _FIELD.fullmatch(line) or line.partition(b":")[0].lower() in _NOT_IN_TRAILERS:
            raise MalformedRequest
