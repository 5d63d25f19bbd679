"""Dead letters, and what else sources make of messages: nothing is lost in between, and no code kept."""

from __future__ import annotations

import json
from contextlib import suppress
from copy import copy
from types import SimpleNamespace
from typing import Any, cast

from aiormq import spec
from hypothesis import strategies as st
from pamqp.header import ContentHeader

from app.domain.errors import InvalidEvent
from app.sources.dead_letters import (
    ATTEMPTS,
    POSITION,
    REDACTED,
    originals,
    own_headers,
    read_replay_headers,
    replay_headers,
)
from app.sources.kafka.dead_letter import dead_letter_records, encoded
from app.sources.kafka.dlq import _dead_letter as kafka_dead_letter
from app.sources.rabbitmq import lenient_headers as amqp  # noqa: F401 - it makes all messages readable
from app.sources.rabbitmq import message as rabbit
from app.sources.rabbitmq.acks import Ack, AckTracker
from app.sources.redaction import redact_message, without_code
from app.sources.redis import messages as redis
from app.sources.redis.dlq import RedisDlqReader
from fuzz.hostile import TEXTS, VALUES, as_json, changed, json_words, spoiled
from fuzz.target import CANARY, Target
from fuzz.targets.events import SAMPLES

ROOM = 128 * 1024 - 8  # bytes of AMQP properties
_ERROR = InvalidEvent("bad_field", "why")
_READER = RedisDlqReader(cast(Any, None), "stream")  # only its reading is used
_CUT = b"\xfe\xff"


def check_redaction(data: bytes) -> None:
    """What anybody could read a code in holds it no more; what asks for none is as it was."""
    kept = redact_message(data)
    assert len(without_code(data)) <= 30 * len(data) + 100
    assert CANARY.encode() not in without_code(data) or _named_elsewhere(data)
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return
    if "otp_code" in _keys(body):
        assert kept != data, "a code was left in it"
        assert CANARY.encode() not in kept or _named_elsewhere(data), "the code is still there"


def _named_elsewhere(data: bytes) -> bool:
    """Whether the code stands in a field that is kept, such as an event_id of its publisher's."""
    with suppress(ValueError, RecursionError):
        body = json.loads(data)
        return isinstance(body, dict) and any(
            CANARY in str(body.get(name)) for name in ("email", "event_id", "action", "event_type")
        )
    return False


def _keys(value: Any) -> set[str]:
    rest = [value]
    keys: set[str] = set()
    while rest:
        found = rest.pop()
        if isinstance(found, dict):
            keys |= found.keys()
            rest += found.values()
        elif isinstance(found, list):
            rest += found
    return keys


def check_acks(data: bytes) -> None:
    """Each byte is a delivery that comes, one that is settled, or a moment to acknowledge."""
    tracker, delivered = AckTracker(), 0
    settled: set[int] = set()
    acknowledged: set[int] = set()
    for byte in data:
        unsettled = [tag for tag in range(max(1, delivered - 60), delivered + 1) if tag not in settled]
        if byte < 100:
            delivered += 1
            tracker.delivered(delivered)
        elif byte < 220 and unsettled:
            tag = unsettled[byte % len(unsettled)]
            tracker.settled(tag)
            settled.add(tag)
        else:
            acknowledged |= _acknowledged(tracker.pop(), acknowledged)
            assert acknowledged == settled, "acknowledged is what is settled, and nothing else"
    assert len(tracker) == delivered - len(settled)


def _acknowledged(acks: list[Ack], before: set[int]) -> set[int]:
    found: set[int] = set()
    for ack in acks:
        now = set(range(1, ack.tag + 1)) - before - found if ack.multiple else {ack.tag}
        assert now, "acknowledged twice: the broker would end the channel"
        found |= now
    return found


def check_amqp(data: bytes) -> None:
    """Byte 0: the length of the body, which comes behind the properties' bytes."""
    header = ContentHeader()
    cut = len(data) - (data[0] if data else 0)
    header.unmarshal(data[1:cut])
    body = data[cut:]
    properties = header.properties
    assert properties is not None
    where = rabbit.dedup_key_of("queue", body, properties)
    shown, kept = rabbit.dead_letter("queue", body, properties, _ERROR, ROOM)
    kept = _over_the_wire(kept)
    why = own_headers((kept.headers or {}).items())
    if REDACTED in why:
        assert POSITION not in why
        return
    assert shown == body
    back = copy(kept)
    back.headers = {**dict(originals((kept.headers or {}).items())), **replay_headers(why)}
    back = _over_the_wire(back)
    assert rabbit.dedup_key_of("queue", shown, back) == where, "replayed it has another deduplication key"
    assert read_replay_headers(back.headers or {}, "rabbitmq").attempts == _next(
        properties.headers or {}, "rabbitmq"
    )


def _over_the_wire(properties: spec.Basic.Properties) -> spec.Basic.Properties:
    packed = ContentHeader(properties=properties).marshal()
    assert len(packed) <= ROOM
    header = ContentHeader()
    header.unmarshal(packed)
    assert header.properties is not None
    return header.properties


def _next(headers: Any, source: str) -> int:
    attempts = read_replay_headers(headers, source).attempts + 1
    return attempts if attempts < 1_000_000 else 0


def check_redis(data: bytes) -> None:
    """The pieces are alternating names and values."""
    pieces = data.split(_CUT)
    fields = dict(zip(pieces[::2], pieces[1::2], strict=False)) or {b"value": data}
    received = redis.entry("stream", b"1-0", fields)
    assert len(redis.read(received.value).digest) == 64
    where = received.replay.dedup_key or f"redis:{redis.read(received.value).digest}"
    dead_letter = _READER._dead_letter(b"2-0", _as_bytes(redis.dead_letter(received, where, _ERROR)))
    assert dead_letter.body == redact_message(received.value)
    if dead_letter.hindrance is not None:
        assert REDACTED in dead_letter.why
        return
    back = redis.entry(
        "stream", b"3-0", _as_bytes({redis.VALUE: dead_letter.body, **replay_headers(dead_letter.why)})
    )
    assert back.value == received.value, "replayed it says something else"
    assert back.replay.dedup_key == where
    assert back.replay.attempts == int(dead_letter.why[ATTEMPTS]) % 1_000_000


def _as_bytes(fields: Any) -> dict[bytes, bytes]:
    return {
        name.encode(): value if isinstance(value, bytes) else value.encode() for name, value in fields.items()
    }


def check_kafka(data: bytes) -> None:
    """The pieces are the value, the key, then headers' alternating names and values."""
    value, key, *pieces = [*data.split(_CUT), b"", b""][: max(2, data.count(_CUT) + 1)]
    names = [piece.decode(errors="replace") for piece in pieces[::2]]
    headers = list(zip(names, pieces[1::2], strict=False))
    record = SimpleNamespace(
        value=value, key=key, headers=headers, topic="events", partition=0, offset=7, timestamp=1
    )
    shown = redact_message(value)
    where = read_replay_headers(dict(headers), "kafka").dedup_key or "kafka:events:0:7:1"
    whole, cut = dead_letter_records(record, where, shown, _ERROR)
    assert len(cut["value"]) <= 64 * 1024
    written = SimpleNamespace(**{**vars(record), **whole, "topic": "events.dlq"})
    dead_letter = kafka_dead_letter(written, None)
    assert (dead_letter.target, dead_letter.body, dead_letter.key) == ("events", shown, key)
    assert list(dead_letter.headers) == originals(headers)
    if dead_letter.hindrance is not None:
        assert REDACTED in dead_letter.why
        return
    back = read_replay_headers(
        dict([*dead_letter.headers, *encoded(replay_headers(dead_letter.why))]), "kafka"
    )
    assert back[:2] == (where, int(dead_letter.why[ATTEMPTS]) % 1_000_000)


_OTP = {"email": "a@b.example", "otp_code": CANARY, "action": "register", "event_id": "a1"}
_MESSAGES = spoiled(changed([_OTP, *SAMPLES], ("otp_code", "event_id", "data")).map(as_json))
_NAMES = st.sampled_from(("value", "hub.position", "hub.attempts", "dlq.x", "dlq.reason", "event_id", "a"))
_TEXT = TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass"))
_PAIRS = st.tuples(
    _NAMES.map(str.encode) | _TEXT, st.sampled_from((b"redis:a:1", b"kafka:x", b"3")) | _TEXT | _MESSAGES
).map(_CUT.join)
_TABLE: Any = st.dictionaries(
    _NAMES | TEXTS.map(lambda text: text[:60]), st.sampled_from(("rabbitmq:q:1", "7")) | VALUES, max_size=4
)


@st.composite
def _properties(draw: st.DrawFn) -> bytes:
    """Properties as a broker sends them, and a body."""
    properties = spec.Basic.Properties(
        headers=draw(_TABLE), message_id=draw(st.none() | TEXTS.map(lambda text: text[:60])), priority=1
    )
    try:
        packed = ContentHeader(body_size=0, properties=properties).marshal()
    except Exception:  # what a broker couldn't send either
        packed = ContentHeader(body_size=0, properties=spec.Basic.Properties()).marshal()
    body = draw(_MESSAGES)[:255]
    return bytes([len(body)]) + packed + body


_WORDS = [*json_words([_OTP]), b"otp_code", b"\\u006f", b"\\u005f", b'"otp_code":"482913"']
_OURS = [_CUT, b"hub.position", b"hub.attempts", b"dlq.", b"redis:", b"kafka:", b"rabbitmq:", b"value"]
TARGETS = (
    Target(
        "redaction",
        "no dead letter holds the code of a message that any JSON reader finds one in",
        check_redaction,
        _MESSAGES | changed([_OTP]).map(lambda body: json.dumps(body).encode("utf-16-le")),
        _WORDS,
        longest=1 << 20,
        weight=4,
    ),
    Target(
        "acks",
        "what is acknowledged is what is settled: nothing else, nothing twice",
        check_acks,
        st.binary(max_size=300),
        largest=300,
        longest=4096,
        weight=3,
    ),
    Target(
        "rabbitmq",
        "properties of any bytes are read; the dead letter can be written, and replays as the same message",
        check_amqp,
        _properties(),
        _OURS,
        longest=ROOM,
        weight=0.5,
    ),
    Target(
        "redis",
        "any stream entry is a message; its dead letter replayed is the same message with one attempt more",
        check_redis,
        st.lists(_PAIRS, min_size=1, max_size=4).map(_CUT.join),
        [*_OURS, *_WORDS],
        longest=1 << 20,
    ),
    Target(
        "kafka",
        "any record's dead letter replayed is the same record with one attempt more",
        check_kafka,
        st.tuples(_MESSAGES, _TEXT, st.lists(_PAIRS, max_size=3).map(_CUT.join)).map(_CUT.join),
        [*_OURS, *_WORDS],
        longest=1 << 20,
    ),
)
