"""Frames in the language of their reader."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest

from app.domain.notifications import InboxCounters, Notification
from app.realtime.event_format import payloads
from app.realtime.language import InLanguages, in_language
from app.realtime.protocol import detailed_frame, detailed_json, notification_frame
from app.realtime.session_frames import NotificationUnread, Pong, session_frame
from app.texts.i18n import LOCALES
from handlers.registry import details_json, text_in

STORED = Notification(
    7,
    None,
    "Nhà mình",
    UUID(int=5),
    datetime(2026, 11, 30, tzinfo=UTC),
    "GROUP_USER_ADDED",
    msgspec.Raw(b'{"requester_username":"john_doe"}'),
    False,
    "as it was stored",
    "in some language",
    3,
)


def body(frame: bytes) -> dict[str, Any]:
    (payload,) = payloads(frame)
    found: dict[str, Any] = json.loads(payload)
    return found


def spoken(locale: str) -> Notification:
    """As a list shows it."""
    text = text_in(locale, "GROUP_USER_ADDED", bytes(STORED.raw_data), "Nhà mình", STORED.title)
    assert text is not None
    return msgspec.structs.replace(STORED, title=text.title, content=text.content)


@pytest.mark.parametrize("locale", LOCALES)
def test_a_frame_is_byte_for_byte_as_if_the_notification_were_stored_in_the_language(locale: str) -> None:
    plain = notification_frame(STORED)
    assert in_language(plain, locale) == notification_frame(spoken(locale))
    detailed = detailed_frame(plain, details_json(STORED))
    wanted = detailed_frame(notification_frame(spoken(locale)), details_json(STORED))
    assert in_language(detailed, locale) == wanted


def test_a_session_frame_has_its_notification_in_the_language_too() -> None:
    shown = msgspec.Raw(detailed_json(STORED, details_json(STORED)))
    frame = session_frame(NotificationUnread(7, *InboxCounters(1, 3, 2, 1, 0), shown))
    rendered = body(in_language(frame, "ru"))
    assert rendered["data"]["title"] == spoken("ru").title
    assert {**rendered, "data": None} == {**body(frame), "data": None}


@pytest.mark.parametrize(
    "frame",
    [
        session_frame(Pong()),
        notification_frame(msgspec.structs.replace(STORED, template_code="MESSAGE")),
        notification_frame(msgspec.structs.replace(STORED, template_code="A_TYPE_OF_BEFORE")),
        notification_frame(
            msgspec.structs.replace(STORED, raw_data=msgspec.Raw(b'{"requester_username":[]}'))
        ),
    ],
    ids=["no notification", "a publisher's own texts", "no longer handled", "other data"],
)
def test_what_can_not_be_rendered_stays_as_it_is(frame: bytes) -> None:
    assert in_language(frame, "ru") is frame


def test_a_frame_is_rendered_once_in_each_language() -> None:
    languages, frame = InLanguages(), notification_frame(STORED)
    first = languages.frame(frame, "ru")
    assert languages.frame(notification_frame(STORED), "ru") is first
    assert languages.frame(frame, "en") != first
