"""The Python client without a hub: its event classes, its position in an inbox, its retries."""

from __future__ import annotations

import dataclasses
import json
import pickle
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from app.dev import client_events
from app.domain.events import decode
from handlers.registry import HANDLERS
from notification_hub_client import calls, errors, events
from notification_hub_client.event import Action, Actor, Event, PublicEvent
from notification_hub_client.kafka import KafkaPublisher
from notification_hub_client.session import (
    Connected,
    Feed,
    InboxErased,
    NotificationReceived,
    ReadHistory,
    Reconnect,
)
from tests.support.hub import ROOT

USER = "456e7890-e89b-12d3-a456-426614174001"
SAMPLES: dict[str, Any] = {
    "UUID | str": UUID(USER),
    "UUID | str | int": USER,
    "Sequence[UUID | str]": [USER],
    "Sequence[str]": ["a", "b"],
    "Sequence[Attachment]": [],
    "Mapping[str, Any]": {"a": 1},
    "str": "text",
    "int": 7,
    "float": 2.5,
    "bool": True,
    "datetime": datetime(2099, 1, 1, tzinfo=UTC),
    "datetime | str | float": datetime(2026, 1, 1, tzinfo=UTC),
}
BY_NAME = {
    "email": "user@example.com",
    "user_email": "user@example.com",
    "otp_code": "482913",
    "expiration_date": "24/11/2026",
    "retry_url": "https://example.com/retry",
    "type": "email",
    "to": "user@example.com",
    "reply_to": "help@example.com",
    "category": "messages",
    "locale": "en",
    "severity": "warning",
    "actions": [Action(id="pay", label="Pay", url="/pay/7")],
    "actor": Actor(name="Lê Thị B", avatar="/b.png"),
    "template_code": None,
    "original_event_id": None,
}
CLASSES = [getattr(events, name) for name in events.__all__]


def sample(kind: type[Event]) -> Event:
    """An event with all its fields."""
    fields = {each.name: str(each.type).removesuffix(" | None") for each in dataclasses.fields(kind)}
    fields.pop("event_id")
    values = {name: BY_NAME[name] if name in BY_NAME else SAMPLES[type] for name, type in fields.items()}
    return kind(event_id="one", **values)


def test_the_event_classes_are_those_of_the_handlers() -> None:
    assert client_events.PATH.read_text("utf-8") == client_events.text(), "run `make generated`"


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_the_handler_of_an_event_accepts_the_class_of_the_client(kind: type[Event]) -> None:
    given = sample(kind)
    known_type = None if given.event_type else f"otp_{given.constants['action']}"
    event = decode(json.dumps(given.to_dict()).encode(), "key", known_type)
    handler = HANDLERS[event.event_type]
    assert event.event_id == "one"
    handler.parse(event.body)
    assert issubclass(kind, PublicEvent) == (handler.only_from is None)


def test_a_timestamp_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        events.Message(type="inapp", user_id=USER, message="Hi", send_at=datetime(2099, 1, 1)).to_dict()


def frame(seq: int) -> str:
    data = {
        "id": seq,
        "seq": seq,
        "receiver": USER,
        "created_at": "2026-11-21T08:48:27.905890Z",
        "template_code": "MESSAGE",
        "title": "Title",
        "content": "Text",
        "is_read": False,
        "raw_data": {},
        "group_id": None,
        "group_name": None,
    }
    return json.dumps({"event_type": "message", "data": data})


def connected(last_seq: int) -> str:
    return json.dumps({"type": "connected", "node": "n", "last_seq": last_seq, "unread": 0, "rev": 1})


def resumed(after: int, until: int, complete: bool = True) -> str:
    found = {"type": "resumed", "from": after, "to": until, "complete": complete}
    return json.dumps(found if complete else {**found, "read_on": f"/api?before={until + 1}"})


def seqs(feed: Feed, *frames: str) -> list[int]:
    received = [event for each in frames for event in feed.received(each)]
    return [each.notification.seq for each in received if isinstance(each, NotificationReceived)]


def test_a_feed_begins_after_what_the_inbox_has() -> None:
    feed = Feed(USER, None)
    assert feed.address("https://hub") == f"wss://hub/ws/v2/notification-service/notifications/users/{USER}"
    assert seqs(feed, connected(41), frame(42), frame(42), frame(41), frame(43)) == [42, 43]
    assert feed.address("http://hub").endswith("?after=43")


def test_a_feed_resumes_after_its_position() -> None:
    feed = Feed(USER, 2)
    assert seqs(feed, connected(4), frame(2), frame(3), frame(4), resumed(2, 4), frame(4), frame(5)) == [
        3,
        4,
        5,
    ]
    assert feed.position == 5


def test_deleted_notifications_at_the_end_of_what_was_missed_move_the_position() -> None:
    feed = Feed(USER, 2)
    assert seqs(feed, connected(9), frame(3), resumed(2, 9)) == [3]
    assert feed.position == 9


def test_what_is_too_far_back_is_read_over_rest() -> None:
    feed = Feed(USER, 2)
    found = list(feed.received(resumed(2, 900, complete=False)))
    assert found == [ReadHistory("/api?before=901", 2)]
    assert feed.position == 900


def test_an_erased_inbox_counts_from_one_again() -> None:
    feed = Feed(USER, 50)
    assert list(feed.received(resumed(50, 3, complete=False))) == [
        InboxErased(),
        ReadHistory("/api?before=4", 0),
    ]
    assert seqs(feed, frame(3), frame(4)) == [4]


def test_frames_of_kinds_that_are_not_known_mean_nothing() -> None:
    assert list(Feed(USER, 1).received('{"type": "new_in_hub.v1"}')) == []
    (event,) = Feed(USER, 1).received(connected(3))
    assert isinstance(event, Connected)


@pytest.mark.parametrize("code", [1001, 1006, 1011, 1012, 1013, 4001, 4429])
def test_a_lost_connection_is_opened_again(code: int) -> None:
    assert 0 <= Reconnect().after_close(code, "", 0, True) <= 0.5


def test_waits_grow_to_a_bound_and_begin_again_after_a_stable_connection() -> None:
    reconnect = Reconnect()
    waits = [reconnect.after_close(1006, "", 0, True) for _ in range(200)]
    assert max(waits) <= 30
    assert max(waits) > 0.5
    assert reconnect.after_close(1006, "", 60, True) <= 0.5


def test_a_node_that_restarts_names_the_window() -> None:
    assert Reconnect().after_close(1012, "restarting; reconnect_within_ms=20", 0, True) <= 0.02


@pytest.mark.parametrize(
    ("code", "kind", "name"),
    [
        (4500, errors.LoggedOutError, "logged_out"),
        (4501, errors.AuthenticationError, "revoked_token"),
        (4503, errors.PermissionDeniedError, "forbidden"),
        (4401, errors.AuthenticationError, "expired_token"),
    ],
)
def test_a_close_code_that_forbids_to_come_back_is_an_error(
    code: int, kind: type[errors.HubError], name: str
) -> None:
    with pytest.raises(kind) as closed:
        Reconnect().after_close(code, "why", 0, can_renew=False)
    assert (closed.value.code, closed.value.status) == (name, code)


def test_a_new_token_that_is_refused_as_well_is_an_error() -> None:
    reconnect, refused = Reconnect(), errors.AuthenticationError("invalid_token", "", 401)
    reconnect.after_refusal(refused, can_renew=True)
    with pytest.raises(errors.AuthenticationError):
        reconnect.after_refusal(refused, can_renew=True)


def test_a_hub_that_asks_to_wait_is_not_asked_before() -> None:
    limited = errors.error_of_answer(429, b'{"code": "too_many"}', "7")
    assert isinstance(limited, errors.RateLimitError)
    assert Reconnect().after_refusal(limited, can_renew=False) >= 7


ANSWERS = [
    (None, True),
    (httpx.Response(503), True),
    (httpx.Response(429, headers={"Retry-After": "2"}), True),
    (httpx.Response(409, headers={"Retry-After": "1"}), True),
    (httpx.Response(202, headers={"Retry-After": "2"}), True),
    (httpx.Response(429, headers={"Retry-After": "3600"}), False),
    (httpx.Response(202), False),
    (httpx.Response(409), False),
    (httpx.Response(400), False),
    (httpx.Response(500), False),
]


@pytest.mark.parametrize(("answer", "again"), ANSWERS, ids=[str(number) for number in range(len(ANSWERS))])
def test_a_call_is_retried_only_where_that_is_of_use(answer: httpx.Response | None, again: bool) -> None:
    assert (calls.wait_before_retry(calls.status("one"), answer, 0) is not None) == again
    assert calls.wait_before_retry(calls.delete(USER, 1), answer, 0) is None


def test_a_publication_that_can_be_retried_has_an_id_or_a_key() -> None:
    with_id = calls.publish({"event_id": "one", "type": "inapp"}, None)
    assert "Idempotency-Key" not in with_id.headers
    assert "Idempotency-Key" in calls.publish({"type": "inapp"}, None).headers
    assert calls.publish({"type": "inapp"}, "k").headers == {"Idempotency-Key": "k"}


def test_the_envelope_of_an_answer_is_removed() -> None:
    enveloped = {"status": "success", "message": "", "data": []}
    assert (
        calls.page(USER, None, None, False, "inbox").result(httpx.Response(200, json=enveloped)).notifications
        == []
    )
    failed = httpx.Response(
        404, json={"status": "fail", "message": "", "data": {"code": "gone", "detail": "d"}}
    )
    with pytest.raises(errors.NotFoundError) as missing:
        calls.change(USER, 1, "read").result(failed)
    assert (missing.value.code, missing.value.detail) == ("gone", "d")


def test_an_answer_of_another_program_is_an_error() -> None:
    with pytest.raises(errors.HubError) as other:
        calls.counters(USER).result(httpx.Response(200, text="<html>"))
    assert other.value.code == "unexpected_answer"


@pytest.mark.parametrize("path", ["https://elsewhere.example/x", "//elsewhere.example/x", "x"])
def test_a_page_on_another_host_is_not_read(path: str) -> None:
    with pytest.raises(ValueError, match="not a path"):
        calls.page_at(path)


def test_an_error_can_be_sent_to_another_process() -> None:
    error = errors.error_of_answer(429, b'{"code": "too_many", "detail": "Wait."}', "7")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), vars(copy), str(copy)) == (errors.RateLimitError, vars(error), "too_many: Wait.")


def test_a_publisher_that_is_not_open_says_so() -> None:
    with pytest.raises(RuntimeError, match="with"):
        KafkaPublisher("localhost:1").publish({"event_id": "one"})


@pytest.mark.slow
def test_the_package_installs_in_a_bare_environment(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "bare"], check=True)
    python = tmp_path / "bare" / "bin" / "python"
    source = tmp_path / "client-python"
    shutil.copytree(ROOT / "client-python", source)
    pip: list[str | Path] = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        f"{source}[kafka]",
    ]
    subprocess.run(pip, check=True, timeout=100)
    program = (
        "import notification_hub_client as hub, notification_hub_client.kafka, pathlib\n"
        "assert (pathlib.Path(hub.__file__).parent / 'py.typed').exists()\n"
        "assert hub.__version__ != '0'\n"
    )
    subprocess.run([python, "-c", program], cwd=tmp_path, check=True)
