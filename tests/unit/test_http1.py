"""What is refused of HTTP/1.1, and how what is accepted is understood (RFC 9112)."""

from __future__ import annotations

import pytest

from app.runtime.http1 import (
    MAX_CHUNK_LINE_BYTES,
    MAX_TRAILER_BYTES,
    ChunkedBody,
    Head,
    MalformedRequest,
    check_incomplete,
    head_end,
    parse_head,
)

POST = b"POST /x HTTP/1.1\r\nHost: hub\r\n"


def head(*lines: bytes, begin: bytes = POST) -> Head:
    return parse_head(begin + b"".join(line + b"\r\n" for line in lines) + b"\r\n")


MALFORMED_FIELDS = {
    "a blank before the colon": [b"Content-Length : 5"],
    "a tab before the colon": [b"Content-Length\t: 5"],
    "a blank before the colon of a coding": [b"Transfer-Encoding : chunked"],
    "a vertical tab before the coding": [b"Transfer-Encoding:\x0bchunked"],
    "a form feed after the coding": [b"Transfer-Encoding: chunked\x0c"],
    "a no-break space before the coding": [b"Transfer-Encoding:\xa0chunked"],
    "a coding with a Kelvin sign": ["Transfer-Encoding: chun\u212aed".encode()],
    "a coding with a full-width letter": ["Transfer-Encoding: ｃhunked".encode()],
    "a folded line": [b"X: a", b" b"],
    "a line folded by a tab": [b"X: a", b"\tContent-Length: 5"],
    "a first line that begins with a blank": [b" X: a"],
    "a bare LF": [b"X: a\nContent-Length: 5"],
    "a bare CR": [b"X: a\rContent-Length: 5"],
    "a CR before the end of a line": [b"X: a\r"],
    "NUL": [b"X: a\0b"],
    "another control character": [b"X: a\x01b"],
    "DEL": [b"X: a\x7fb"],
    "an empty name": [b": x"],
    "no colon": [b"Content-Length 5"],
    "a name with a separator": [b"Content(Length): 5"],
    "a name beyond ASCII": ["Contént-Length: 5".encode()],
    "an empty length": [b"Content-Length:"],
    "a signed length": [b"Content-Length: +5"],
    "a negative length": [b"Content-Length: -5"],
    "a length with an underscore": [b"Content-Length: 5_0"],
    "a hexadecimal length": [b"Content-Length: 0x5"],
    "a fraction": [b"Content-Length: 5.0"],
    "an Arabic digit": ["Content-Length: ٥".encode()],
    "a list of lengths": [b"Content-Length: 5, 5"],
    "two lengths that agree": [b"Content-Length: 5", b"Content-Length: 5"],
    "two lengths that differ": [b"Content-Length: 5", b"content-length: 6"],
    "a length of many digits": [b"Content-Length: 0000000000000000000005"],
    "a length and chunks": [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
    "chunks and a length": [b"Transfer-Encoding: chunked", b"Content-Length: 0"],
    "two codings": [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
    "a coding twice in a line": [b"Transfer-Encoding: chunked, chunked"],
    "a coding before chunks": [b"Transfer-Encoding: gzip, chunked"],
    "a coding after chunks": [b"Transfer-Encoding: chunked, identity"],
    "another coding": [b"Transfer-Encoding: gzip"],
    "identity": [b"Transfer-Encoding: identity"],
    "an empty coding": [b"Transfer-Encoding:"],
    "an empty item beside chunks": [b"Transfer-Encoding: chunked,"],
    "a coding in quotes": [b'Transfer-Encoding: "chunked"'],
    "a coding with a parameter": [b"Transfer-Encoding: chunked;x=1"],
    "a longer coding": [b"Transfer-Encoding: xchunked"],
    "a second Host": [b"Host: hub"],
}


@pytest.mark.parametrize("name", MALFORMED_FIELDS)
def test_fields_that_are_ambiguous_are_refused(name: str) -> None:
    with pytest.raises(MalformedRequest):
        head(*MALFORMED_FIELDS[name])


HOST = b"\r\nHost: hub\r\n\r\n"
MALFORMED_HEADS = {
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "no Host beside an absolute target": b"GET http://hub/ HTTP/1.1\r\n\r\n",
    "two blanks": b"GET  / HTTP/1.1" + HOST,
    "a tab": b"GET\t/ HTTP/1.1" + HOST,
    "a blank at the end": b"GET / HTTP/1.1 " + HOST,
    "a blank at the beginning": b" GET / HTTP/1.1" + HOST,
    "a blank in the target": b"GET /a b HTTP/1.1" + HOST,
    "no target": b"GET HTTP/1.1" + HOST,
    "no version": b"GET /" + HOST,
    "HTTP/0.9": b"GET / HTTP/0.9" + HOST,
    "HTTP/2.0": b"GET / HTTP/2.0" + HOST,
    "HTTP/1.2": b"GET / HTTP/1.2" + HOST,
    "HTTP/1": b"GET / HTTP/1" + HOST,
    "HTTP/1.10": b"GET / HTTP/1.10" + HOST,
    "HTTP/01.1": b"GET / HTTP/01.1" + HOST,
    "a version in lower case": b"GET / http/1.1" + HOST,
    "another protocol": b"GET / ICY/1.1" + HOST,
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\n",
    "no method": b" / HTTP/1.1" + HOST,
    "a method with a separator": b"GET: / HTTP/1.1" + HOST,
    "a method beyond ASCII": "GÉT / HTTP/1.1".encode() + HOST,
    "a target without a slash": b"GET x HTTP/1.1" + HOST,
    "a target beyond ASCII": b"GET /\xff HTTP/1.1" + HOST,
    "a fragment": b"GET /#x HTTP/1.1" + HOST,
    "NUL in the target": b"GET /\0 HTTP/1.1" + HOST,
    "another scheme": b"GET ftp://hub/ HTTP/1.1" + HOST,
    "a target with a user": b"GET http://user@hub/ HTTP/1.1" + HOST,
    "a target without a host": b"GET http:///x HTTP/1.1" + HOST,
    "CONNECT": b"CONNECT hub:80 HTTP/1.1" + HOST,
    "an asterisk for another method": b"GET * HTTP/1.1" + HOST,
    "chunks in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "two Hosts in HTTP/1.0": b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n",
    "lines that end in LF": b"GET / HTTP/1.1\nHost: hub\n\n",
    "a bare LF after the request line": b"GET / HTTP/1.1\nX: y" + HOST,
    "an empty line too few": b"GET / HTTP/1.1\r\nHost: hub\r\n",
}


@pytest.mark.parametrize("name", MALFORMED_HEADS)
def test_heads_that_are_ambiguous_are_refused(name: str) -> None:
    with pytest.raises(MalformedRequest):
        parse_head(MALFORMED_HEADS[name])


@pytest.mark.parametrize(
    "value",
    [
        *(
            b"hub a",
            b"hub,hub",
            b"user@hub",
            b"hub/path",
            b"http://hub",
            b"hub:port",
            b"hub:1:2",
            b"hub:123456",
        ),
        *(
            b"[::1",
            b"[",
            b"::1",
            b"[::1]x",
            b"[g::]",
            b"hub%",
            b"hub%2",
            b"h\xfcb",
            b'"hub"',
            b"<hub>",
            b"hub\\",
        ),
    ],
)
def test_a_host_that_is_none_is_refused(value: bytes) -> None:
    with pytest.raises(MalformedRequest):
        parse_head(b"GET / HTTP/1.1\r\nHost: " + value + b"\r\n\r\n")


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"hub",
        b"hub.example.com:8000",
        b"hub:",
        b"127.0.0.1",
        b"[::1]:80",
        b"a_b",
        b"m%C3%BC",
        b"xn--m-eha",
    ],
)
def test_a_host_is_accepted(value: bytes) -> None:
    assert parse_head(b"GET / HTTP/1.1\r\nHost:\t " + value + b" \r\n\r\n").fields == [
        ("host", value.decode())
    ]


def test_fields_are_read_as_they_are() -> None:
    read = head(b"X-Empty:", b"cf-city: Montr\xe9al", "Cookie: ten=Nguyễn".encode(), b"A: \x85b\xa0\t")
    assert read.fields[1:] == [
        ("x-empty", ""),
        ("cf-city", "Montr\udce9al"),
        ("cookie", "ten=Nguyễn"),
        ("a", "\udc85b\udca0"),
    ]
    assert (read.method, read.target, read.version, read.length, read.has_body) == (
        "POST",
        "/x",
        "1.1",
        0,
        False,
    )


def test_bodies_are_framed_one_way() -> None:
    for length in (b"0", b"5", b"0005"):
        read = head(b"Content-Length: " + length)
        assert (read.length, read.has_body) == (int(length), True)
    for coding in (b"chunked", b"Chunked", b" chunked\t"):
        assert head(b"transfer-ENCODING:" + coding).length is None


@pytest.mark.parametrize(
    ("begin", "fields", "kept"),
    [
        (POST, [], True),
        (POST, [b"Connection: keep-alive, Upgrade"], True),
        (POST, [b"Connection: Close"], False),
        (POST, [b"Connection: Upgrade , close"], False),
        (POST, [b"Connection: x", b"Connection: close"], False),
        (b"GET / HTTP/1.0\r\n", [], False),
        (b"GET / HTTP/1.0\r\n", [b"Connection: Keep-Alive"], True),
        (b"GET / HTTP/1.0\r\n", ["Connection: \u212aeep-alive".encode()], False),
    ],
)
def test_a_connection_is_kept(begin: bytes, fields: list[bytes], *, kept: bool) -> None:
    assert head(*fields, begin=begin).keep_alive is kept


@pytest.mark.parametrize(
    ("target", "origin_form", "host"),
    [
        (b'/a//b?c=[d]|{e}"^`', '/a//b?c=[d]|{e}"^`', "hub"),
        (b"//evil.example/x", "//evil.example/x", "hub"),
        (b"http://other.example:81/a?b", "/a?b", "other.example:81"),
        (b"HTTPS://[::1]?b", "/?b", "[::1]"),
        (b"http://other", "/", "other"),
    ],
)
def test_targets_are_in_origin_form(target: bytes, origin_form: str, host: str) -> None:
    read = parse_head(b"GET " + target + b" HTTP/1.1\r\nHost: hub\r\n\r\n")
    assert (read.target, read.fields) == (origin_form, [("host", host)])


@pytest.mark.parametrize("upgrade", [b"websocket", b"h2c , WebSocket", b"h2c\r\nUpgrade: websocket"])
def test_an_upgrade_is_known_by_any_of_its_protocols(upgrade: bytes) -> None:
    assert head(b"Upgrade: " + upgrade).websocket
    assert not head(b"X-Upgrade: " + upgrade.replace(b"\r\n", b"\r\nX-")).websocket


def test_an_upgrade_is_compared_as_ascii() -> None:
    assert not head("Upgrade: websoc\u212aet".encode()).websocket


def test_a_head_is_found_wherever_it_is_cut_and_behind_empty_lines() -> None:
    whole = b"\r\n\r\nGET / HTTP/1.1\r\nHost: hub\r\n\r\n"
    buffer, searched = bytearray(), 0
    for byte in whole[:-1]:
        buffer.append(byte)
        assert head_end(buffer, searched) == -1
        check_incomplete(buffer, searched)
        searched = len(buffer)
    buffer += whole[-1:] + b"rest"
    assert parse_head(bytes(buffer[: head_end(buffer, searched)])).size == len(whole) - 4


@pytest.mark.parametrize(
    "begin", [b"GET / HTTP/1.1\n", b"GET /\0", b"GET / HTTP/1.1\r\nA: b\rc", b"\x16\x03\x01"]
)
def test_what_no_head_contains_is_refused_before_its_end(begin: bytes) -> None:
    with pytest.raises(MalformedRequest):
        check_incomplete(bytearray(begin))


def body(data: bytes, each: int = 1_000_000) -> tuple[bytes, bytes] | None:
    """The body and what follows it, with the data received in pieces; None while it is incomplete."""
    chunks, buffer, read = ChunkedBody(), bytearray(), b""
    for begin in range(0, len(data), each):
        buffer += data[begin : begin + each]
        while chunks.size_of_next(buffer) and buffer:
            read += chunks.take(buffer)
        if chunks.done:
            return read, bytes(buffer) + data[begin + each :]
    return None


WHOLE = {
    b"0\r\n\r\nGET": (b"", b"GET"),
    b"5\r\nhello\r\n0\r\n\r\n": (b"hello", b""),
    b'3\r\nhel\r\n02;a;b=c;d="e\\"\xff";f=g\r\nlo\r\n000\r\n\r\n': (b"hello", b""),
    b"A\r\n\r\n0\r\n\r\nGET\r\n0\r\n\r\n": (b"\r\n0\r\n\r\nGET", b""),
    b"1\r\nx\r\n0;a\r\nDigest: x\r\nX-Empty:\r\n\r\nnext": (b"x", b"next"),
}


@pytest.mark.parametrize("each", [1, 2, 3, 1000])
@pytest.mark.parametrize("data", WHOLE)
def test_chunks_are_read_however_they_are_cut(data: bytes, each: int) -> None:
    assert body(data, each) == WHOLE[data]


@pytest.mark.parametrize("each", [1, 1000])
@pytest.mark.parametrize(
    "data",
    [
        *(
            b"0x5\r\nhello\r\n",
            b"+5\r\nhello\r\n",
            b"-1\r\n",
            b"1_0\r\n",
            b" 5\r\nhello\r\n",
            b"5 \r\nhello\r\n",
        ),
        *(
            b"\r\n",
            b";a\r\n",
            b"g\r\n",
            b"5.\r\n",
            b"5h\r\n",
            b"\xef\xbc\x95\r\n",
            b"00000000000000005\r\nhello\r\n",
        ),
        *(
            b"FFFFFFFFFFFFFFFFF\r\n",
            b"5\nhello\r\n",
            b"5\rhello\r\n",
            b"5;a\nb\r\nhello\r\n",
            b"5;a\rb\r\nhello\r\n",
        ),
        *(
            b"5;\r\nhello\r\n",
            b"5;a=\r\nhello\r\n",
            b"5 ;a\r\nhello\r\n",
            b"5;a =b\r\nhello\r\n",
            b'5;a="b\r\nhello\r\n',
            b"5;a=b c\r\nhello\r\n",
            b"5;a\0\r\nhello\r\n",
        ),
        *(
            b"5\r\nhelloXX0\r\n\r\n",
            b"5\r\nhello0\r\n\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"5\r\nhello\r0\r\n\r\n",
        ),
        *(
            b"5\r\nhello\r\n\r\n0\r\n\r\n",
            b"0\r\nGET / HTTP/1.1\r\n\r\n",
            b"0\r\nX : y\r\n\r\n",
            b"0\r\n X: y\r\n\r\n",
        ),
        *(
            b"0\r\nX: y\n\r\n",
            b"0\r\nX: a\0\r\n\r\n",
            b"0\r\n: x\r\n\r\n",
            b"0\r\n\n",
            b"0\r\n\rX: y\r\n\r\n",
        ),
        *(
            b"0\r\nContent-Length: 5\r\n\r\n",
            b"0\r\ntransfer-encoding: chunked\r\n\r\n",
            b"0\r\nHost: x\r\n\r\n",
        ),
        *(b"5;" + b"a" * MAX_CHUNK_LINE_BYTES, b"0\r\n" + b"X: y\r\n" * MAX_TRAILER_BYTES),
    ],
)
def test_chunks_that_are_ambiguous_are_refused(data: bytes, each: int) -> None:
    with pytest.raises(MalformedRequest):
        body(data, each)


@pytest.mark.parametrize(
    "data", [b"", b"5", b"5\r", b"5\r\nhell", b"5\r\nhello\r", b"0\r\n", b"0\r\nX: y\r\n\r"]
)
def test_chunks_may_be_incomplete(data: bytes) -> None:
    assert body(data, 1) is None
    assert body(data) is None
