"""Characters that stay, those that go, and names that run from right to left in a sentence."""

from __future__ import annotations

import msgspec
import pytest

from app.domain.errors import InvalidEvent
from app.domain.events import decode
from app.testing import MemoryHub
from app.texts import hygiene
from app.texts.brand import Brand
from app.texts.hygiene import clean, clean_values, is_visible, isolated, single_line
from app.texts.i18n import LOCALES, N_, render
from app.texts.rendering import MailRenderer, one_line, sms_text

ADDED = N_("%(requester_username)s removed you from the group %(group_name)s.")


@pytest.mark.parametrize(
    "text",
    [
        "Sale 🫨 𱍐",  # Unicode 15
        "Sale \U0001fae9 \U0001cc00",  # 16
        "New \U0001fac8 \U000323b0",  # 17 and what is to come
        "👩‍🍳 🏳️‍🌈 🇻🇳 🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f ✈️ 1️⃣",
        "नमस्ते क्‍ष می‌خواهم",
        "\u2068דנה\u2069 is here",
    ],
)
def test_letters_and_emoji_of_any_age_are_kept(text: str) -> None:
    assert clean(text) == text
    assert one_line(text) == text
    mail = MailRenderer(Brand("Hub", "#0b6e99")).render("plain", "en", {"title": text, "message": text})
    assert mail.subject == text
    assert text in mail.text
    assert text in mail.html
    assert text in sms_text("plain", "en", {"title": text, "message": "x"})


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a\x00b\x07c\x1bd\x7fe\x85f", "abcdef"),
        ("a\ud83db\udc00c", "abc"),
        ("a\u202eb\u202dc\u202ad\u202be\u202c", "abcde"),
        ("a\u2067b", "ab"),
        ("a\u2069b\u2068", "ab"),
        ("a\tb\nc", "a\tb\nc"),
    ],
)
def test_controls_surrogates_and_bidi_overrides_go(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned
    assert clean_values({"a": [text, 1, None]}) == {"a": [cleaned, 1, None]}
    assert single_line(text).replace(" ", "") == "".join(cleaned.split())


@pytest.mark.parametrize("end", ["\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\t", "\u3000"])
def test_what_ends_a_line_separates_words(end: str) -> None:
    assert single_line(f"Hello{end}world{end}") == "Hello world"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("דנה", "\u2068דנה\u2069"),
        ("سامي (Sami)", "\u2068سامي (Sami)\u2069"),
        ("eve\u202egnp.exe", "evegnp.exe"),
        ("\u2067eve", "eve"),
        ("דנה\u2069\u202e", "\u2068דנה\u2069"),
        ("Nguyễn Văn Ánh", "Nguyễn Văn Ánh"),
        ("Мария", "Мария"),
        ("Dana", "Dana"),
    ],
)
@pytest.mark.parametrize("locale", LOCALES)
def test_a_name_in_a_sentence_turns_no_other_words(locale: str, name: str, shown: str) -> None:
    plain = render(locale, ADDED, {"requester_username": "\0", "group_name": "Home"})
    assert render(locale, ADDED, {"requester_username": name, "group_name": "Home"}) == plain.replace(
        "\0", shown
    )
    assert isolated(name) == shown


def test_what_is_taken_for_left_to_right_at_once_has_nothing_that_turns() -> None:
    plain = [chr(code) for code in range(0x3000) if hygiene._LEFT_TO_RIGHT.fullmatch(chr(code))]
    assert hygiene._RIGHT_TO_LEFT.search("".join(plain)) is None
    assert {*"aZ0 \n", "ж", "ệ"} <= {*plain}


def test_a_name_is_isolated_in_mail_and_sms_too() -> None:
    data = {"product_name": "חלב\u202e", "current_stock": 3, "threshold": 10}
    mail = MailRenderer(Brand("Hub", "#0b6e99")).render("low_stock", "en", data)
    assert mail.subject == "\u2068חלב\u2069 is running low"
    assert sms_text("low_stock", "en", data).startswith("\u2068חלב\u2069 is running low")
    assert "\u202e" not in mail.html + mail.text


@pytest.mark.parametrize(
    ("text", "visible"),
    [
        ("a", True),
        ("🫨", True),
        ("\U0001cc00", True),
        (".", True),
        ("", False),
        (" \n\t\u3000", False),
        ("\u200b\ufeff\u2060", False),
        ("\u202e\u2068\u2069", False),
        ("\u3164\u115f\u2800", False),
        ("\u00ad\ufe0f\u200d", False),
    ],
)
def test_what_a_reader_sees(text: str, visible: bool) -> None:
    assert is_visible(text) is visible


@pytest.mark.parametrize("blank", [" ", "\u200b", "\u202e\n", "\u3164"])
@pytest.mark.parametrize(
    ("channel", "field"), [("email", "message"), ("email", "html"), ("email", "title"), ("sms", "message")]
)
async def test_a_text_that_shows_nothing_is_refused(channel: str, field: str, blank: str) -> None:
    to = "user@example.com" if channel == "email" else "+84912345678"
    event = {"type": channel, "to": to, "message": "x", field: blank}
    refused = await MemoryHub().publish(event, source="rabbitmq")
    assert refused is not None
    assert f"`{field}` has no visible character" in str(refused)


@pytest.mark.parametrize("text", [r"\ud83d", r"\ud83dx", r"\udc00", r"\ud83d\ud83d", r"a\\\ud800\n"])
def test_half_a_surrogate_pair_is_refused_in_words(text: str) -> None:
    with pytest.raises(InvalidEvent, match="surrogate") as refused:
        decode(f'{{"type": "email", "title": "{text}"}}'.encode(), "key")
    assert refused.value.reason == "not_json"


@pytest.mark.parametrize("text", [r"\ud83d\ude00", r"\\ud83d", r"\u0041", "😀"])
def test_a_whole_pair_is_read(text: str) -> None:
    message = f'{{"type": "email", "title": "{text}"}}'.encode()
    assert decode(message, "key").body == msgspec.json.decode(message)
    with pytest.raises(InvalidEvent, match="truncated"):
        decode(message[:-1], "key")
