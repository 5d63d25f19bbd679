"""HTTP/1.1 as clients and proxies send it, read by the hub's parser and by two others."""

from __future__ import annotations

from typing import NamedTuple

import h11
import httptools
from hypothesis import strategies as st

from app.runtime.http1 import ChunkedBody, Head, MalformedRequest, check_incomplete, head_end, parse_head
from fuzz.hostile import spoiled
from fuzz.target import Target

LLHTTP_METHODS = frozenset(("DELETE", "GET", "HEAD", "POST", "PUT", "OPTIONS", "TRACE", "PATCH", "QUERY"))


class Read(NamedTuple):
    """A request as one of the parsers understands it."""

    method: str
    target: str
    fields: list[tuple[str, str]]
    body: bytes


class Accepted(NamedTuple):
    """What the hub accepts of the bytes on one connection."""

    requests: list[Read]
    rewritten: bool
    """Whether a target came in absolute form."""
    sent: list[bytes]
    """The bytes of each of them."""


def check_http(data: bytes) -> None:
    """Byte 0 says into what pieces the others are cut, which makes no difference."""
    cut = 1 + (data[0] if data else 0) % 64
    accepted = read_by_hub(data[1:], 1 << 20)
    assert accepted == read_by_hub(data[1:], cut), "it depends on how the bytes are cut"
    ours = accepted.requests
    if {each.method for each in ours} <= LLHTTP_METHODS:
        assert _comparable(ours, accepted) == _comparable(
            read_by_llhttp(b"".join(accepted.sent)), accepted
        ), "llhttp"
    assert _comparable(ours, accepted) == _comparable([*map(read_by_h11, accepted.sent)], accepted), "h11"


def _comparable(requests: list[Read], accepted: Accepted) -> list[Read]:
    """An absolute target is rewritten by the hub only, with Host; a coding is in lower case in h11 only."""
    return [
        each._replace(
            target="" if accepted.rewritten else each.target,
            fields=[
                (name, value.lower() if name == "transfer-encoding" else value)
                for name, value in each.fields
                if name != "host" or not accepted.rewritten
            ],
        )
        for each in requests
    ]


class _Stream:
    """Bytes that are received in pieces."""

    def __init__(self, data: bytes, cut: int) -> None:
        self.data, self._cut, self._at = data, cut, 0
        self.buffer = bytearray()

    @property
    def taken(self) -> int:
        return self._at - len(self.buffer)

    def receive(self) -> None:
        """Raises `EOFError` at the end."""
        piece = self.data[self._at : self._at + self._cut]
        if not piece:
            raise EOFError
        self.buffer += piece
        self._at += len(piece)

    def head(self) -> Head:
        searched = 0
        while (size := head_end(self.buffer, searched)) < 0:
            check_incomplete(self.buffer, searched)
            searched = len(self.buffer)
            self.receive()
        return parse_head(bytes(self.buffer[:size]))

    def body(self, length: int | None) -> bytes:
        chunks, body = ChunkedBody(), b""
        while length is None and not chunks.done:
            left = chunks.size_of_next(self.buffer)
            if left and self.buffer:
                body += chunks.take(self.buffer)
            elif left != 0:
                self.receive()
        while len(self.buffer) < (length or 0):
            self.receive()
        body += self.buffer[: length or 0]
        del self.buffer[: length or 0]
        return body


def read_by_hub(data: bytes, cut: int) -> Accepted:
    """The complete requests, as the hub reads them on one connection."""
    stream, requests, sent, rewritten = _Stream(data, cut), list[Read](), list[bytes](), False
    try:
        while True:
            head = stream.head()
            begin = stream.taken
            del stream.buffer[: head.size]
            rewritten |= head.target.encode() != data[begin:].split(b" ", 2)[1]
            requests.append(Read(head.method, head.target, head.fields, stream.body(head.length)))
            sent.append(data[begin : stream.taken])
            if head.websocket or not head.keep_alive:
                break
    except (MalformedRequest, EOFError):
        pass
    return Accepted(requests, rewritten, sent)


def read_by_llhttp(data: bytes) -> list[Read]:
    """The complete requests, as llhttp reads them."""
    reader = _LlhttpReader()
    try:
        reader.parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise AssertionError(f"llhttp refuses it: {error}") from None
    return reader.requests


class _LlhttpReader:
    def __init__(self) -> None:
        self.requests: list[Read] = []
        self.parser = httptools.HttpRequestParser(self)

    def on_message_begin(self) -> None:
        self._target, self._fields, self._body, self._trailers = b"", list[tuple[str, str]](), b"", False

    def on_url(self, piece: bytes) -> None:
        self._target += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._trailers:
            self._fields.append((name.decode().lower(), value.decode(errors="surrogateescape").strip(" \t")))

    def on_headers_complete(self) -> None:
        self._trailers = True

    def on_body(self, piece: bytes) -> None:
        self._body += piece

    def on_message_complete(self) -> None:
        method = self.parser.get_method().decode()
        self.requests.append(Read(method, self._target.decode(), self._fields, self._body))


def read_by_h11(data: bytes) -> Read:
    """The request that these bytes are, as h11 reads it. It keeps no connection of HTTP/1.0 for another."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    body = b""
    try:
        request = connection.next_event()
        assert isinstance(request, h11.Request), "h11 sees no request"
        while isinstance(event := connection.next_event(), h11.Data):
            body += event.data
    except h11.RemoteProtocolError as error:
        raise AssertionError(f"h11 refuses it: {error}") from None
    assert isinstance(event, h11.EndOfMessage), "h11 waits for more"
    assert connection.trailing_data == (b"", False), "h11 sees the end before"
    fields = [(name.decode(), value.decode(errors="surrogateescape")) for name, value in request.headers]
    return Read(request.method.decode(), request.target.decode(), fields, body)


_FIELDS = (
    *(b"Host: hub", b"Host: ", b"Host: [::1]:80", b"Host: a, b", b"Content-Length: 5", b"Content-Length : 5"),
    *(b"Content-Length: 5, 5", b"content-length: +5", b"Content-Length:\t005 ", b"Content-Length: 0"),
    *(b"Transfer-Encoding: chunked", b"transfer-encoding:Chunked", b"Transfer-Encoding: gzip, chunked"),
    *(
        b"Transfer-Encoding:\x0bchunked",
        b"X: a\r\n b",
        b"X: a\nY: b",
        b"X: a\rb",
        b"X: \xff\x80\xc3\xa9",
        b": x",
    ),
    *(b"Connection: close", b"Connection: keep-alive", b"Upgrade: websocket", b"Expect: 100-continue", b"X:"),
)
_LINES = (
    *(
        b"POST /a?b=c HTTP/1.1",
        b"GET / HTTP/1.1",
        b"GET / HTTP/1.0",
        b"GET http://other/ HTTP/1.1",
        b"\r\nPUT /x HTTP/1.1",
    ),
    *(b"OPTIONS * HTTP/1.1", b"GET  / HTTP/1.1", b"GET / HTTP/1.2", b"BREW /pot HTTP/1.1", b"get / HTTP/1.1"),
)
_CHUNKS = (
    *(
        b"5\r\nhello\r\n",
        b"0005;a=b\r\nhello\r\n",
        b'5;a="b;\\"";c\r\nhello\r\n',
        b"0x5\r\nhello\r\n",
        b"5\nhello\r\n",
    ),
    *(b"5;a\nb\r\nhello\r\n", b"5\r\nhelloXX", b"-1\r\n", b"1_0\r\n", b"A\r\n0\r\n\r\nGET /\r\n"),
)
_LASTS = (b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"0\r\nX : y\r\n\r\n", b"00;a\r\n\r\n", b"0\r\n\n", b"0\r\nXX")


@st.composite
def _requests(draw: st.DrawFn) -> bytes:
    """Requests on one connection, mostly sound ones."""
    sent = draw(st.binary(min_size=1, max_size=1))
    for _ in range(draw(st.integers(1, 3))):
        sound = draw(st.integers(0, 3)) > 0
        line = _LINES[0] if sound else draw(st.sampled_from(_LINES))
        fields = [
            b"Host: hub",
            *draw(st.lists(st.sampled_from(_FIELDS[15:] if sound else _FIELDS), max_size=3)),
        ]
        body = draw(st.sampled_from((b"", b"hello", None)))
        if body is None:
            fields.append(b"Transfer-Encoding: chunked")
            body = b"".join(draw(st.lists(st.sampled_from(_CHUNKS[:3] if sound else _CHUNKS), max_size=3)))
            body += _LASTS[0] if sound else draw(st.sampled_from(_LASTS))
        elif body:
            fields.append(b"Content-Length: 5")
        sent += b"\r\n".join((line, *fields, b"", body))
    return sent


TARGETS = (
    Target(
        "http",
        "what is accepted, llhttp and h11 accept too, and all three see the same requests; however it is cut",
        check_http,
        spoiled(_requests()),
        [*_FIELDS, *_LINES, *_CHUNKS, *_LASTS, b"\r\n", b"\r\n\r\n", b"HTTP/1.1\r\n"],
        longest=64 * 1024,
        weight=36,
    ),
)
