"""HTTP/1.1 as clients and proxies send it, read by the hub's parser and by two others."""

from __future__ import annotations

import re
from typing import NamedTuple

import h11
import httptools
from hypothesis import strategies as st

from app.runtime.http1 import (
    HEAD_END,
    ChunkedBody,
    Head,
    MalformedRequest,
    check_incomplete,
    head_end,
    parse_head,
)
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
        assert _comparable(ours, accepted) == _comparable(read_by_llhttp(accepted.sent), accepted), "llhttp"
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


def read_by_llhttp(sent: list[bytes]) -> list[Read]:
    """The complete requests on one connection, as llhttp reads them. A server may ignore an upgrade and go on
    to read requests (RFC 9110, 7.8), but httptools takes even the body for another protocol: it sees none.
    """
    reader = _LlhttpReader()
    try:
        for request in sent:
            head, end, body = request.partition(HEAD_END)
            reader.parser.feed_data(_UPGRADE.sub(b"\r\n" + _NO_UPGRADE, head) + end + body)
    except httptools.HttpParserError as error:
        raise AssertionError(f"llhttp refuses it: {error}") from None
    return reader.requests


_UPGRADE, _NO_UPGRADE = re.compile(rb"\r\nupgrade(?=:)", re.IGNORECASE), b"~upgrade~"


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
            name = b"upgrade" if name == _NO_UPGRADE else name.lower()
            self._fields.append((name.decode(), value.decode(errors="surrogateescape").strip(" \t")))

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


_SOUND_FIELDS = (
    *(b"X: \xff\x80\xc3\xa9", b"X:", b"Connection: close", b"Connection: keep-alive, Upgrade"),
    *(b"Upgrade: websocket", b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk", b"Expect: 100-continue"),
    *(b"TE: trailers, deflate;q=0.5", b"Trailer: X", b"X-Long: " + b"y" * 2000, b"Content_Length: 7"),
)
_FIELDS = (
    *_SOUND_FIELDS,
    *(b"Host: hub", b"Host: ", b"Host: [::1]:80", b"Host: a, b", b"Host: user@hub", b"Host: hub:99999999"),
    *(b"Content-Length: 5", b"Content-Length: 6", b"Content-Length: 0", b"Content-Length:\t005 "),
    *(b"Content-Length : 5", b"Content-Length\t: 5", b"Content-Length: 5, 5", b"Content-Length: 5, 6"),
    *(b"content-length: +5", b"Content-Length: -5", b"Content-Length: 5_0", b"Content-Length: 5\0"),
    *(
        b"Content-Length: 99999999999999999999",
        b"Content-Length: 5;",
        b"Content-Length:",
        b"Content-Length: 0x5",
    ),
    *(b"Transfer-Encoding: chunked", b"transfer-encoding:Chunked", b"Transfer-Encoding:\tchunked \t"),
    *(b"Transfer-Encoding: identity", b"Transfer-Encoding: gzip", b"Transfer-Encoding: gzip, chunked"),
    *(
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: chunked,",
        b"Transfer-Encoding: ,chunked",
    ),
    *(b"Transfer-Encoding : chunked", b"Transfer-Encoding:\x0bchunked", b"Transfer-Encoding: chunked\0"),
    *(b'Transfer-Encoding: "chunked"', b"Transfer-Encoding: chunked;q=1", b"Transfer-Encoding: xchunked"),
    *(b"Transfer-Encoding:\r\n chunked", b"X: a\r\n Content-Length: 5", b"X: a\r\n\tb", b" X: a"),
    *(b"X: a\nContent-Length: 5", b"X: a\rContent-Length: 5", b"X: a\r", b"X: a\0b", b"X\0: a", b": x", b"X"),
    *(b"Expect: 200-ok", b"Upgrade: websocket, h2c", b"Connection: Upgrade\r\nConnection: close"),
)
_LINES = (
    b"POST /a?b=c HTTP/1.1",
    *(b"GET / HTTP/1.1", b"OPTIONS * HTTP/1.1", b"\r\nPUT /x HTTP/1.1", b"\r\n\r\n\r\nPOST / HTTP/1.1"),
    *(
        b"GET / HTTP/1.0",
        b"POST / HTTP/1.0",
        b"GET / HTTP/1.2",
        b"GET / HTTP/0.9",
        b"GET / HTTP/2.0",
        b"GET /",
    ),
    *(b"GET http://other/ HTTP/1.1", b"POST HTTP://other:81/a?b HTTP/1.1", b"GET http://[::1]?b HTTP/1.1"),
    *(b"GET http://user:pw@hub/ HTTP/1.1", b"GET ftp://hub/ HTTP/1.1", b"GET http:///x HTTP/1.1"),
    *(b"CONNECT hub:443 HTTP/1.1", b"PRI * HTTP/2.0", b"GET * HTTP/1.1", b"GET //hub/../x HTTP/1.1"),
    *(b"GET  / HTTP/1.1", b"GET\t/ HTTP/1.1", b"GET / HTTP/1.1 ", b" GET / HTTP/1.1", b"GET /a b HTTP/1.1"),
    *(
        b"BREW /pot HTTP/1.1",
        b"get / HTTP/1.1",
        b"G\xc3\x89T / HTTP/1.1",
        b"G\0T / HTTP/1.1",
        b"G(T / HTTP/1.1",
    ),
    *(
        b"\nGET / HTTP/1.1",
        b"\rGET / HTTP/1.1",
        b"GET / HTTP/1.1\n",
        b"GET /\xff HTTP/1.1",
        b"GET /\0 HTTP/1.1",
    ),
    b"GET /" + b"a" * 3000 + b" HTTP/1.1",
)
_SOUND_CHUNKS = (
    *(b"5\r\nhello\r\n", b"0005;a=b\r\nhello\r\n", b'5;a="b;\\"";c\r\nhello\r\n'),
    b"A\r\n0\r\n\r\nGET /\r\n",
)
_CHUNKS = (
    *_SOUND_CHUNKS,
    *(b"0x5\r\nhello\r\n", b"5\nhello\r\n", b"5\r\nhello\n", b"5\r\nhelloXX", b"5\rhello\r\n", b"-1\r\n"),
    *(b"5;a\nb\r\nhello\r\n", b"5;a\rb\r\nhello\r\n", b"5;\r\nhello\r\n", b"5 ;a\r\nhello\r\n", b"1_0\r\n"),
    *(b"5 \r\nhello\r\n", b" 5\r\nhello\r\n", b"+5\r\nhello\r\n", b"\r\n", b'5;a="b\r\nhello\r\n'),
    *(b"FFFFFFFFFFFFFFFFF\r\n", b"10000000000000005\r\nhello\r\n", b"5;" + b"a" * 300 + b"\r\nhello\r\n"),
)
_LASTS = (
    *(b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"00;a\r\n\r\n", b"0\r\nX : y\r\n\r\n", b"0\r\n\n", b"0\r\nXX"),
    *(
        b"0\n\r\n",
        b"0\r\n\r",
        b"0\r\nX: y\r\n z\r\n\r\n",
        b"0\r\nContent-Length: 5\r\n\r\n",
        b"0\r\nX: a\0\r\n\r\n",
    ),
    *(b"0\r\nHost: other\r\n\r\n", b"0\r\nX: a\nY: b\r\n\r\n", b"0\r\n\r\n\r\n"),
)


@st.composite
def _requests(draw: st.DrawFn) -> bytes:
    """Requests on one connection, mostly sound ones; the others are wrong in one part, or in several."""
    sent = draw(st.binary(min_size=1, max_size=1))
    for _ in range(draw(st.integers(1, 3))):
        wrong = draw(st.sampled_from(_WRONG))
        line = draw(st.sampled_from(_LINES if "line" in wrong else _LINES[:1]))
        fields = [
            *draw(
                st.sampled_from(((), (b"Host: a", b"Host: a"), (b"Host: A:80",)))
                if "host" in wrong
                else _HOST
            ),
            *draw(st.lists(st.sampled_from(_FIELDS if "fields" in wrong else _SOUND_FIELDS), max_size=3)),
        ]
        body = draw(st.sampled_from((b"", b"hello", None)))
        if body is None:
            fields.append(b"Transfer-Encoding: chunked")
            chunks = st.sampled_from(_CHUNKS if "chunks" in wrong else _SOUND_CHUNKS)
            body = b"".join(draw(st.lists(chunks, max_size=3)))
            body += draw(st.sampled_from(_LASTS if "last" in wrong else _LASTS[:3]))
        elif body:
            fields.append(b"Content-Length: 5")
        sent += b"\r\n".join((line, *fields, b"", body))
    return sent


_PARTS = ("line", "host", "fields", "chunks", "last")
_WRONG = (*[()] * 8, *((part,) for part in _PARTS), _PARTS)
_HOST = st.just((b"Host: hub",))


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
