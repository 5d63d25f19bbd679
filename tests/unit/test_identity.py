"""What tells a repeat of an event from another one with its id."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.domain.errors import InvalidEvent
from app.domain.events import decode
from app.domain.identity import EventIdentity, Relation, fingerprint, scoped_id, separate_id
from app.sources.dead_letters import read_replay_headers, reasons, replay_headers
from app.sources.redis.messages import value_of

BASE = '{"event_id": "a", "event_type": "x", "n": 25.5, "d": {"k": [1, null, true], "t": "Phở"}}'


def of(text: str | bytes) -> int | None:
    event = decode(text if isinstance(text, bytes) else text.encode(), "key")
    return fingerprint(event.event_type, event.body)


@pytest.mark.parametrize(
    "same",
    [
        '{"d":{"t":"Ph\\u1edf","k":[1,null,true]},"n":25.5,"event_type":"x","event_id":"a"}',
        '{"event_id": "a", "event_type": "x", "n": 25.50, "d": {"k": [1.0, null, true], "t": "Phở"}}',
        '{"event_id": "a", "event_type": "x", "n": "25.5", "d": {"k": [1e0, null, true], "t": "Phở"}}',
        '{"event_type": "x", "n": 2550e-2, "d": {"k": ["1", null, true], "t": "Phở", "gone": null}}',
        '\ufeff{"event_id": 7, "event_type": "x", "n": 25.5, "d": {"k": [1, null, true], "t": "Phở"}}',
        BASE[:-1] + ', "traceparent": "00-1-2-01", "sent_at": "now", "_offset": 12}',
    ],
)
def test_spellings_of_one_event_have_one_fingerprint(same: str) -> None:
    assert of(same) == of(BASE) is not None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"x"', '"y"'),
        ("25.5", "25.51"),
        ("25.5", "25.500000000000000000000000000001"),
        ("[1, null, true]", "[1, true, null]"),
        ("[1, null, true]", "[1, true]"),
        ('"Phở"', '"phở"'),
        ('"Phở"', '"Pho\u031b\u0309"'),  # the same letters of other characters: the hub rewrites no text
        ('"t"', '"T"'),
        ('"n": 25.5', '"n": 25.5, "more": 0'),
        ("true", "false"),
    ],
)
def test_other_content_has_another_fingerprint(old: str, new: str) -> None:
    assert of(BASE.replace(old, new)) != of(BASE)


@pytest.mark.parametrize(
    "spellings",
    [
        ("1000", "1e3", "1000.0", '"1000"', '"1E+3"'),
        ("0", "-0", "-0.0", '"0.00"', "0e5"),
        (str(10**18), "1e18", "1000000000000000000.0"),
        (str(-(10**18) + 1), f"{-(10**18) + 1}.0"),
        (str(10**50), "1e50"),
        ("-2.5e-7", "-0.00000025"),
    ],
)
def test_a_number_is_its_value_however_it_is_written(spellings: tuple[str, ...]) -> None:
    assert len({of(BASE.replace("25.5", each)) for each in spellings}) == 1
    assert of(BASE.replace("25.5", spellings[0])) != of(BASE.replace("25.5", "7"))


def test_fields_of_a_stream_entry_are_the_same_event() -> None:
    fields = {
        b"event_id": b"a",
        b"event_type": b"x",
        b"n": b"25.50",
        b"d": b'{"k":[1,null,true],"t":"Ph\xe1\xbb\x9f"}',
    }
    assert of(value_of(fields)) == of(BASE)


def test_a_one_time_code_is_no_part_of_a_fingerprint() -> None:
    request = {"event_id": "a", "event_type": "x", "email": "a@example.com", "otp_code": "123456"}
    assert of(json.dumps(request)) == of(json.dumps(request | {"otp_code": "654321"}))
    assert of(json.dumps(request)) != of(json.dumps(request | {"email": "b@example.com"}))


@pytest.mark.parametrize(
    "body",
    [{"n": 10**5000}, {"d": "9" * 5000}, {"n": 1e308, "m": -0.0}],
    ids=["a huge number", "a huge text", "at the bounds"],
)
def test_no_content_is_an_error(body: dict[str, Any]) -> None:
    fingerprint("x", body)


def test_a_fingerprint_does_not_change_between_releases() -> None:
    assert of(BASE) == 8746081818591148647


def test_none_matches_anything_and_other_senders_are_foreign() -> None:
    a, b = EventIdentity(1, "a"), EventIdentity(2, "b")
    cases = [
        (a, a, Relation.SAME),
        (a, EventIdentity(2, "a"), Relation.OTHER),
        (a, EventIdentity(1), Relation.SAME),
        (a, EventIdentity(2), Relation.OTHER),
        (a, EventIdentity(None, "a"), Relation.SAME),
        (a, EventIdentity(), Relation.SAME),
        (a, b, Relation.FOREIGN),
        (a, EventIdentity(1, "b"), Relation.FOREIGN),
        (EventIdentity(1), EventIdentity(1, position=5), Relation.SAME),
    ]
    for mine, recorded, relation in cases:
        assert mine.relation_to(recorded) is recorded.relation_to(mine) is relation


def test_ids_of_their_own_are_distinct_and_short() -> None:
    assert scoped_id("a", "kitchen") != scoped_id("a", "shop")
    assert len(scoped_id("a" * 200, "s" * 5000)) < 300
    assert scoped_id("a", "s" * 200) != scoped_id("a", "s" * 201)
    assert separate_id("a", -1) == "a#ffffffffffffffff"


@pytest.mark.parametrize(("reason", "separate"), [("event_id_conflict", True), ("unknown_group", False)])
def test_only_a_conflict_is_replayed_as_an_event_of_its_own(reason: str, separate: bool) -> None:
    letter = reasons("kafka", "kafka:t:0:1:1", InvalidEvent(reason, "why"), 0, redacted=False)
    replayed = read_replay_headers(replay_headers(letter), "kafka")
    assert (replayed.dedup_key, replayed.attempts, replayed.separate) == ("kafka:t:0:1:1", 1, separate)
