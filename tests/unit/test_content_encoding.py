"""AMQP bodies are decoded whatever wrote them, within a bound; no dead letter shows a code."""

from __future__ import annotations

import gzip
import random
import time
import tracemalloc
import zlib
from typing import Any

import pytest
from aiormq import spec

from app.domain.errors import InvalidEvent
from app.domain.events import MAX_EVENT_BYTES
from app.sources.rabbitmq.content_encoding import decoded
from app.sources.rabbitmq.message import dead_letter

BODY = b'{"event_type": "x", "text": "' + "Sữa ".encode() * 200 + b'"}'
CODE = b'{"email": "a@b.example", "otp_code": "482913", "action": "register"}'


def raw_deflate(body: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(body) + stream.flush()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        *(
            (plain, BODY)
            for plain in (None, "", " ", "identity", "UTF-8", "utf8", "binary", "identity, utf-8")
        ),
        *(
            (name, gzip.compress(BODY, mtime=0))
            for name in ("gzip", "GZIP", "x-gzip", " Gzip ", "identity, gzip")
        ),
        *((name, zlib.compress(BODY)) for name in ("deflate", "Deflate", "DEFLATE,")),
        ("deflate", raw_deflate(BODY)),
        ("gzip", gzip.compress(BODY[:10], mtime=0) + gzip.compress(BODY[10:], mtime=0)),
        ("gzip", gzip.compress(BODY, mtime=0) + b"\0" * 8),
        ("deflate, gzip", gzip.compress(zlib.compress(BODY), mtime=0)),
    ],
)
def test_a_body_is_decoded(encoding: str | None, body: bytes) -> None:
    assert decoded(body, encoding) == (BODY, None)


@pytest.mark.parametrize(
    ("encoding", "body", "said"),
    [
        *((name, BODY, "use gzip, deflate and identity") for name in ("br", "zstd", "x" * 200, "gzip;q=1")),
        ("gzip", BODY, "not gzip"),
        ("gzip", b"", "truncated"),
        ("gzip", zlib.compress(BODY), "not gzip"),
        ("gzip", gzip.compress(BODY, mtime=0)[:-3], "truncated"),
        ("gzip", gzip.compress(BODY, mtime=0) + b"more", "not gzip"),
        ("gzip", gzip.compress(BODY, mtime=0)[:-8] + b"\1" * 8, "not gzip"),
        ("gzip", gzip.compress(b"", mtime=0) * 200, "extra bytes"),
        ("deflate", BODY, "deflate"),
        ("deflate", raw_deflate(BODY)[:-3], "truncated"),
        ("deflate", zlib.compress(BODY) + b"more", "extra bytes"),
        ("gzip,gzip,gzip,gzip", BODY, "limit is 3"),
    ],
)
def test_what_cannot_be_decoded_is_refused_with_the_reason(encoding: str, body: bytes, said: str) -> None:
    error = decoded(body, encoding).error
    assert error is not None
    assert error.reason == "bad_content_encoding"
    assert said in str(error)
    assert len(str(error)) < 200


ZEROS = b"0" * (20 * MAX_EVENT_BYTES)


@pytest.mark.parametrize(
    ("encoding", "bomb"),
    [
        ("gzip", gzip.compress(ZEROS, 1)),
        ("deflate", zlib.compress(ZEROS, 1)),
        ("deflate", raw_deflate(ZEROS)),
        ("gzip, gzip", gzip.compress(gzip.compress(ZEROS, 1))),
        ("gzip", gzip.compress(b"0" * 600_000) * 50),
        ("gzip", gzip.compress(random.Random(1).randbytes(MAX_EVENT_BYTES + 1))),
    ],
    ids=["gzip", "zlib", "raw", "nested", "members", "incompressible"],
)
def test_a_bomb_costs_neither_memory_nor_time(encoding: str, bomb: bytes) -> None:
    tracemalloc.start()
    begun = time.process_time()
    error = decoded(bomb, encoding).error
    took, (_, peak) = time.process_time() - begun, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert error is not None
    assert error.reason == "too_large"
    assert peak < 6 * MAX_EVENT_BYTES
    assert took < 1


@pytest.mark.parametrize("encode", [gzip.compress, lambda body: gzip.compress(body)[:-8], None])
def test_a_dead_letter_keeps_the_body_as_it_was_unless_a_code_is_in_it(encode: Any) -> None:
    encode, encoding = encode or raw_deflate, "gzip" if encode else "deflate"
    for body, redacted in ((BODY, False), (CODE, True)):
        properties = spec.Basic.Properties(content_encoding=encoding)
        shown, kept = dead_letter("q", encode(body), properties, InvalidEvent("bad_field", "bad"), 131_064)
        assert (shown == encode(body)) is not redacted
        assert kept.content_encoding == (None if redacted else encoding)
        assert b"482913" not in decoded(shown, kept.content_encoding).body
