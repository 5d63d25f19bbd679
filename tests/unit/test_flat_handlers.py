"""Flat event types (bookings, payments, stock): what they need, who is notified, by mail and in the inbox."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4, uuid5

import msgspec
import pytest

from app.dev import samples
from app.domain.deliveries import Status
from app.domain.effects import Effects
from app.domain.user_ids import UserIds
from app.testing import MemoryHub
from app.texts.brand import Brand
from app.texts.i18n import LOCALES
from app.texts.rendering import MailRenderer, sms_text
from handlers.base import MAX_DATA_BYTES
from handlers.fields import MAX_RECEIVERS
from handlers.flat import FlatEventHandler, PersonalEventHandler
from handlers.inventory import NOBODY, StockReceivers
from handlers.registry import ALIASES, HANDLERS, handlers, text_in
from tests.unit.test_handlers import draft_of, reason_of

FLAT = sorted(name for name, handler in HANDLERS.items() if isinstance(handler, FlatEventHandler))
PERSONAL = sorted(name for name, handler in HANDLERS.items() if isinstance(handler, PersonalEventHandler))
BOOKINGS = ("booking.cancelled", "booking.confirmed")
PAYMENTS = ("payment.failed", "payment.refund", "payment.success")
USER, NAMESPACE = uuid4(), uuid4()
ENVELOPE = {"event_id", "event_type", "user_id", "user_email", "receivers", "locale"}
AMOUNTS = {**dict.fromkeys(BOOKINGS, "total_amount"), **dict.fromkeys(PAYMENTS, "amount")} | {
    "low_stock": "current_stock"
}
RENDERER = MailRenderer(Brand("Hub", "#0b6e99"))

NO_NAMES: tuple[object, ...] = (None, "", "  ", "x" * 501, ["B"], {"id": "B"}, True)
REQUIRED: list[tuple[str, str, object]] = [
    *((event_type, "user_email", 5) for event_type in PERSONAL),
    *((event_type, "booking_id", wrong) for event_type in PERSONAL for wrong in NO_NAMES),
    *(("low_stock", "product_name", wrong) for wrong in NO_NAMES),
]
UNUSABLE: tuple[object, ...] = (None, "", "  ", [], {}, {"a": 1}, [{}], [None], True, "x" * 501, 10**600)
"""Of these no field of any type makes anything."""
OPTIONAL: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(BOOKINGS, ("movie_title", "showtime", "seats", "total_amount", "locale")),
    **dict.fromkeys(PAYMENTS, ("transaction_id", "amount", "payment_method", "locale")),
    "payment.failed": ("transaction_id", "amount", "payment_method", "reason", "retry_url", "locale"),
    "low_stock": ("current_stock", "threshold", "locale"),
}
NO_NUMBERS = (
    "NaN",
    "Infinity",
    "-inf",
    "25,50",
    "25.50 USD",
    "-3",
    "1_000",
    "0x10",
    "٣",
    "1e999",
    "1e13",
    "--1",
)


def body_of(event_type: str, /, **changes: Any) -> dict[str, Any]:
    """The sample, changed."""
    return {**samples.load(event_type).message, **changes}


def told(event_type: str, /, **changes: Any) -> dict[str, Any]:
    """The sample, changed, of an event that is shown in an inbox."""
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
    assert text_in("ru", "BOOKING.CONFIRMED", b'{"movie_title": "Movie Name"}', None) is None


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


def shown(body: Mapping[str, Any], locale: str = "en") -> str:
    """Everything that a person reads of the event: notification, mail and SMS."""
    draft = draft_of(body, locale)
    (mail, *_) = effects_of(body, locale).deliveries
    rendered = RENDERER.render(mail.template, locale, mail.data)
    assert rendered.subject == draft.title
    assert draft.content
    assert msgspec.json.encode(mail.data)
    return "\n".join((draft.title, draft.content, *rendered, sms_text(mail.template, locale, mail.data)))


def without(event_type: str, *fields: str, **changes: Any) -> dict[str, Any]:
    return {name: value for name, value in told(event_type, **changes).items() if name not in fields}


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize(
    ("event_type", "field"), [(each, field) for each, fields in OPTIONAL.items() for field in fields]
)
def test_an_optional_field_that_cannot_be_used_never_costs_the_rest(
    event_type: str, field: str, locale: str
) -> None:
    expected = shown(without(event_type, field), locale)
    for wrong in UNUSABLE:
        assert shown(told(event_type, **{field: wrong}), locale) == expected, wrong
    for nothing in ("None", "null", "nan", "NaN", "[]", "{}", ": \n", " ,", "  ", "%("):
        assert nothing not in expected.partition("<")[0]


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("event_type", FLAT)
def test_only_what_is_required_is_enough(event_type: str, locale: str) -> None:
    text = shown(without(event_type, *OPTIONAL[event_type]), locale)
    assert "None" not in text
    assert text == shown(told(event_type, **dict.fromkeys(OPTIONAL[event_type])), locale)


@pytest.mark.parametrize("amount", [-0.01, -1, 1e12 + 1, 10**400, True, None, *NO_NUMBERS])
@pytest.mark.parametrize("event_type", FLAT)
def test_an_amount_that_is_none_is_left_out(event_type: str, amount: object) -> None:
    field = AMOUNTS[event_type]
    assert shown(told(event_type, **{field: amount})) == shown(without(event_type, field))


@pytest.mark.parametrize(
    ("amount", "same"),
    [
        ("25.50", 25.5),
        (" 25.5 ", 25.5),
        ("1e3", 1000),
        ("+7", 7),
        (".5", 0.5),
        ("0", 0),
        ("-0", 0),
        (-0.0, 0),
    ],
)
@pytest.mark.parametrize("event_type", FLAT)
def test_an_amount_may_be_a_numeric_string(event_type: str, amount: object, same: float) -> None:
    field = AMOUNTS[event_type]
    body = told(event_type, **{field: amount})
    assert shown(body) == shown(told(event_type, **{field: same}))
    draft = draft_of(body)
    assert json.loads(draft.raw_data)[field] == amount  # as it was sent
    assert text_in("en", draft.template_code, draft.raw_data.encode(), None) == (draft.title, draft.content)


@pytest.mark.parametrize(
    ("event_type", "field", "value", "same"),
    [
        ("booking.confirmed", "booking_id", 123, "123"),
        ("booking.confirmed", "movie_title", 1917, "1917"),
        ("booking.confirmed", "movie_title", 8.5, "8.5"),
        ("booking.confirmed", "seats", "A1", ["A1"]),
        ("booking.confirmed", "seats", "A1, A2,", ["A1", "A2"]),
        ("booking.confirmed", "seats", 7, ["7"]),
        ("booking.confirmed", "seats", [1, "A2", None, {}, " ", 3.0], ["1", "A2", "3"]),
        ("payment.success", "transaction_id", 456, "456"),
        ("payment.failed", "reason", 402, "402"),
        ("low_stock", "product_name", 7, "7"),
    ],
)
def test_a_value_in_another_spelling_is_used(
    event_type: str, field: str, value: object, same: object
) -> None:
    assert shown(told(event_type, **{field: value})) == shown(told(event_type, **{field: same}))


@pytest.mark.parametrize(
    ("event_type", "field", "value", "same"),
    [
        ("booking.confirmed", "booking_id", " BOOK-1\n", "BOOK-1"),
        ("booking.confirmed", "movie_title", " Dune\n  Part Two ", "Dune Part Two"),
        ("booking.confirmed", "seats", [" A1 ", "A2 "], ["A1", "A2"]),
        ("booking.confirmed", "user_email", " user@example.com\t", "user@example.com"),
        ("payment.failed", "retry_url", " https://example.com/pay ", "https://example.com/pay"),
        *(
            ("payment.failed", "reason", code, "card_declined")
            for code in ("CARD_DECLINED", "Card declined", "card-declined ")
        ),
        ("payment.success", "payment_method", "Credit Card", "credit_card"),
    ],
)
def test_blanks_and_capitals_make_no_difference(
    event_type: str, field: str, value: object, same: object
) -> None:
    assert shown(told(event_type, **{field: value})) == shown(told(event_type, **{field: same}))


@pytest.mark.parametrize(
    ("event_type", "field", "value", "text"),
    [
        ("payment.failed", "reason", "Not enough money", "Not enough money. Amount: 25.50."),
        ("payment.failed", "reason", "Declined!", "Declined! Amount: 25.50."),
        ("payment.failed", "reason", "No answer …", "No answer … Amount: 25.50."),
        ("booking.cancelled", "showtime", "7:30 p.m.", "Movie Name, 7:30 p.m. Seats"),
        ("booking.cancelled", "showtime", "when?", "Movie Name, when? Seats"),
    ],
)
def test_each_sentence_has_one_mark_at_its_end(event_type: str, field: str, value: str, text: str) -> None:
    assert text in draft_of(told(event_type, **{field: value})).content


def test_an_error_has_words_for_patterns() -> None:
    _, text = reason_of(told("payment.success", user_email="nobody", booking_id=" "))
    assert "Expected one mail address, such as user@example.com" in text
    _, text = reason_of(told("payment.success", booking_id=" "))
    assert "non-blank" in text


@pytest.mark.parametrize(
    ("showtime", "en", "vi"),
    [
        ("2024-12-15T19:30:00", "Dec 15, 2024, 7:30 PM", "15 thg 12, 2024, 19:30"),
        ("2024-12-15T19:30:00+07:00", "Dec 15, 2024, 7:30 PM", "15 thg 12, 2024, 19:30"),
        ("2024-12-15T12:30:00.000Z", "Dec 15, 2024, 12:30 PM UTC", "15 thg 12, 2024, 12:30 UTC"),
        (1734265800, "Dec 15, 2024, 12:30 PM UTC", "15 thg 12, 2024, 12:30 UTC"),
        (1734265800000, "Dec 15, 2024, 12:30 PM UTC", "15 thg 12, 2024, 12:30 UTC"),
        ("2024-12-15 7:30 PM", "2024-12-15 7:30 PM", "2024-12-15 7:30 PM"),
        ("2024-99-15T19:30:00", "2024-99-15T19:30:00", "2024-99-15T19:30:00"),
    ],
)
def test_a_showtime_is_told_as_people_write_it(showtime: object, en: str, vi: str) -> None:
    body = told("booking.confirmed", showtime=showtime)
    for locale, expected in (("en", en), ("vi", vi)):
        text = shown(body, locale).replace("\u202f", " ")
        assert f"Movie Name, {expected}." in text
        assert text.count(expected) >= 4  # content, mail as text and HTML, SMS


@pytest.mark.parametrize(
    ("body", "same"),
    [
        (
            without("payment.failed", "reason", failure_reason="card_expired"),
            told("payment.failed", reason="card_expired"),
        ),
        (
            told("payment.failed", reason="", failure_reason="card_expired"),
            told("payment.failed", reason="card_expired"),
        ),
        (told("payment.failed", failure_reason=None), told("payment.failed")),
        (told("payment.refund", refund_amount="12.5"), told("payment.refund", amount=12.5)),
        (told("payment.refund", refund_amount="half"), told("payment.refund")),
        (
            without("payment.refund", "transaction_id", refund_transaction_id="R-1"),
            told("payment.refund", transaction_id="R-1"),
        ),
    ],
)
def test_a_field_is_known_under_its_other_names(body: Mapping[str, Any], same: Mapping[str, Any]) -> None:
    assert shown(body) == shown(same)
    draft = draft_of(body)
    assert text_in("en", draft.template_code, draft.raw_data.encode(), None) == (draft.title, draft.content)


@pytest.mark.parametrize("locale", LOCALES)
def test_a_refund_of_a_booking_is_a_refund_under_another_name(locale: str) -> None:
    handler = HANDLERS[ALIASES["booking.refunded"]]
    body = told("payment.refund")
    assert handler.event_type == "payment.refund"
    assert shown(body, locale) == shown(body | {"event_type": handler.event_type}, locale)
    for alias, event_type in ALIASES.items():
        assert alias not in HANDLERS
        assert event_type in HANDLERS


@pytest.mark.parametrize("address", ["", "nobody", "a b@example.com", "a@b\r\nBcc: c@d", "@example.com"])
@pytest.mark.parametrize("event_type", PERSONAL)
def test_an_address_that_is_none_is_refused(event_type: str, address: str) -> None:
    reason, text = reason_of(told(event_type, user_email=address))
    assert reason == "bad_field"
    assert "user_email" in text


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "/pay", "ftp://example.com/", "https://a@b.example/", "", 5, [], {"url": "x"}],
)
def test_a_retry_url_that_no_mail_may_link_to_is_left_out(url: object) -> None:
    assert shown(told("payment.failed", retry_url=url)) == shown(without("payment.failed", "retry_url"))


@pytest.mark.parametrize("url", [None, "absent"])
def test_a_failed_payment_may_come_without_a_retry_url(url: object) -> None:
    body = told("payment.failed", retry_url=url)
    if url == "absent":
        del body["retry_url"]
    (mail,) = effects_of(body).deliveries
    assert "Try the payment again" not in RENDERER.render(mail.template, "en", mail.data).text


# Who is notified


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


NAMED = StockReceivers([uuid4(), uuid4()], [("email", "stock@example.com"), ("sms", "+84912345678")])


@pytest.mark.parametrize("receivers", [None, [], "", "absent"])
async def test_low_stock_without_receivers_goes_to_those_of_the_operator(receivers: object) -> None:
    body = body_of("low_stock", receivers=receivers)
    if receivers == "absent":
        del body["receivers"]
    hub = MemoryHub(handlers(600.0, stock_receivers=NAMED), off=["inventory.email", "inventory.sms"])
    assert await hub.publish(body) is None
    assert [len(hub.inbox(user)) for user in NAMED.users] == [1, 1]
    assert [(each.channel, each.address, each.status) for each in hub.deliveries] == [
        (channel, address, Status.PENDING) for channel, address in NAMED.addresses
    ]


async def test_low_stock_that_names_receivers_goes_to_them_alone() -> None:
    hub = MemoryHub(handlers(600.0, stock_receivers=NAMED))
    body = body_of("low_stock")
    assert await hub.publish(body) is None
    assert [len(hub.inbox(user)) for user in (UUID(body["receivers"][0]), *NAMED.users)] == [1, 0, 0]


@pytest.mark.parametrize("off", [[], ["inventory.email"]])
async def test_low_stock_that_reaches_nobody_is_kept_for_the_record(
    off: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    hub = MemoryHub(off=off)
    assert await hub.publish(body_of("low_stock", receivers=None)) is None
    [record] = hub.deliveries
    assert (record.status, record.reason) == (Status.SUPPRESSED, NOBODY)
    assert (record.template, record.address, record.user_id) == ("low_stock", None, None)
    assert record.data["product_name"] == "Espresso beans 1 kg"
    [warning] = [each for each in caplog.records if each.message == "event_reaches_nobody"]
    assert warning.levelname == "WARNING"


@pytest.mark.parametrize("receivers", ["456e7890-e89b-12d3-a456-426614174001", ["no-uuid"], [None], 5])
def test_receivers_that_are_none_are_refused(receivers: object) -> None:
    reason, text = reason_of(body_of("low_stock", receivers=receivers))
    assert reason == "bad_field"
    assert "receivers" in text


def test_low_stock_has_at_most_10_000_receivers() -> None:
    receivers = [str(UUID(int=number)) for number in range(MAX_RECEIVERS + 1)]
    assert len(effects_of(body_of("low_stock", receivers=receivers[1:])).deliveries) == 10_000
    assert reason_of(body_of("low_stock", receivers=receivers))[0] == "bad_field"


# Foreign ids

FOREIGN = [("user_123", "user_123"), (1, "1"), (7.0, "7"), ("x" * 200, "x" * 200), ("người 1", "người 1")]
NO_IDS: tuple[object, ...] = (None, "", "  ", "x" * 201, True, [], ["user_123"], {"id": 1}, 10**200)


@pytest.mark.parametrize(("user_id", "kept"), FOREIGN)
@pytest.mark.parametrize("event_type", PERSONAL)
async def test_an_event_with_a_foreign_user_id_is_mailed_and_the_id_kept(
    event_type: str, user_id: object, kept: str
) -> None:
    hub = MemoryHub()
    assert await hub.publish(body_of(event_type, user_id=user_id)) is None
    [mail] = hub.deliveries
    assert (mail.user_id, mail.foreign_user_id, mail.address) == (None, kept, "user@example.com")


@pytest.mark.parametrize("user_id", NO_IDS)
@pytest.mark.parametrize("event_type", PERSONAL)
def test_a_user_id_that_is_none_costs_nothing(event_type: str, user_id: object) -> None:
    effects = effects_of(body_of(event_type, user_id=user_id))
    assert effects == effects_of(body_of(event_type))


@pytest.mark.parametrize(("user_id", "kept"), FOREIGN)
async def test_mapped_foreign_ids_have_inboxes(user_id: object, kept: str) -> None:
    hub = MemoryHub(handlers(600.0, UserIds(NAMESPACE)))
    user = uuid5(NAMESPACE, kept)
    await hub.publish(body_of("booking.confirmed", user_id=user_id))
    await hub.publish(body_of("low_stock", receivers=[user_id, str(USER)]))
    await hub.publish({"type": "inapp", "user_id": user_id, "message": "x"})
    await hub.publish({"type": "inapp", "to": kept, "message": "x"})
    await hub.publish({"event_type": "account_logged_out", "user_id": user_id})
    assert [error for _, error in hub.rejected] == []
    assert [each.template_code for each in hub.inbox(user)] == [
        *("BOOKING.CONFIRMED", "LOW_STOCK", "MESSAGE", "MESSAGE")
    ]
    assert len(hub.inbox(USER)) == 1
    assert hub.deliveries[0].foreign_user_id == kept
    assert list(hub.bus.logouts) == [user]


@pytest.mark.parametrize("namespace", [None, NAMESPACE])
async def test_a_uuid_is_the_same_user_in_every_spelling(namespace: UUID | None) -> None:
    hub = MemoryHub(handlers(600.0, UserIds(namespace)))
    spellings = (str(USER), str(USER).upper(), USER.hex, f"{{{USER}}}", USER.urn, USER.urn.upper())
    for number, spelling in enumerate(spellings, 1):
        assert await hub.publish(body_of("booking.confirmed", user_id=spelling)) is None
        assert len(hub.inbox(USER)) == number
    assert {each.foreign_user_id for each in hub.deliveries} == {None}


@pytest.mark.parametrize(
    "event",
    [
        {"event_type": "low_stock", "product_name": "x", "receivers": ["user_123"]},
        {"event_type": "account_logged_out", "user_id": "user_123"},
        {"type": "inapp", "user_id": "user_123", "message": "x"},
        {"type": "inapp", "to": "user_123", "message": "x"},
        {"type": "email", "user_id": "user_123", "title": "x", "message": "x"},
    ],
)
async def test_what_needs_an_inbox_is_refused_with_a_foreign_id(event: dict[str, Any]) -> None:
    refused = await MemoryHub().publish(event)
    assert refused is not None
    assert refused.reason == "bad_field"


@pytest.mark.parametrize(("user_id", "kept"), FOREIGN)
async def test_a_message_to_an_address_keeps_a_foreign_id(user_id: object, kept: str) -> None:
    hub = MemoryHub()
    message = {"type": "sms", "to": "+84912345678", "user_id": user_id, "message": "x"}
    assert await hub.publish(message | {"data": None, "category": None, "urgent": None}) is None
    assert [(each.user_id, each.foreign_user_id) for each in hub.deliveries] == [(None, kept)]


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


# Numbers as they are sent


@pytest.mark.parametrize(
    ("number", "amount", "text"),
    [
        ("25.50", "25.50", "25.50"),
        ("25.5", "25.50", "25.5"),
        ("1e3", "1,000", "1000"),
        *((seven, "7", "7") for seven in ("7", "7.0", "7.00")),
    ],
)
@pytest.mark.parametrize(
    ("event_type", "name"), [("booking.confirmed", "booking_id"), ("low_stock", "product_name")]
)
async def test_a_number_means_the_same_however_it_is_written(
    event_type: str, name: str, number: str, amount: str, text: str
) -> None:
    hub, user = MemoryHub(), uuid4()
    fields = {"user_id": str(user), "receivers": [str(user)], name: "number", AMOUNTS[event_type]: "number"}
    body = json.dumps(body_of(event_type) | fields).encode()
    assert await hub.publish(body.replace(b'"number"', number.encode())) is None
    [notification] = hub.inbox(user)
    assert f": {amount}." in notification.content
    assert f"{text} " in notification.title
