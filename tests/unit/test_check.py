"""`run.py check` decides as the hub does, and names what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.cli import check_events
from app.dev import samples
from app.domain.notifications import Group
from app.sources.broker import EventInput
from app.sources.check import HTTP, EventChecker
from app.sources.problems import EventProblem
from app.sources.redis.messages import LOW_STOCK
from app.testing import MemoryHub
from app.testing.groups import MemoryGroups
from fuzz.hostile import as_json, changed, spoiled
from handlers.registry import handlers
from tests.unit.test_cli import status

USER = "456e7890-e89b-12d3-a456-426614174001"
GROUP = "123e4567-e89b-12d3-a456-426614174000"
EVENTS = EventInput("kafka", "topic", "service_notifications", "NOTIFICATION_TOPIC")
CODES = [
    EventInput("kafka", "topic", f"topic of {action}", "", f"otp_{action}")
    for action in ("register", "reset_password", "change_email")
]
PLACES = [
    EVENTS,
    *CODES,
    EventInput("rabbitmq", "queue", "notifications", ""),
    EventInput("redis", "stream", "stock", "", default_type=LOW_STOCK),
    HTTP,
]
CHECKER = EventChecker(handlers(600.0), "en")
SAMPLES = [samples.load(event_type).message for event_type in samples.event_types()]
KEYS = (
    *(
        "event_id",
        "event_type",
        "type",
        "group_id",
        "receivers",
        "receiver_is_head_chef",
        "data",
        "group_name",
    ),
    *("user_id", "user_email", "amount", "refund_amount", "seats", "otp_code", "action", "send_at", "locale"),
)
MEMBER = UUID(int=7)


class EveryGroup(MemoryGroups):
    """A user service in which every group has a member and a head chef."""

    async def group(self, group_id: UUID, *, fresh: bool = False) -> Group:
        return Group("Family", (MEMBER,), (MEMBER,))


def hub() -> MemoryHub:
    return MemoryHub(groups=EveryGroup())


def check(body: Any, place: EventInput = EVENTS) -> list[EventProblem]:
    value = body if isinstance(body, bytes) else json.dumps(body).encode()
    return CHECKER.check(value, place)


def brief(problems: list[EventProblem]) -> list[tuple[str, str, str]]:
    return [(each.code, each.path, each.nearest) for each in problems]


@settings(max_examples=100)
@given(changed(SAMPLES, KEYS), st.sampled_from(PLACES))
@example({"event_type": "plan_expired", "group_id": GROUP, "receivers": [USER], "data": {}}, EVENTS)
async def test_what_it_refuses_is_dead_lettered_and_nothing_else(
    body: dict[str, Any], place: EventInput
) -> None:
    """The hub itself, with its store and its parked events, is what the verdict is compared with."""
    value = as_json(body)
    verdict = CHECKER.refusal(value, place)
    if verdict is not None and verdict.reason in {"bad_event_id", "unknown_field"}:
        return  # the HTTP source refuses it before the hub in memory would
    outcome = await hub().publish(
        value, source=place.source, event_type=place.event_type, default_type=place.default_type
    )
    assert (verdict and (verdict.reason, str(verdict))) == (outcome and (outcome.reason, str(outcome)))


@given(changed(SAMPLES, KEYS), st.sampled_from(PLACES))
def test_it_names_a_problem_exactly_where_the_hub_refuses(body: dict[str, Any], place: EventInput) -> None:
    value = as_json(body)
    refused = CHECKER.refusal(value, place)
    fatal = [each for each in CHECKER.check(value, place) if each.fatal]
    assert bool(fatal) == (refused is not None)
    assert refused is None or fatal[0].code == refused.reason
    assert all(each.path.startswith("$") and "\n" not in str(each) for each in fatal)


@given(spoiled(st.sampled_from(SAMPLES).map(as_json)))
async def test_bytes_that_are_no_event_are_refused_by_both(value: bytes) -> None:
    verdict, outcome = CHECKER.refusal(value, EVENTS), await hub().publish(value)
    assert (verdict and verdict.reason) == (outcome and outcome.reason)


@pytest.mark.parametrize("event_type", samples.event_types())
def test_a_sample_has_no_problem(event_type: str) -> None:
    sample = samples.load(event_type)
    value = json.dumps(sample.message).encode()
    known = {"product_id", "requester_id"}  # what publishers send beside what texts need
    problems = CHECKER.check(value, CHECKER.input_of(value, PLACES))
    assert [str(each) for each in problems if each.path.rpartition(".")[2] not in known] == []


ADDED = {"event_type": "group_user_added", "group_id": GROUP, "receivers": [USER]}
BY_MAI = {"requester_username": "mai"}
MEALS = {"event_type": "daily_meal", "group_id": GROUP}
BOOKED = {"event_type": "booking.confirmed", "user_email": "user@example.com", "booking_id": "BOOK-1"}
REFUNDED = {**BOOKED, "event_type": "booking.refunded"}


@pytest.mark.parametrize(
    ("body", "problems"),
    [
        ({"event_type": "GroupUserAded"}, [("unknown_event_type", "$.event_type", "group_user_added")]),
        ({"event_type": "order.shipped"}, [("unknown_event_type", "$.event_type", "")]),
        ({"eventType": "low_stock"}, [("no_event_type", "$.event_type", "eventType")]),
        (b"{", [("not_json", "$", "")]),
        (b"[]", [("not_an_object", "$", "")]),
        (
            {"event_type": "group_user_added", "receivers": ["you"], "data": {"requester_name": "mai"}},
            [
                ("bad_field", "$.data.requester_username", "requester_name"),
                ("bad_field", "$.receivers[0]", ""),
                ("bad_field", "$.group_id", ""),
                ("unused", "$.data.requester_name", "requester_username"),
            ],
        ),
        (
            {
                "event_type": "daily_meal",
                "group_id": GROUP,
                "data": {"breakfast": [1], "lunch": [], "dinner": 2},
            },
            [("bad_field", "$.data.breakfast[0]", ""), ("bad_field", "$.data.dinner", "")],
        ),
        (
            {**ADDED, "receivers": [], "data": {"requester_username": "mai"}},
            [("no_receivers", "$.receivers", "")],
        ),
        (
            {"type": "email", "html": "<p>Hello</p>", "to": "you"},
            [("bad_field", "$.to", "")],
        ),
        (
            {**BOOKED, "seats": ["A1", {}], "total_amount": "25,50", "movieTitle": "Dune"},
            [
                ("unused", "$.seats[1]", ""),
                ("unused", "$.total_amount", ""),
                ("unused", "$.movieTitle", "movie_title"),
            ],
        ),
        (
            {
                **BOOKED,
                "event_type": "booking.refunded",
                "amount": 25,
                "refund_amount": "12.5",
                "event_id": {},
            },
            [("unused", "$.event_id", ""), ("unused", "$.amount", "")],
        ),
        ({**BOOKED, "event_type": "payment.failed", "retry_url": "here"}, [("unused", "$.retry_url", "")]),
        ({**BOOKED, "seats": None, "movie_title": "", "correlation_id": "1"}, []),
    ],
)
def test_each_problem_is_named_with_its_place_and_what_may_be_meant(
    body: Any, problems: list[tuple[str, str, str]]
) -> None:
    assert brief(check(body)) == problems


def test_a_line_says_what_is_wrong_and_what_is_accepted() -> None:
    (problem,) = check({**ADDED, "data": {"requester_username": 7}})
    assert str(problem) == (
        "error[bad_field] $.data.requester_username: Expected `str`, got `int`; "
        "accepted: text, at most 500 characters (who did it)"
    )


def test_the_input_decides_what_is_accepted() -> None:
    code = {"email": "user@example.com", "otp_code": "482913", "action": "register"}
    assert check(code, CODES[0]) == []
    assert brief(check(code, CODES[1])) == [("wrong_action", "$.action", "")]
    assert brief(check({**code, "event_type": "otp_register"}, HTTP)) == [("wrong_way", "$.event_type", "")]
    message = {"type": "inapp", "user_id": USER, "message": "Hello", "event_id": "bulk"}
    assert brief(check(message, HTTP)) == [("bad_event_id", "$.event_id", "")]
    assert check(message) == []
    misspelled = {"type": "inapp", "user_id": USER, "message": "Hello", "titel": "Hi"}
    assert brief(check(misspelled, HTTP)) == [("unknown_field", "$.titel", "")]


def test_the_command_prints_a_line_for_each_problem_of_each_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right, wrong, lines = tmp_path / "right.json", tmp_path / "wrong.json", tmp_path / "events.jsonl"
    right.write_text(json.dumps({**BOOKED, "movieTitle": "Dune"}, indent=2))
    wrong.write_text(json.dumps({**BOOKED, "booking_id": None}))
    lines.write_text(f"{json.dumps(BOOKED)}\n\n{{}}\n")
    assert status(monkeypatch, "check", str(right)) == 0
    assert capsys.readouterr().out.startswith(f"{right}: warning $.movieTitle: ")
    assert status(monkeypatch, "check", str(right), str(wrong), str(lines)) == 1
    printed = capsys.readouterr().out.splitlines()
    assert [each.partition(" $")[0] for each in printed] == [
        f"{right}: warning",
        f"{wrong}: error[bad_field]",
        f"{lines}:3: error[no_event_type]",
    ]
    assert status(monkeypatch, "check", "--from", "http", str(right)) == 0


@pytest.mark.parametrize("arguments", [("nowhere.json",), ("--from", "nowhere", "-"), ()])
def test_what_cannot_be_checked_is_an_error(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert status(monkeypatch, "check", *arguments) in {1, 2}


def test_an_event_that_would_be_dead_lettered_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps({"event_type": "low_stock", "productName": "Beans"}))
    assert status(monkeypatch, "check", str(wrong)) == 1
    checked = capsys.readouterr().out
    monkeypatch.setenv("HUB_HOME", str(tmp_path))  # no hub runs there, which is not found out
    assert status(monkeypatch, "publish", str(wrong)) == 1
    assert capsys.readouterr().err == f"{checked}Not published.\n"


def test_one_event_a_line_is_told_from_one_event() -> None:
    assert check_events.is_lines("-", b'{"a": 1}\n{"b": 2}\n')
    assert not check_events.is_lines("-", b'{"a": 1}\n')
    assert not check_events.is_lines("-", b'{\n"a": 1}\n')
    assert check_events.is_lines("events.ndjson", b"{}")
