"""What a notification carries beside its texts: checked over HTTP, filtered elsewhere, and shown."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest

from app.domain.details import Action, Actor, Details, from_columns, to_column
from app.domain.errors import InvalidEvent
from app.realtime.protocol import detailed_frame, notification_frame
from app.sources.http import check_fields
from app.testing.hub import MemoryHub
from handlers.registry import HANDLERS, details_json, details_of, handlers
from tests.support.peers import notification

USER = UUID("456e7890-e89b-12d3-a456-426614174001")
MESSAGE = {"type": "inapp", "user_id": str(USER), "message": "Hello!"}
ALL: dict[str, Any] = {
    "severity": "warning",
    "url": "/orders/7?tab=items#total",
    "actions": [
        {"id": "pay", "label": "Pay", "url": "https://shop.example.com/pay/7"},
        {"id": "no", "label": "Not now"},
    ],
    "icon": "card",
    "image": "https://cdn.example.com/7.png",
    "actor": {"name": "Lê Thị B", "avatar": "/avatars/b.png"},
    "thread_key": "order-7",
    "expires_at": "2999-01-01T00:00:00+07:00",
}
BAD: list[tuple[str, Any]] = [
    *(
        ("url", url)
        for url in (
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "data:text/html,x",
            "vbscript:x",
            "//evil.example.com",
            "/\\evil.example.com",
            "\\\\evil.example.com",
            "/\t/evil.example.com",
            "https://example.com\\@evil.example.com",
            "https://user:password@example.com/",
            "https://",
            "http:///path",
            " /orders",
            "/orders\n",
            "/or\u0000ders",
            "/\u202egnp.exe",
            "orders/7",
            "#top",
            "mailto:a@example.com",
            "ftp://example.com/",
            "/" + "x" * 2000,
            "",
            7,
            ["/orders"],
            {"href": "/orders"},
        )
    ),
    ("severity", "fatal"),
    ("severity", 3),
    ("actions", {"id": "a", "label": "A"}),
    ("actions", [{"id": str(i), "label": "A"} for i in range(3)]),
    ("actions", [{"id": "a", "label": "A"}, {"id": "a", "label": "B"}]),
    ("actions", [{"id": "a", "label": "A", "url": "javascript:alert(1)"}]),
    ("actions", [{"id": "a", "label": " "}]),
    ("actions", [{"id": "a", "label": "two\nlines"}]),
    ("actions", [{"id": "a", "label": "x" * 41}]),
    ("actions", [{"id": "a b", "label": "A"}]),
    ("actions", [{"label": "A"}]),
    ("actions", ["a"]),
    ("icon", "rocket"),
    ("icon", "https://cdn.example.com/icon.png"),
    ("icon", "http://cdn.example.com/icon.png"),
    ("icon", "data:image/png;base64,AA=="),
    ("image", "http://cdn.example.com/7.png"),
    ("image", "//cdn.example.com/7.png"),
    ("image", "data:image/svg+xml,x"),
    ("actor", "Lê Thị B"),
    ("actor", {"name": "\u200b"}),
    ("actor", {"name": "a\u202eb"}),
    ("actor", {"avatar": "/a.png"}),
    ("actor", {"name": "B", "avatar": "javascript:alert(1)"}),
    ("thread_key", ""),
    ("thread_key", "x" * 201),
    ("thread_key", "a\nb"),
    ("expires_at", "tomorrow"),
    ("expires_at", "2999-01-01T00:00:00"),
    ("expires_at", "9999-12-31T23:59:59-12:00"),
    ("expires_at", "0001-01-01T00:00:00+14:00"),
]


def over_http(**fields: Any) -> None:
    check_fields(msgspec.json.encode({**MESSAGE, **fields}))


def told(image_hosts: tuple[str, ...] = (), **fields: Any) -> Details | None:
    """What is stored of a message that comes over a broker."""
    handler = handlers(600.0, image_hosts=image_hosts)["message"]
    body = {**MESSAGE, **fields}
    draft = handler.handle(handler.parse(body), body, None, "en").notification
    assert draft is not None
    assert draft.content == "Hello!"
    return draft.details


@pytest.mark.parametrize(("name", "value"), BAD, ids=lambda value: ascii(value)[:60])
def test_a_bad_value_is_refused_by_name_over_http_and_costs_nothing_else_over_a_broker(
    name: str, value: Any
) -> None:
    with pytest.raises(InvalidEvent, match=f"`{name}`|^{name}: ") as refused:
        over_http(**{**ALL, name: value})
    assert refused.value.reason in ("bad_field", "unknown_field")
    found = told(**{**ALL, name: value})
    assert found is not None
    good = told(**ALL)
    assert good is not None
    others = [each for each in Details.__struct_fields__ if each != name]
    assert [getattr(found, each) for each in others] == [getattr(good, each) for each in others]


def test_good_values_are_taken_and_stored() -> None:
    over_http(**ALL)
    found = told(**ALL)
    assert found == Details(
        severity="warning",
        url=ALL["url"],
        actions=(
            Action("pay", "Pay", "https://shop.example.com/pay/7"),
            Action("no", "Not now"),
        ),
        icon="card",
        image="https://cdn.example.com/7.png",
        actor=Actor("Lê Thị B", "/avatars/b.png"),
        thread_key="order-7",
        expires_at=datetime(2998, 12, 31, 17, tzinfo=UTC),
    )
    assert from_columns(to_column(found), found.thread_key, found.expires_at) == found


def test_null_is_as_good_as_absent() -> None:
    nothing: dict[str, Any] = dict.fromkeys(ALL)
    over_http(**nothing)
    assert told(**nothing) is None
    assert told() is None


@pytest.mark.parametrize(
    ("name", "given", "used"),
    [
        ("severity", " Warning", "warning"),
        ("thread_key", 7, "7"),
        ("actions", [{"id": "a", "label": ""}, {"id": "b", "label": "B"}], (Action("b", "B"),)),
        (
            "actions",
            [{"id": each, "label": each} for each in "abc"],
            (Action("a", "a"), Action("b", "b")),
        ),
        ("actor", {"name": "B", "avatar": "x:y"}, Actor("B")),
    ],
    ids=["severity", "thread_key", "one bad action", "three actions", "avatar"],
)
def test_over_a_broker_what_can_be_used_of_a_value_is(name: str, given: Any, used: Any) -> None:
    assert getattr(told(**{name: given}), name) == used


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_message_over_another_channel_has_none(name: str) -> None:
    mail = {"type": "email", "to": "user@example.com", "message": "Hello!", name: ALL[name]}
    with pytest.raises(InvalidEvent, match=f"`{name}` is ") as refused:
        check_fields(msgspec.json.encode(mail))
    assert refused.value.reason == "unknown_field"


def test_unknown_fields_within_are_named() -> None:
    with pytest.raises(InvalidEvent, match="actions: `href` is "):
        over_http(actions=[{"id": "a", "label": "A", "href": "/x"}])
    with pytest.raises(InvalidEvent, match="actor: `image` is "):
        over_http(actor={"name": "A", "image": "/x"})


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://cdn.example.com/a.png", True),
        ("https://CDN.example.com:8443/a.png", True),
        ("https://a.img.example.net/a.png", True),
        ("https://img.example.net/a.png", False),
        ("https://evilcdn.example.com/a.png", False),
        ("https://cdn.example.com.evil.net/a.png", False),
        ("/static/a.png", True),
    ],
)
def test_images_come_from_the_hosts_that_the_operator_names(url: str, allowed: bool) -> None:
    hosts = ("cdn.example.com", "*.img.example.net")
    for fields in ({"icon": url}, {"image": url}, {"actor": {"name": "B", "avatar": url}}):
        body = msgspec.json.encode({**MESSAGE, **fields})
        if allowed:
            check_fields(body, hosts)
        else:
            with pytest.raises(InvalidEvent, match="IMAGE_HOSTS"):
                check_fields(body, hosts)
    assert (told(hosts, icon=url) is not None) is allowed


def test_the_category_is_shown_where_it_is_not_the_types() -> None:
    found = told(category="payments")
    assert found is not None
    assert found.category == "payments"


def test_every_event_type_that_has_notifications_says_what_they_are() -> None:
    for event_type, handler in HANDLERS.items():
        shown = msgspec.json.decode(
            b"{" + details_json(notification(USER, 1, template_code=event_type.upper())) + b"}"
        )
        assert (shown["severity"], shown["icon"]) == (handler.severity, handler.icon)
        assert shown["category"] == handler.category


@pytest.mark.parametrize(
    ("template_code", "raw_data", "name", "value"),
    [
        ("GROUP_USER_ADDED", b'{"requester_username":" J\\n D "}', "actor", Actor("J D")),
        ("GROUP_USER_ADDED", b'{"requester_username":7}', "actor", None),
        ("GROUP_USER_ADDED", b'{"requester_username":"\xe2\x80\x8b"}', "actor", None),
        ("PAYMENT.FAILED", b'{"retry_url":"https://pay.example.com/7"}', "url", "https://pay.example.com/7"),
        ("PAYMENT.FAILED", b'{"retry_url":"javascript:alert(1)"}', "url", None),
        ("PAYMENT.FAILED", b"not JSON", "severity", "critical"),
        ("NO_LONGER_HANDLED", b"{}", "icon", "bell"),
    ],
)
def test_what_a_type_says_may_come_from_the_data(
    template_code: str, raw_data: bytes, name: str, value: object
) -> None:
    stored = notification(USER, 1, template_code=template_code, raw_data=msgspec.Raw(raw_data))
    assert getattr(details_of(stored), name) == value


def test_a_plain_frame_has_the_documented_fields_whatever_the_notification_carries() -> None:
    bare = notification(USER, 1)
    rich = notification(USER, 1, details=Details(url="/x", severity="critical"))
    assert notification_frame(rich) == notification_frame(bare)
    assert b'"details"' not in notification_frame(bare)


@pytest.mark.parametrize("chars", [0, 200, 70_000])
def test_a_detailed_frame_is_the_plain_one_with_more_fields(chars: int) -> None:
    rich = notification(USER, 1, content="x" * chars, details=Details(url="/x", severity="critical"))
    plain = notification_frame(rich)
    frame = detailed_frame(plain, details_json(rich))
    length = frame[1]
    payload = msgspec.json.decode(frame[2 if length < 126 else 4 if length == 126 else 10 :])
    data = payload["data"]
    assert (data["url"], data["severity"], data["icon"]) == ("/x", "critical", "users")
    start = 2 if plain[1] < 126 else 4 if plain[1] == 126 else 10
    documented = msgspec.json.decode(plain[start:])["data"]
    assert documented.items() <= data.items()


async def test_what_has_expired_before_it_is_processed_notifies_nobody() -> None:
    hub = MemoryHub(handlers(600.0))
    for number, moment in enumerate(("2001-01-01T00:00:00Z", "2999-01-01T00:00:00Z")):
        event = {**MESSAGE, "event_type": "message", "event_id": str(number), "expires_at": moment}
        await hub.publish(event)
    assert len(hub.store.inbox(USER)) == 1
