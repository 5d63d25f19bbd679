"""SMS: the alphabet of a text, the segments that it is billed and sent in, and what happens to one that is
too long.

3GPP TS 23.038: GSM-7 has 160 septets in one message, 153 in each of several; every other text is UCS-2, with
70 and 67 code units of 16 bits.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple
from unicodedata import normalize

import regex

from app.domain.errors import HubError

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = frozenset("\f^{}\\[~]|€")
_TYPOGRAPHIC = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′", "'"),
        **dict.fromkeys("“”„‟″«»", '"'),
        **dict.fromkeys("‐‑‒–—―−", "-"),
        **dict.fromkeys("\u00a0\u2002\u2003\u2007\u2009\u202f\t", " "),
        "…": "...",
        "•": "-",
        "`": "'",
        "×": "x",
        "\u200b": None,
        "\ufeff": None,
    }
)
_WORD = re.compile(r"\s*\S+")
# It is tried once at each run of a scheme's characters: 10,000 letters without a space took a second.
_URL = re.compile(r"(?<![a-z0-9+.-])[0-9+.-]*+[a-z][a-z0-9+.-]*+://", re.IGNORECASE)
_CLUSTER = regex.compile(r"\X")
MAX_SEGMENTS = 10  # Twilio refuses longer ones


class Segments(NamedTuple):
    """How a text is sent: in so many messages, in GSM-7 or else in UCS-2."""

    number: int
    gsm7: bool


class TooLong(HubError):  # noqa: N818 - named as its siblings
    """The text needs more segments than are allowed. The words hold nothing of it."""


class SmsLimit(NamedTuple):
    """How long an SMS may be. One that is longer is refused, or `cut` behind its last word that fits."""

    max_segments: int = MAX_SEGMENTS
    cut: bool = False

    def fit(self, text: str) -> str:
        """The text as it is sent: in GSM-7 where plain quotation marks and dashes are enough for that.

        Raises:
            TooLong: It needs more segments, and isn't to be cut.
        """
        text = in_gsm7(text)
        needed = segments(text)
        if needed.number <= self.max_segments:
            return text
        if not self.cut:
            alphabet = "" if needed.gsm7 else ", because it has characters outside GSM-7"
            raise TooLong(
                f"an SMS of {needed.number} segments is longer than SMS_MAX_SEGMENTS ({self.max_segments}) "
                f"allows{alphabet}; shorten it, or set SMS_TOO_LONG=cut"
            )
        return shortened(text, self.max_segments)


DEFAULT_LIMIT = SmsLimit()


def segments(text: str) -> Segments:
    """The number of messages that the text is sent in. No character is divided between two."""
    gsm7 = _is_gsm7(text)
    sizes = [_size(c, gsm7=gsm7) for c in text]
    single, part = (160, 153) if gsm7 else (70, 67)
    if sum(sizes) <= single:
        return Segments(1, gsm7)
    count, room = 1, part
    for size in sizes:
        if size > room:
            count, room = count + 1, part
        room -= size
    return Segments(count, gsm7)


def in_gsm7(text: str) -> str:
    """The text with plain quotation marks, dashes and blanks, if it is GSM-7 then; else with its letters
    and their marks as one character each (NFC).
    """
    if _is_gsm7(text):
        return text
    text = normalize("NFC", text)
    plain = text.translate(_TYPOGRAPHIC)
    return plain if _is_gsm7(plain) else text


def shortened(text: str, most: int) -> str:
    """Cut the text to `most` segments: behind a word, and never in an address or a grapheme cluster."""
    ellipsis = "..." if _is_gsm7(text) else "…"

    def fits(part: str) -> bool:
        return segments(part + ellipsis).number <= most

    words = [found.end() for found in _WORD.finditer(text)]
    kept = _most(len(words), lambda count: fits(text[: words[count - 1]]))
    end = words[kept - 1] if kept else 0
    rest = text[end : words[kept]] if kept < len(words) else ""
    if not kept and not _URL.search(rest):  # one word alone is longer, as in languages without blanks
        clusters = [found.end() for found in _CLUSTER.finditer(rest)]
        fitting = _most(len(clusters), lambda count: fits(rest[: clusters[count - 1]]))
        end = clusters[fitting - 1] if fitting else 0
    return text[:end].rstrip() + ellipsis


def _most(count: int, fits: Callable[[int], bool]) -> int:
    """The greatest number up to `count` that fits, if all below one that fits do; 0 if none does."""
    low, high = 0, count
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _is_gsm7(text: str) -> bool:
    return all(c in _BASIC or c in _EXTENSION for c in text)


def _size(character: str, *, gsm7: bool) -> int:
    """In septets, or code units of UTF-16."""
    return 1 + (character in _EXTENSION if gsm7 else character > "\uffff")
