"""Flat event types (bookings, payments, stock): what they need, who is told, by mail and in the inbox."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.dev import samples
from app.domain.effects import Effects
from app.texts.brand import Brand
from app.texts.i18n import LOCALES
from app.texts.rendering import MailRenderer
from handlers.base import MAX_DATA_BYTES
from handlers.fields import MAX_RECEIVERS
from handlers.flat import FlatEventHandler, PersonalEventHandler
from handlers.registry import HANDLERS, text_in
from tests.unit.test_handlers import draft_of, reason_of

FLAT = sorted(name for name, handler in HANDLERS.items() if isinstance(handler, FlatEventHandler))
PERSONAL = sorted(name for name, handler in HANDLERS.items() if isinstance(handler, PersonalEventHandler))
BOOKINGS = ("booking.cancelled", "booking.confirmed")
PAYMENTS = ("payment.failed", "payment.refund", "payment.success")
USER = uuid4()
ENVELOPE = {"event_id", "event_type", "user_id", "user_email", "receivers", "locale"}
AMOUNTS = {**dict.fromkeys(BOOKINGS, "total_amount"), **dict.fromkeys(PAYMENTS, "amount")} | {
    "low_stock": "current_stock"
}
RENDERER = MailRenderer(Brand("Hub", "#0b6e99"))

REQUIRED: list[tuple[str, str, object]] = [
    *((event_type, "user_email", 5) for event_type in PERSONAL),
    *(
        (event_type, field, wrong)
        for event_type in BOOKINGS
        for field, wrong in (
            ("booking_id", 5),
            ("movie_title", None),
            ("showtime", "x" * 501),
            ("seats", "A1"),
            ("seats", []),
            ("seats", [1]),
            ("seats", ["A1"] * 101),
            ("total_amount", "25.5"),
        )
    ),
    *(
        (event_type, field, wrong)
        for event_type in PAYMENTS
        for field, wrong in (
            ("booking_id", None),
            ("transaction_id", 456),
            ("amount", "25.5"),
            ("payment_method", []),
        )
    ),
    ("payment.failed", "reason", 5),
    ("low_stock", "product_name", 5),
    ("low_stock", "current_stock", None),
    ("low_stock", "threshold", "10"),
]


def body_of(event_type: str, /, **changes: Any) -> dict[str, Any]:
    """The sample, changed."""
    return {**samples.load(event_type).message, **changes}


def told(event_type: str, /, **changes: Any) -> dict[str, Any]:
    """The sample, changed, of an event that is told in an inbox."""
    return body_of(event_type, **({"user_id": str(USER)} if event_type in PERSONAL else {}), **changes)


def effects_of(body: Mapping[str, Any], locale: str = "en") -> Effects:
    handler = HANDLERS[body["event_type"]]
    message = handler.parse(body)
    assert handler.group_needed(message) is None
    return handler.handle(message, body, None, locale)


def test_the_flat_event_types_are_known() -> None:
    assert set(FLAT) == {*BOOKINGS, *PAYMENTS, "low_stock"}
    assert set(PERSONAL) == {*BOOKINGS, *PAYMENTS}


# Texts


@pytest.mark.parametrize(
    ("event_type", "locale", "title", "content"),
    [
        (
            "booking.confirmed",
            "en",
            "Booking BOOK-123 is confirmed",
            "Movie Name, 2024-12-15 7:30 PM. Seats: A1, A2. Total: 25.50. Enjoy the movie!",
        ),
        (
            "booking.cancelled",
            "vi",
            "Đã hủy đặt vé BOOK-123",
            "Movie Name, 2024-12-15 7:30 PM. Các ghế không còn được giữ cho bạn: A1, A2.",
        ),
        (
            "payment.success",
            "ru",
            "Получена оплата бронирования BOOK-123",
            "Сумма: 25,50. Транзакция: TXN-456.",
        ),
        (
            "payment.failed",
            "en",
            "Your payment for booking BOOK-123 failed",
            "The card was declined. Amount: 25.50.",
        ),
        (
            "payment.refund",
            "vi",
            "Đã hoàn tiền cho đơn đặt vé BOOK-123",
            "Số tiền: 25,50. Có thể mất vài ngày để tiền về đến tài khoản.",
        ),
        ("low_stock", "ru", "Заканчивается товар: Espresso beans 1 kg", "Остаток: 3. Порог: 10."),
    ],
)
def test_what_a_person_reads(event_type: str, locale: str, title: str, content: str) -> None:
    draft = draft_of(told(event_type), locale)
    assert (draft.title, draft.content) == (title, content)


@pytest.mark.parametrize("event_type", FLAT)
def test_each_locale_has_words_of_its_own(event_type: str) -> None:
    drafts = [draft_of(told(event_type), locale) for locale in LOCALES]
    assert len({draft.title for draft in drafts}) == len({draft.content for draft in drafts}) == len(LOCALES)


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("event_type", FLAT)
def test_the_texts_can_be_made_again_from_what_is_stored(event_type: str, locale: str) -> None:
    stored = draft_of(told(event_type, group_name=5), "vi")
    wanted = draft_of(told(event_type), locale)
    raw_data = json.dumps(json.loads(stored.raw_data), sort_keys=True).encode()  # jsonb keeps no order
    assert text_in(locale, stored.template_code, raw_data, None) == (wanted.title, wanted.content)


def test_a_stored_form_that_is_no_longer_handled_has_no_other_text() -> None:
    assert text_in("ru", "BOOKING.CONFIRMED", b'{"booking_id": "BOOK-123"}', None) is None


@pytest.mark.parametrize("event_type", FLAT)
def test_the_template_code_is_the_event_type_in_capitals(event_type: str) -> None:
    draft = draft_of(told(event_type))
    assert draft.template_code == event_type.upper()
    assert draft.group_id is None
    assert draft.group_name is None


@pytest.mark.parametrize("name", ["{{7*7}}", "%(amount)s", "%s %d %%", "<script>alert(1)</script>"])
def test_whatever_a_value_looks_like_it_stays_as_it_is(name: str) -> None:
    draft = draft_of(told("booking.confirmed", booking_id=name, movie_title=name, seats=[name]))
    assert name in draft.title
    assert draft.content.count(name) == 2


def test_a_reason_without_words_is_shown() -> None:
    assert "issuer_unreachable" in draft_of(told("payment.failed", reason="issuer_unreachable"), "ru").content


@pytest.mark.parametrize(("amount", "shown"), [(125000, "125.000"), (125000.0, "125.000"), (0, " 0.")])
def test_an_amount_may_be_whole(amount: float, shown: str) -> None:
    draft = draft_of(told("payment.success", amount=amount), "vi")
    assert shown in draft.content
    assert json.loads(draft.raw_data)["amount"] == amount


# What is kept


@pytest.mark.parametrize("event_type", FLAT)
def test_raw_data_is_the_event_without_whom_it_is_for(event_type: str) -> None:
    body = told(event_type, event_id="e", locale="ru", trace=[1], data={"more": True})
    kept = {name: value for name, value in body.items() if name not in ENVELOPE}
    assert json.loads(draft_of(body).raw_data) == kept
    assert kept["trace"] == [1]


@pytest.mark.parametrize("event_type", FLAT)
def test_raw_data_has_a_limit(event_type: str) -> None:
    assert reason_of(told(event_type, more="x" * MAX_DATA_BYTES))[0] == "data_too_large"


# What is checked


@pytest.mark.parametrize(("event_type", "field", "wrong"), REQUIRED)
def test_a_missing_or_wrong_field_is_named(event_type: str, field: str, wrong: object) -> None:
    without = told(event_type)
    del without[field]
    for body in (without, told(event_type, **{field: wrong})):
        reason, text = reason_of(body)
        assert reason == "bad_field"
        assert field in text
        assert event_type in text


@pytest.mark.parametrize("amount", [-0.01, -1, 1e12 + 1, 10**400, float("inf"), float("nan"), True, None])
@pytest.mark.parametrize("event_type", FLAT)
def test_an_amount_is_a_number_that_can_be(event_type: str, amount: object) -> None:
    reason, text = reason_of(told(event_type, **{AMOUNTS[event_type]: amount}))
    assert reason == "bad_field"
    assert AMOUNTS[event_type] in text


@pytest.mark.parametrize("address", ["", "nobody", "a b@example.com", "a@b\r\nBcc: c@d", "@example.com"])
@pytest.mark.parametrize("event_type", PERSONAL)
def test_an_address_that_is_none_is_refused(event_type: str, address: str) -> None:
    reason, text = reason_of(told(event_type, user_email=address))
    assert reason == "bad_field"
    assert "user_email" in text


@pytest.mark.parametrize("user", ["no-uuid", 5, ""])
@pytest.mark.parametrize("event_type", PERSONAL)
def test_a_user_id_that_is_none_is_refused(event_type: str, user: object) -> None:
    reason, text = reason_of(told(event_type) | {"user_id": user})
    assert reason == "bad_field"
    assert "user_id" in text


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "/pay", "ftp://example.com/", "https://a@b.example/", "", 5]
)
def test_a_retry_url_that_no_mail_may_link_to_is_refused(url: object) -> None:
    reason, text = reason_of(told("payment.failed", retry_url=url))
    assert reason == "bad_field"
    assert "retry_url" in text
    assert "javascript" not in text


@pytest.mark.parametrize("url", [None, "absent"])
def test_a_failed_payment_may_come_without_a_retry_url(url: object) -> None:
    body = told("payment.failed", retry_url=url)
    if url == "absent":
        del body["retry_url"]
    (mail,) = effects_of(body).deliveries
    assert "Try the payment again" not in RENDERER.render(mail.template, "en", mail.data).text


# Who is told


@pytest.mark.parametrize("event_type", PERSONAL)
def test_a_person_who_is_no_user_gets_a_mail_only(event_type: str) -> None:
    for body in (body_of(event_type), body_of(event_type, user_id=None)):
        effects = effects_of(body, "ru")
        assert effects.notification is None
        (mail,) = effects.deliveries
        assert (mail.channel, mail.address, mail.user_id) == ("email", "user@example.com", None)
        assert mail.locale == "ru"
        assert (mail.secret, mail.valid_for, mail.replaces) == (None, None, None)


@pytest.mark.parametrize("event_type", PERSONAL)
def test_a_user_gets_a_mail_and_a_notification(event_type: str) -> None:
    effects = effects_of(told(event_type))
    assert effects.notification is not None
    assert list(effects.notification.receivers) == [USER]
    (mail,) = effects.deliveries
    assert (mail.address, mail.user_id) == ("user@example.com", USER)


def test_each_receiver_of_low_stock_is_notified_once_and_mailed_by_profile() -> None:
    users = [uuid4(), uuid4()]
    body = body_of("low_stock", receivers=[str(user) for user in (*users, users[0])])
    effects = effects_of(body)
    assert effects.notification is not None
    assert list(effects.notification.receivers) == users
    assert [(mail.user_id, mail.address, mail.channel) for mail in effects.deliveries] == [
        (user, None, "email") for user in users
    ]


@pytest.mark.parametrize("receivers", [None, [], "absent"])
def test_low_stock_has_to_name_its_receivers(receivers: object) -> None:
    body = body_of("low_stock", receivers=receivers)
    if receivers == "absent":
        del body["receivers"]
    assert reason_of(body)[0] == "no_receivers"


@pytest.mark.parametrize("receivers", ["456e7890-e89b-12d3-a456-426614174001", ["no-uuid"], [None], 5])
def test_receivers_that_are_none_are_refused(receivers: object) -> None:
    reason, text = reason_of(body_of("low_stock", receivers=receivers))
    assert reason == "bad_field"
    assert "receivers" in text


def test_low_stock_has_at_most_10_000_receivers() -> None:
    receivers = [str(UUID(int=number)) for number in range(MAX_RECEIVERS + 1)]
    assert len(effects_of(body_of("low_stock", receivers=receivers[1:])).deliveries) == 10_000
    assert reason_of(body_of("low_stock", receivers=receivers))[0] == "bad_field"


# Mail


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("event_type", FLAT)
def test_the_mails_template_is_filled_by_the_event(event_type: str, locale: str) -> None:
    mail = effects_of(body_of(event_type), locale).deliveries[0]
    shown = RENDERER.render(mail.template, mail.locale, mail.data)
    assert shown.subject == draft_of(told(event_type), locale).title


@pytest.mark.parametrize(
    ("says", "locale"),
    [("ru", "ru"), ("en-GB", "en"), ("fr", "vi"), ("", "vi"), (None, "vi"), ("../ru", "vi")],
)
@pytest.mark.parametrize("event_type", FLAT)
def test_the_event_chooses_the_mails_locale_where_the_hub_has_it(
    event_type: str, says: str | None, locale: str
) -> None:
    effects = effects_of(told(event_type, locale=says), "vi")
    assert effects.deliveries[0].locale == locale
    assert effects.notification is not None
    assert effects.notification.title == draft_of(told(event_type), "vi").title
