"""What publishers send: bytes to an event, and what each handler makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from uuid import UUID

import msgspec
from hypothesis import strategies as st

from app.dev.samples import event_types, load
from app.domain.deliveries import DeliveryDraft, delivery_id
from app.domain.effects import Effects
from app.domain.errors import InvalidEvent
from app.domain.events import MAX_EVENT_BYTES, MAX_EVENT_ID_CHARS, Event, decode
from app.domain.notifications import (
    MAX_GROUP_NAME_CHARS,
    MAX_TEMPLATE_CODE_CHARS,
    MAX_TITLE_CHARS,
    Group,
    NotificationDraft,
    event_hash,
)
from app.domain.planning import PlanRequest
from app.ingest.batch import PreparedEvent, SourceMessage
from app.ingest.prepare import scheduled
from app.texts.brand import Brand
from app.texts.i18n import LOCALES
from app.texts.rendering import MailRenderer, sms_text
from fuzz.hostile import VALUES, as_json, changed, json_words, spoiled
from fuzz.storable import check_json, check_text
from fuzz.target import CANARY, Target
from handlers.base import MAX_DATA_BYTES, BaseMessageHandler
from handlers.fields import MAX_RECEIVERS
from handlers.otp import OtpRequested
from handlers.registry import HANDLERS, text_in

SAMPLES: list[dict[str, Any]] = [load(name).message for name in event_types()]
REASONS = frozenset(
    ("too_large", "bad_encoding", "not_json", "not_an_object", "nul_character", "bad_event_id")
) | {"no_event_type"}
REFUSED = frozenset(("bad_field", "data_too_large", "no_receivers", "wrong_action"))
POSITION = "kafka:service_notifications:0:7:1"
MAX_TEXT = 40_000  # characters of a title or content: places filled from data that is kept
_USERS = tuple(UUID(int=number) for number in range(1, 4))
_GROUPS = (Group("Nhà", _USERS, _USERS[:1]), Group("Empty", (), ()))
_CODES = [name for name, handler in HANDLERS.items() if isinstance(handler, OtpRequested)]
_RENDERER = MailRenderer(Brand("Hub", "#0b6e99"))
_MORE = ("event_id", "event_type", "group_id", "receivers", "data", "type", "to", "user_id", "title", "html")
_KEYS = (*_MORE, "message", "template_code", "locale", "category", "attachments", "send_at", "group_name")


def check_decode(data: bytes) -> None:
    """An event that can be stored, or a refusal with one of the reasons."""
    try:
        event = decode(data, POSITION)
    except InvalidEvent as error:
        assert error.reason in REASONS, error.reason
        check_text(str(error), 300)
        return
    check_text(event.event_id, max(MAX_EVENT_ID_CHARS, len(POSITION)))
    check_text(event.event_type, len(data))
    check_json(msgspec.json.encode(event.body).decode(), 10 * len(data) + 10)


def check_handlers(data: bytes) -> None:
    """Byte 0 says how it comes and in which locale; the rest is the message."""
    how, message = data[0] if data else 0, data[1:]
    known_type = _CODES[how % len(_CODES)] if how & 0x80 else None
    locale = LOCALES[(how >> 2) % len(LOCALES)]
    try:
        event = decode(message, POSITION, known_type)
        if (handler := HANDLERS.get(event.event_type)) is not None:
            _check_handler(handler, event, _GROUPS[(how >> 4) % len(_GROUPS)], locale)
    except InvalidEvent as error:
        assert error.reason in REASONS | REFUSED, error.reason
        str(error).encode()
        assert known_type is None or CANARY not in str(error), "the refusal shows the code"


def _check_handler(handler: BaseMessageHandler[Any], event: Event, group: Group, locale: str) -> None:
    parsed = handler.parse(event.body)
    needed = group if handler.group_needed(parsed) else None
    effects = handler.handle(parsed, event.body, needed, locale)
    _check_effects(effects, event.event_id, locale)
    for other in LOCALES:
        same = handler.handle(parsed, event.body, needed, other)
        assert len(same.deliveries) == len(effects.deliveries)
        assert _but_texts(same.notification) == _but_texts(effects.notification)
    if effects.send_at is not None:
        _check_later(handler, event, effects, parsed, locale)


def _check_effects(effects: Effects, event_id: str, locale: str) -> None:
    if (notification := effects.notification) is not None:
        assert 0 < len(notification.receivers) <= MAX_RECEIVERS
        assert len(set(notification.receivers)) == len(notification.receivers), "a receiver is notified twice"
        check_text(notification.template_code, MAX_TEMPLATE_CODE_CHARS)
        check_text(notification.group_name or "", MAX_GROUP_NAME_CHARS)
        check_json(notification.raw_data, MAX_DATA_BYTES)
        event_hash(event_id)
        for draft in notification.by_text():
            _check_texts(draft, locale)
    for delivery in effects.deliveries:
        _check_delivery(delivery, event_id)


def _check_texts(notification: NotificationDraft, locale: str) -> None:
    """What is stored can be rendered again, in any locale."""
    check_text(notification.title, MAX_TITLE_CHARS)
    check_text(notification.content, MAX_TEXT)
    for other in LOCALES:
        text = text_in(
            other,
            notification.template_code,
            notification.raw_data.encode(),
            notification.group_name,
            notification.title,
        )
        if notification.template_code != "MESSAGE":
            assert text is not None, "its texts can't be made again from what is stored"
            assert other != locale or text == (notification.title, notification.content), (
                "made again they are others"
            )


def _check_delivery(draft: DeliveryDraft, event_id: str) -> None:
    delivery_id(event_id, draft)
    check_text(draft.address or "", 400)
    check_text(draft.replaces or "", 400)
    assert draft.locale in LOCALES
    check_json(msgspec.json.encode(draft.data).decode(), MAX_EVENT_BYTES)
    check_json(f'{{"a": {msgspec.json.encode(draft.attachments).decode()}}}', 2 * MAX_EVENT_BYTES)
    shown = {**draft.data, **(draft.secret or {})}
    if draft.channel == "sms":
        sms_text(draft.template, draft.locale, shown)
    else:
        _RENDERER.render(draft.template, draft.locale, shown)


def _check_later(
    handler: BaseMessageHandler[Any], event: Event, effects: Effects, parsed: Any, locale: str
) -> None:
    """What is kept until then is an event of the same effects."""
    message = SourceMessage("http", event.event_id, b"", None)
    request = PlanRequest(effects, "messages", False, lambda _: effects)
    later = scheduled(PreparedEvent(message, event, request))
    try:
        again = decode(later.body, "elsewhere")
    except InvalidEvent as error:
        raise AssertionError("what was taken for later is refused then") from error
    assert again.event_id == event.event_id
    then = handler.handle(handler.parse(again.body), again.body, None, locale)
    assert then == msgspec.structs.replace(effects, send_at=None), "what happens later is something else"


def _but_texts(notification: NotificationDraft | None) -> NotificationDraft | None:
    return notification and msgspec.structs.replace(notification, title="", content="", personal=None)


def _message(body: Mapping[str, Any]) -> bytes:
    with suppress(ValueError):
        return as_json(body)
    return b"{}"


_BODIES = spoiled(changed(SAMPLES, _KEYS).map(_message))
TARGETS = (
    Target(
        "decode",
        "an `Event` that Postgres can store, or `InvalidEvent` with a known reason",
        check_decode,
        _BODIES | VALUES.map(as_json),
        json_words(SAMPLES),
        longest=MAX_EVENT_BYTES,
        weight=36,
    ),
    Target(
        "handlers",
        "every event type: effects that can be stored, rendered again in each locale, rendered and kept for "
        "later; or `InvalidEvent`, which shows no code",
        check_handlers,
        st.tuples(st.binary(min_size=1, max_size=1), _BODIES).map(b"".join),
        json_words(SAMPLES),
        longest=MAX_EVENT_BYTES,
        weight=0.25,
    ),
)
