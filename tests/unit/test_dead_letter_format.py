"""The format of dead letters: the same for all brokers; a replayed message keeps its deduplication key."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest

from app.domain.errors import InvalidEvent
from app.sources.dead_letters import NOT_REPLAYED, ReplayHeaders, originals, read_replay_headers, reasons
from app.sources.kafka.dead_letter import dead_letter_records

ERROR = InvalidEvent("bad_field", "it is bad")
POSITION = "kafka:events:0:17:1795271827357"


class Record(NamedTuple):
    value: bytes | None = b"{}"
    key: bytes | None = b"k"
    headers: tuple[tuple[str, bytes], ...] = ()
    topic: str = "events"
    partition: int = 0
    offset: int = 17
    timestamp: int = 1_795_271_827_357


def test_every_dead_letter_says_why_from_where_how_often_and_when() -> None:
    headers = reasons("kafka", POSITION, ERROR, attempts=0, redacted=False)
    now = datetime.now(UTC)
    assert abs((now - datetime.fromisoformat(headers.pop("dlq.time"))).total_seconds()) < 60
    assert headers == {
        "dlq.reason": "bad_field",
        "dlq.error": "it is bad",
        "dlq.source": "kafka",
        "dlq.attempts": "1",
        "dlq.position": POSITION,
    }


def test_a_redacted_dead_letter_says_so_and_holds_no_position_that_may_be_a_hash_of_the_code() -> None:
    headers = reasons("rabbitmq", "rabbitmq:q:hash", ERROR, attempts=0, redacted=True)
    assert headers["dlq.redacted"] == "true"
    assert "hash" not in str(headers)


@pytest.mark.parametrize(
    ("headers", "known"),
    [
        ({}, NOT_REPLAYED),
        ({"hub.position": POSITION, "hub.attempts": "2"}, ReplayHeaders(POSITION, 2)),
        ({"hub.position": POSITION.encode(), "hub.attempts": b"2"}, ReplayHeaders(POSITION, 2)),
        ({"hub.position": "rabbitmq:q:1"}, NOT_REPLAYED),
        ({"hub.position": "kafka:" + "x" * 1000}, NOT_REPLAYED),
        ({"hub.position": 7, "hub.attempts": None}, NOT_REPLAYED),
        ({"hub.attempts": "-1"}, NOT_REPLAYED),
        ({"hub.attempts": "9" * 5000}, NOT_REPLAYED),
    ],
    ids=str,
)
def test_a_first_seen_time_in_a_message_is_used_if_it_is_plausible(
    headers: dict[str, Any], known: ReplayHeaders
) -> None:
    assert read_replay_headers(headers, "kafka") == known


def test_the_publisher_s_headers_are_all_but_ours() -> None:
    theirs = [("trace", b"a"), ("trace", b"b"), ("hub.other", b"c")]
    ours = [("dlq.reason", b"x"), ("hub.position", b"y"), ("hub.attempts", b"1")]
    assert originals([*ours, *theirs]) == theirs


def test_a_dead_letter_of_a_record_is_the_record_and_its_position() -> None:
    whole, _ = dead_letter_records(Record(headers=(("trace", b"a"),)), POSITION, b"{}", ERROR)
    assert (whole["value"], whole["key"]) == (b"{}", b"k")
    headers = dict(whole["headers"])
    assert headers["trace"] == b"a"
    assert headers["dlq.position"] == POSITION.encode()
    assert (headers["dlq.topic"], headers["dlq.partition"], headers["dlq.offset"]) == (b"events", b"0", b"17")


def test_the_dead_letter_of_a_replayed_record_counts_attempts_on() -> None:
    again = (("trace", b"a"), ("hub.position", POSITION.encode()), ("hub.attempts", b"1"))
    whole, _ = dead_letter_records(Record(headers=again), POSITION, b"{}", ERROR)
    headers = dict(whole["headers"])
    assert headers["dlq.attempts"] == b"2"
    assert "hub.position" not in headers


def test_a_truncated_dead_letter_has_the_beginning_and_our_headers_only() -> None:
    record = Record(b"x" * 200_000, headers=(("trace", b"a" * 100_000),))
    _, cut = dead_letter_records(record, POSITION, record.value, ERROR)
    assert len(cut["value"]) == 64 * 1024
    assert "key" not in cut
    assert dict(cut["headers"])["dlq.cut_from"] == b"value 200000, key 1 bytes"
    assert "trace" not in dict(cut["headers"])
