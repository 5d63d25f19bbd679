"""Every event type: what it needs, who is notified, and what they read."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from babel.messages.catalog import Catalog

import handlers
from app.dev import catalogues, samples
from app.domain.deliveries import DeliveryDraft
from app.domain.effects import TokenBound
from app.domain.errors import InvalidEvent
from app.domain.notifications import Group, NotificationDraft
from app.settings.sources import TOPIC_VARIABLES
from app.testing import MemoryHub
from app.texts.i18n import LOCALES, Translatable
from app.texts.shortening import shortened
from handlers.base import (
    MAX_DATA_BYTES,
    Audience,
    BaseMessageHandler,
    GroupData,
    GroupEventHandler,
    NotificationHandler,
)
from handlers.fields import MAX_RECEIVERS
from handlers.registry import HANDLERS, text_in
from handlers.registry import handlers as handlers_with

CHANGES_OF_BEFORE = {"notification_updated", "notification_retracted"}
"""By themselves they have no effect."""
GROUP_TYPES = sorted(name for name, handler in HANDLERS.items() if isinstance(handler, GroupEventHandler))
AUDIENCES = {
    **dict.fromkeys(("group_user_added", "group_user_removed"), Audience.RECEIVERS),
    **dict.fromkeys(("plan_assigned", "plan_reported", "plan_expired"), Audience.RECEIVERS),
    **dict.fromkeys(("group_user_left", "group_head_chef_updated"), Audience.GROUP),
    **dict.fromkeys(("food_expiring_soon", "food_expired"), Audience.GROUP),
    "daily_meal": Audience.HEAD_CHEF,
}
"""Who is notified without `receivers`, by contract. A new type needs no entry: its class says it."""
CATEGORIES = {
    "message": "messages",
    "group": "groups",
    "food": "food",
    "plan": "plans",
    "daily": "meals",
    "account": "accounts",
    "booking": "bookings",
    "payment": "payments",
    "low": "inventory",
    "otp": "security",
}
URGENT = {"otp_register", "otp_reset_password", "otp_change_email", "payment.failed"}
WRONG_FIELDS: list[tuple[str, str, object]] = [
    *((event_type, "requester_username", 5) for event_type in ("group_user_added", "group_user_removed")),
    ("group_head_chef_updated", "new_head_chef_username", None),
    ("group_head_chef_updated", "requester_username", ["mai"]),
    ("food_expiring_soon", "unit_name", 5),
    ("food_expiring_soon", "storage_name", {}),
    ("food_expiring_soon", "expiration_date", 20261124),
    ("food_expired", "unit_name", None),
    ("food_expired", "storage_name", "x" * 501),
    *((event_type, "plan_id", "41") for event_type in ("plan_assigned", "plan_reported", "plan_expired")),
    *((event_type, "deadline", 5) for event_type in ("plan_assigned", "plan_expired")),
    *((event_type, "assignee_username", True) for event_type in ("plan_assigned", "plan_reported")),
    *(("daily_meal", meal, "Phở gà") for meal in ("breakfast", "lunch", "dinner")),
]
MEMBERS = (uuid4(), uuid4(), uuid4())
GROUP = Group("Nhà mình", MEMBERS, (MEMBERS[1],))


def body_of(event_type: str, /, **data: Any) -> dict[str, Any]:
    """The sample, with `data` changed."""
    message: dict[str, Any] = json.loads(json.dumps(samples.load(event_type).message))
    if data:
        message["data"] |= data
    return message


def group_needed(body: Mapping[str, Any]) -> UUID | None:
    handler = HANDLERS[body["event_type"]]
    return handler.group_needed(handler.parse(body))


def draft_of(body: Mapping[str, Any], locale: str = "en", group: Group = GROUP) -> NotificationDraft:
    """What the pipeline would store."""
    handler = HANDLERS[body["event_type"]]
    message = handler.parse(body)
    needed = handler.group_needed(message)
    draft = handler.handle(message, body, group if needed else None, locale).notification
    assert draft is not None
    return draft


def reason_of(body: Mapping[str, Any], group: Group = GROUP) -> tuple[str, str]:
    with pytest.raises(InvalidEvent) as refused:
        draft_of(body, group=group)
    return refused.value.reason, str(refused.value)


# Adding an event type


def gaps(
    classes: Collection[type[BaseMessageHandler[Any]]],
    registry: Mapping[str, BaseMessageHandler[Any]],
    sampled: Collection[str],
    texts: Mapping[str, Catalog],
) -> list[str]:
    """What is missing until each event type has its class, its registry line, its texts and its sample."""
    registered = {type(handler) for handler in registry.values()}
    named = [f"registry.py: no line for {c.__name__}" for c in classes if c not in registered]
    named += [f"handlers/: no class for the sample {name}.json" for name in sampled if name not in registry]
    named += [f"app/dev/events: no sample {name}.json" for name in registry if name not in sampled]
    for handler in registry.values():
        if isinstance(handler, NotificationHandler):
            for locale, catalogue in texts.items():
                texts_of_it = [
                    text for text in vars(type(handler)).values() if isinstance(text, Translatable)
                ]
                for text in texts_of_it:
                    found = catalogue.get(text.singular)
                    if found is None or not found.string:
                        named.append(f"locales/{locale}: no text for {handler.event_type}: {text.singular}")
    return named


def classes() -> Iterator[type[BaseMessageHandler[Any]]]:
    """Every handler class in `handlers/` that has an event type."""
    for module in pkgutil.iter_modules(handlers.__path__):
        for found in vars(importlib.import_module(f"handlers.{module.name}")).values():
            if (
                isinstance(found, type)
                and issubclass(found, BaseMessageHandler)
                and hasattr(found, "event_type")
            ):
                yield found


def catalogues_now() -> dict[str, Catalog]:
    return {locale: catalogues.read(locale) for locale in LOCALES}


def test_no_event_type_misses_its_class_registry_line_texts_or_sample() -> None:
    assert gaps(set(classes()), HANDLERS, samples.event_types(), catalogues_now()) == []


class Invented(GroupEventHandler[GroupData]):
    event_type = "invented"
    data_type = GroupData
    title = Translatable("Invented!")
    content = Translatable("Somebody invented %(group_name)s.")


def test_what_an_added_event_type_still_misses_is_named() -> None:
    texts = {"ru": catalogues.read("ru")}
    known = samples.event_types()
    assert gaps({Invented}, HANDLERS, known, texts) == ["registry.py: no line for Invented"]
    assert gaps(set(), HANDLERS, [*known, "invented"], texts) == [
        "handlers/: no class for the sample invented.json"
    ]
    assert gaps({Invented}, {**HANDLERS, "invented": Invented()}, known, texts) == [
        "app/dev/events: no sample invented.json",
        "locales/ru: no text for invented: Invented!",
        "locales/ru: no text for invented: Somebody invented %(group_name)s.",
    ]


@pytest.mark.parametrize("event_type", samples.event_types())
def test_a_sample_is_of_the_type_its_file_is_named_after(event_type: str) -> None:
    sample = samples.load(event_type)
    says = sample.message.get("event_type") or f"otp_{sample.message['action']}"
    assert says == event_type
    assert sample.setting in TOPIC_VARIABLES


@pytest.mark.parametrize("event_type", sorted({*samples.event_types()} - CHANGES_OF_BEFORE))
async def test_a_sample_has_effects_once_however_often_it_is_published(event_type: str) -> None:
    hub, message = MemoryHub(), samples.load(event_type).message | {"event_id": "once"}
    if "group_id" in message:
        hub.groups.add(UUID(message["group_id"]), GROUP.name, MEMBERS, head_chef=MEMBERS[1])
    for _ in range(2):
        assert await hub.publish(message, event_type=event_type) is None
    told = [*message.get("receivers", ()), message.get("user_id"), *MEMBERS]
    inboxes = [hub.inbox(UUID(str(user))) for user in dict.fromkeys(told) if user]
    assert all(len(inbox) <= 1 for inbox in inboxes)
    assert any(inboxes) or hub.deliveries or hub.bus.logouts
    assert len({each.id for each in hub.deliveries}) == len(hub.deliveries)


@pytest.mark.parametrize("event_type", sorted(HANDLERS))
def test_each_type_has_the_category_that_people_choose_by(event_type: str) -> None:
    """A new type needs no entry in the table: a category that does not exist is refused by its class."""
    if (first_word := re.split("[._]", event_type)[0]) not in CATEGORIES:
        return
    assert HANDLERS[event_type].category == CATEGORIES[first_word]
    assert HANDLERS[event_type].urgent is (event_type in URGENT)


# Texts


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("event_type", GROUP_TYPES)
def test_each_type_has_a_title_and_content_with_every_place_filled(event_type: str, locale: str) -> None:
    draft = draft_of(body_of(event_type), locale)
    for text in (draft.title, draft.content):
        assert text
        assert "%" not in text
    assert draft.template_code == event_type.upper()


@pytest.mark.parametrize("event_type", GROUP_TYPES)
def test_each_locale_has_words_of_its_own(event_type: str) -> None:
    drafts = [draft_of(body_of(event_type), locale) for locale in LOCALES]
    assert len({draft.title for draft in drafts}) == len({draft.content for draft in drafts}) == len(LOCALES)


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("event_type", GROUP_TYPES)
def test_the_texts_can_be_made_again_from_what_is_stored(event_type: str, locale: str) -> None:
    stored = draft_of(body_of(event_type), "vi")
    wanted = draft_of(body_of(event_type), locale)
    raw_data = json.dumps(json.loads(stored.raw_data), sort_keys=True).encode()  # jsonb keeps no order
    text = text_in(locale, stored.template_code, raw_data, stored.group_name, stored.title)
    assert text == (wanted.title, wanted.content)


@pytest.mark.parametrize(
    ("template_code", "raw_data"),
    [
        ("NO_LONGER_HANDLED", b"{}"),
        ("ACCOUNT_LOGGED_OUT", b"{}"),
        ("", b"{}"),
        ("GROUP_USER_ADDED", b"{}"),
        ("GROUP_USER_ADDED", b'{"requester_username": 5}'),
        ("GROUP_USER_ADDED", b"[]"),
        ("FOOD_EXPIRING_SOON", b'{"unit_name": "a", "storage_name": "b", "expiration_date": "2026-11-24"}'),
    ],
)
def test_what_is_no_longer_handled_has_no_other_text(template_code: str, raw_data: bytes) -> None:
    assert text_in("ru", template_code, raw_data, "Family Group") is None


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize(
    "name",
    ["{{7*7}}", "%(x)s", "%(group_name)s", "%s %d %%", "{0}", "{group_name}", "<script>alert(1)</script>"],
)
def test_whatever_a_name_looks_like_it_stays_as_it_is(name: str, locale: str) -> None:
    draft = draft_of(body_of("group_user_added", requester_username=name, group_name=name), locale)
    assert draft.content.count(name) == 2
    assert name in draft.title
    assert draft.group_name == name
    assert json.loads(draft.raw_data)["requester_username"] == name
    text = text_in(locale, draft.template_code, draft.raw_data.encode(), draft.group_name)
    assert text == (draft.title, draft.content)


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize(
    "name", ["a" * 240, "a" * 255, "a" * 256, "\U0001f1fb\U0001f1f3" * 500, "Hội " * 1000]
)
def test_texts_have_the_documented_lengths_in_every_language(name: str, locale: str) -> None:
    draft = draft_of(body_of("group_user_added", group_name=name), "vi")
    assert draft.group_name == shortened(name, 255)
    assert draft.group_name in draft.content
    text = text_in(locale, draft.template_code, draft.raw_data.encode(), draft.group_name)
    assert text is not None
    for title in (draft.title, text.title):
        assert len(title) <= 255
        assert title.endswith("…") or name in title
    message = {
        "event_type": "message",
        "type": "inapp",
        "user_id": str(uuid4()),
        "title": name,
        "message": "m",
    }
    assert draft_of(message).title == shortened(name, 255)


@pytest.mark.parametrize("locale", LOCALES)
def test_an_empty_meal_is_said_to_be_not_planned(locale: str) -> None:
    not_planned = {"vi": "chưa lên kế hoạch", "en": "not planned yet", "ru": "пока не запланировано"}[locale]
    draft = draft_of(body_of("daily_meal", breakfast=["Phở gà"], lunch=[], dinner=[]), locale)
    assert draft.content.count(not_planned) == 2
    assert "Phở gà" in draft.content


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 блюд."), (1, "1 блюдо."), (2, "2 блюда."), (5, "5 блюд."), (11, "11 блюд."), (21, "21 блюдо.")],
)
def test_russian_counts_dishes_as_russians_do(count: int, words: str) -> None:
    draft = draft_of(body_of("daily_meal", breakfast=["суп"] * count, lunch=[], dinner=[]), "ru")
    assert words in draft.content


def test_english_has_one_dish_and_several_dishes() -> None:
    for count, words in ((1, "1 dish "), (2, "2 dishes "), (0, "0 dishes ")):
        draft = draft_of(body_of("daily_meal", breakfast=[], lunch=["a"] * count, dinner=[]))
        assert draft.content.startswith(words)


@pytest.mark.parametrize(("locale", "day"), [("en", "Feb 1, 2027"), ("vi", "1 thg 2"), ("ru", "1 февр.")])
def test_a_date_is_written_as_the_locale_does(locale: str, day: str) -> None:
    draft = draft_of(body_of("food_expiring_soon", expiration_date="01/02/2027"), locale)
    assert day in draft.content
    assert "2027" in draft.content
    assert json.loads(draft.raw_data)["expiration_date"] == "01/02/2027"


@pytest.mark.parametrize("day", ["31/02/2027", "2027-02-01", "02/13/2027", "", "tomorrow", "01/02/27"])
def test_a_date_that_is_none_is_refused(day: str) -> None:
    reason, text = reason_of(body_of("food_expiring_soon", expiration_date=day))
    assert reason == "bad_field"
    assert "expiration_date" in text


@pytest.mark.parametrize("locale", LOCALES)
def test_an_abbreviation_at_the_end_of_a_date_needs_no_second_full_stop(locale: str) -> None:
    assert ".." not in draft_of(body_of("food_expiring_soon"), locale).content  # Russian: 24 нояб. 2026 г.


def test_a_blank_dish_is_no_dish() -> None:
    draft = draft_of(body_of("daily_meal", breakfast=["", "Phở", " "], lunch=[""], dinner=[]))
    assert draft.content == "1 dish today. Breakfast: Phở. Lunch: not planned yet. Dinner: not planned yet."


# What is checked


@pytest.mark.parametrize(("event_type", "field", "wrong"), WRONG_FIELDS)
def test_a_missing_or_wrong_field_is_named(event_type: str, field: str, wrong: object) -> None:
    without = body_of(event_type)
    del without["data"][field]
    for body in (without, body_of(event_type, **{field: wrong})):
        reason, text = reason_of(body)
        assert reason == "bad_field"
        assert field in text
        assert event_type in text


@pytest.mark.parametrize("event_type", GROUP_TYPES)
@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("group_id", None),
        ("group_id", "no-uuid"),
        ("data", None),
        ("data", []),
        ("receivers", "456e7890-e89b-12d3-a456-426614174001"),
        ("receivers", ["no-uuid"]),
        ("receivers", [None]),
        ("receivers", {}),
        ("receivers", 5),
        ("receivers", [[str(uuid4())]]),
        ("receivers", [str(uuid4())] * (MAX_RECEIVERS + 1)),
    ],
)
def test_a_wrong_envelope_is_refused_naming_the_field(event_type: str, field: str, wrong: object) -> None:
    if (event_type, field) == ("group_user_left", "data"):  # nothing in it is required
        return
    reason, text = reason_of(body_of(event_type) | {field: wrong})
    assert reason == "bad_field"
    assert field in text


@pytest.mark.parametrize("field", ["group_id", "data"])
def test_group_id_and_data_have_to_be_there(field: str) -> None:
    body = body_of("group_user_added")
    del body[field]
    assert reason_of(body)[0] == "bad_field"


def test_unknown_fields_are_kept_in_raw_data() -> None:
    body = body_of("group_user_added", avatar={"url": "x"}) | {
        "event_id": "e",
        "timestamp": "now",
        "trace": [1],
    }
    assert json.loads(draft_of(body).raw_data) == {
        "requester_username": "john_doe",
        "avatar": {"url": "x"},
        "timestamp": "now",
        "trace": [1],
    }


def test_data_wins_over_the_envelopes_unknown_fields() -> None:
    body = body_of("group_user_added") | {"requester_username": "the envelope's"}
    assert json.loads(draft_of(body).raw_data)["requester_username"] == "john_doe"


def test_raw_data_is_kept_up_to_its_limit_and_refused_beyond() -> None:
    room = MAX_DATA_BYTES - len('{"requester_username":"john_doe","more":""}')
    assert len(draft_of(body_of("group_user_added", more="x" * room)).raw_data) == MAX_DATA_BYTES
    assert reason_of(body_of("group_user_added", more="x" * (room + 1)))[0] == "data_too_large"
    assert reason_of(body_of("group_user_added") | {"more": "é" * MAX_DATA_BYTES})[0] == "data_too_large"


# Who is notified


@pytest.mark.parametrize("event_type", GROUP_TYPES)
def test_named_receivers_are_notified_and_nobody_else(event_type: str) -> None:
    receivers = [uuid4(), uuid4()]
    body = body_of(event_type, group_name="Family Group") | {"receivers": [str(user) for user in receivers]}
    assert group_needed(body) is None
    draft = draft_of(body)
    assert list(draft.receivers) == receivers
    assert draft.group_name == "Family Group"
    assert str(draft.group_id) == body["group_id"]


@pytest.mark.parametrize("receivers", [None, [], "absent"])
@pytest.mark.parametrize("event_type", GROUP_TYPES)
def test_without_receivers_the_types_own_audience_is_notified(event_type: str, receivers: Any) -> None:
    body = body_of(event_type, group_name="Family Group")
    body.pop("receiver_is_head_chef", None)
    body["receivers"] = receivers
    if receivers == "absent":
        del body["receivers"]
    handler = HANDLERS[event_type]
    assert isinstance(handler, GroupEventHandler)
    audience = AUDIENCES.get(event_type, handler.audience)
    if audience is Audience.RECEIVERS:
        assert reason_of(body)[0] == "no_receivers"
        return
    assert str(group_needed(body)) == body["group_id"]
    told = GROUP.members if audience is Audience.GROUP else GROUP.head_chefs
    assert tuple(draft_of(body).receivers) == told


@pytest.mark.parametrize("event_type", GROUP_TYPES)
def test_with_receiver_is_head_chef_the_head_chef_alone_is_notified(event_type: str) -> None:
    body = body_of(event_type) | {"receivers": [], "receiver_is_head_chef": True}
    assert str(group_needed(body)) == body["group_id"]
    assert tuple(draft_of(body).receivers) == GROUP.head_chefs


@pytest.mark.parametrize("name", [{}, {"group_name": None}, {"group_name": ""}])
@pytest.mark.parametrize("event_type", GROUP_TYPES)
def test_a_missing_group_name_is_asked_for(event_type: str, name: dict[str, Any]) -> None:
    receiver = uuid4()
    body = body_of(event_type, **name) | {"receivers": [str(receiver)]}
    assert str(group_needed(body)) == body["group_id"]
    draft = draft_of(body)
    assert draft.group_name == GROUP.name
    assert list(draft.receivers) == [receiver]


def test_the_events_own_group_name_stands_before_the_user_services() -> None:
    assert draft_of(body_of("food_expired", group_name="Family Group")).group_name == "Family Group"


def test_a_receiver_named_twice_is_notified_once() -> None:
    first, second = uuid4(), uuid4()
    body = body_of("group_user_added") | {"receivers": [str(user) for user in (first, second, first)]}
    assert list(draft_of(body).receivers) == [first, second]


def test_an_event_has_at_most_10_000_receivers() -> None:
    receivers = [str(uuid4()) for _ in range(MAX_RECEIVERS)]
    assert len(draft_of(body_of("group_user_added") | {"receivers": receivers}).receivers) == 10_000
    reason, text = reason_of(body_of("group_user_added") | {"receivers": [*receivers, str(uuid4())]})
    assert reason == "bad_field"
    assert "receivers" in text


@pytest.mark.parametrize(
    ("event_type", "group"),
    [("food_expired", Group("Empty", (), ())), ("daily_meal", Group("No chef", MEMBERS, ()))],
)
def test_a_group_without_anyone_to_notify_is_refused(event_type: str, group: Group) -> None:
    assert reason_of(body_of(event_type), group)[0] == "no_receivers"


def test_a_logout_disconnects_the_user_and_notifies_nobody() -> None:
    body = body_of("account_logged_out")
    handler = HANDLERS["account_logged_out"]
    message = handler.parse(body)
    assert handler.group_needed(message) is None
    effects = handler.handle(message, body, None, "en")
    assert str(effects.disconnect) == body["user_id"]
    assert effects.notification is None
    at = datetime.fromisoformat(body["timestamp"]).timestamp()
    assert effects.logged_out.token_ids == (body["access_token_id"],)
    assert at < effects.logged_out.issued_until < at + 1, "the timestamp is in whole seconds"


@pytest.mark.parametrize(
    "spelled", [str.upper, str.lower, "{{{}}}".format, lambda text: text.replace("-", "")]
)
def test_a_logout_names_its_token_in_any_spelling(spelled: Callable[[str], str]) -> None:
    body = body_of("account_logged_out")
    written = body | {"access_token_id": spelled(body["access_token_id"])}
    handler = HANDLERS["account_logged_out"]
    bound = handler.handle(handler.parse(written), written, None, "en").logged_out
    for token_id in (body["access_token_id"], body["access_token_id"].upper(), written["access_token_id"]):
        assert bound.covers(bound.issued_until + 60, token_id)
    assert not bound.covers(bound.issued_until + 60, "another")


@pytest.mark.parametrize("unusable", [{"timestamp": "now"}, {"timestamp": None}, {"timestamp": {}}])
def test_a_logout_without_a_time_ends_all(unusable: dict[str, object]) -> None:
    handler = HANDLERS["account_logged_out"]
    body = {**body_of("account_logged_out"), "access_token_id": 5, **unusable}
    assert handler.handle(handler.parse(body), body, None, "en").logged_out == TokenBound()


@pytest.mark.parametrize("user", [None, 5, "", "no-uuid"])
def test_a_logout_of_nobody_is_refused(user: object) -> None:
    with pytest.raises(InvalidEvent, match="user_id"):
        HANDLERS["account_logged_out"].parse(body_of("account_logged_out") | {"user_id": user})


@pytest.mark.parametrize("action", ["register", "reset_password", "change_email"])
def test_a_code_is_mailed_and_stands_nowhere_in_plain(action: str) -> None:
    handler = HANDLERS[f"otp_{action}"]
    body = body_of(f"otp_{action}")
    (draft,) = handler.handle(handler.parse(body), body, None, "ru").deliveries
    assert (draft.channel, draft.template, draft.address) == ("email", f"otp_{action}", "user@example.com")
    assert draft.locale == "ru"
    assert draft.secret == {"code": "482913"}
    assert "482913" not in str((draft.data, draft.replaces))
    assert draft.valid_for == 600


@pytest.mark.parametrize(
    "spelled",
    [
        "User@example.com",
        "user@EXAMPLE.com",
        "user@example.com.",
        "user@example.com\u200b",
        "user@ⓔxample.com",
    ],
)
def test_an_address_in_another_spelling_shares_its_limits(spelled: str) -> None:
    def asked(address: str) -> DeliveryDraft:
        body = body_of("otp_register") | {"email": address}
        handler = HANDLERS["otp_register"]
        (draft,) = handler.handle(handler.parse(body), body, None, "en").deliveries
        return draft

    usual, other = asked("user@example.com"), asked(spelled)
    assert (other.replaces, other.limit_key) == (usual.replaces, usual.limit_key)
    assert (other.address or "").lower() == "user@example.com"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"action": "change_email"}, "wrong_action"),
        ({"email": "no address"}, "bad_field"),
        ({"email": "a@b\r\nBcc: c@d"}, "bad_field"),
        ({"otp_code": "4 8 2"}, "bad_field"),
        ({"otp_code": 482913}, "bad_field"),
        ({"otp_code": None}, "bad_field"),
    ],
)
def test_a_wrong_request_for_a_code_is_refused_without_quoting_it(
    change: dict[str, Any], reason: str
) -> None:
    handler = HANDLERS["otp_register"]
    body = body_of("otp_register") | change
    with pytest.raises(InvalidEvent) as refused:
        handler.handle(handler.parse(body), body, None, "en")
    assert refused.value.reason == reason
    assert "482913" not in str(refused.value)


def test_how_long_a_code_holds_is_a_setting() -> None:
    handler = handlers_with(120.0)["otp_register"]
    body = body_of("otp_register")
    (draft,) = handler.handle(handler.parse(body), body, None, "en").deliveries
    assert (draft.valid_for, draft.data) == (120.0, {"minutes": 2})


# What can't be used


@pytest.mark.parametrize("name", [True, [], {}, ["Family Group"], " ", "\t"])
@pytest.mark.parametrize("event_type", GROUP_TYPES)
def test_a_group_name_that_is_none_is_asked_for(event_type: str, name: object) -> None:
    body = body_of(event_type, group_name=name) | {"receivers": [str(uuid4())]}
    assert str(group_needed(body)) == body["group_id"]
    draft = draft_of(body)
    assert draft.group_name == GROUP.name
    text = text_in("en", draft.template_code, draft.raw_data.encode(), draft.group_name)
    assert text == (draft.title, draft.content)


@pytest.mark.parametrize(
    ("value", "head_chef_only"),
    [
        *(("true", True), ("YES", True), (1, True), ("1", True), (1.0, True), ("false", False), (0, False)),
        *((None, False), ("", False), ("maybe", False), (2, False), ([], False), ({}, False)),
    ],
)
def test_receiver_is_head_chef_is_read_as_it_is_meant(value: object, head_chef_only: bool) -> None:
    draft = draft_of(body_of("food_expired") | {"receiver_is_head_chef": value})
    assert tuple(draft.receivers) == (GROUP.head_chefs if head_chef_only else GROUP.members)


@pytest.mark.parametrize("event_type", GROUP_TYPES)
def test_receivers_that_can_be_used_are_notified_beside_those_that_cannot(event_type: str) -> None:
    user = uuid4()
    spellings = [str(user), str(user).upper(), user.hex, f"{{{user}}}", user.urn, user.urn.upper()]
    body = body_of(event_type) | {"receivers": ["user_123", None, 5, *spellings, {}]}
    assert list(draft_of(body).receivers) == [user]


def test_an_empty_list_of_receivers_is_none() -> None:
    assert draft_of(body_of("food_expired") | {"receivers": ""}).receivers == GROUP.members
