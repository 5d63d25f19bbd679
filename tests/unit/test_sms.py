"""How SMS are counted, put into GSM-7, refused and cut."""

from __future__ import annotations

import pytest

from app.testing import MemoryHub
from app.texts.sms import MAX_SEGMENTS, Segments, SmsLimit, TooLong, in_gsm7, segments, shortened

URL = "https://x.example/confirm?token=abcdefghijklmnopqrstuvwxyz0123456789"


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        ("", Segments(1, True)),
        ("x" * 160, Segments(1, True)),
        ("x" * 161, Segments(2, True)),
        ("x" * 306, Segments(2, True)),
        ("x" * 307, Segments(3, True)),
        ("€" * 80, Segments(1, True)),
        ("€" * 81, Segments(2, True)),
        ("x" * 152 + "€" * 78, Segments(3, True)),  # no € is divided between two
        ("{}[]~^\\|" * 10, Segments(1, True)),
        ("Mã của bạn", Segments(1, False)),
        ("ạ" * 70, Segments(1, False)),
        ("ạ" * 71, Segments(2, False)),
        ("ạ" * 135, Segments(3, False)),
        ("😀" * 35, Segments(1, False)),
        ("😀" * 36, Segments(2, False)),
        ("ạ" * 66 + "😀" * 3, Segments(2, False)),
        ("x" * 999 + "…", Segments(15, False)),
        ("x" * 1000, Segments(7, True)),
        ("x" * 10_000, Segments(66, True)),
    ],
)
def test_segments_are_those_of_the_standard(text: str, counted: Segments) -> None:
    assert segments(text) == counted


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("“It’s ready” – at 7…", '"It\'s ready" - at 7...'),
        ("a\u00a0b\u2003c", "a b c"),
        ("Ответ – да…", "Ответ – да…"),
        ("Café “Ñandú”", "Café “Ñandú”"),  # ú isn't in it
        ("Ça va à Øresund", "Ça va à Øresund"),
        ("Cafe\u0301 n\u0303", "Café ñ"),  # letters and their marks, apart
        ("Vie\u0323\u0302t", "Việt"),
    ],
)
def test_typography_costs_no_gsm_7(text: str, plain: str) -> None:
    assert in_gsm7(text) == plain


@pytest.mark.parametrize(
    "text",
    [
        "word " * 2000,
        "chữ cái " * 1000,
        "x" * 10_000,
        "字" * 5000,
        "👩‍🍳" * 500,
        f"{'word ' * 28}{URL} {'word ' * 100}",
        f"{'chữ ' * 15}{URL} {'chữ ' * 100}",
        URL * 30,
        "e\u0301" * 2000,
    ],
    ids=lambda text: text[:8],
)
@pytest.mark.parametrize("most", [1, 2, 7])
def test_what_is_cut_fits_and_ends_with_a_whole_word_address_and_character(text: str, most: int) -> None:
    cut = shortened(text, most)
    assert segments(cut).number <= most
    kept = cut.removesuffix("...").removesuffix("…")
    assert text.startswith(kept)
    assert segments(cut).gsm7 is segments(text).gsm7 or not kept
    assert "https" not in kept or kept.count(URL) == kept.count("https")
    rest = text[len(kept) :]
    assert not kept or rest[:1] in ("", " ") or " " not in text
    assert not rest.startswith(("\u200d", "\u0301"))


def test_a_longer_sms_is_refused_with_the_number_of_segments() -> None:
    with pytest.raises(TooLong, match=r"66 segments .* SMS_MAX_SEGMENTS \(10\)"):
        SmsLimit().fit("x" * 10_000)
    with pytest.raises(TooLong, match=r"2 segments .* GSM-7"):
        SmsLimit(1).fit("ạ" * 71)
    assert SmsLimit().fit("x" * 1530) == "x" * 1530
    assert segments(SmsLimit(cut=True).fit("x y " * 2500)).number == MAX_SEGMENTS


@pytest.mark.parametrize("length", [1531, 5000, 10_000])
async def test_its_sender_is_told_at_once(length: int) -> None:
    event = {"type": "sms", "to": "+84912345678", "message": "x" * length}
    refused = await MemoryHub().publish(event, source="rabbitmq")
    assert refused is not None
    assert f"{-(-length // 153)} segments" in str(refused)
    assert await MemoryHub().publish({**event, "message": "x" * 1530}, source="rabbitmq") is None
