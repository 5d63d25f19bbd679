"""Characters that a text keeps, and those that would forge, mirror or break the text around them. No I/O.

What Unicode added after this Python was made is kept: `str.isprintable` knows the characters of its
tables only, and takes newer letters and emoji for invisible ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

FIRST_STRONG_ISOLATE, POP_ISOLATE = "\u2068", "\u2069"
_BIDI_OVERRIDES = "\u202a-\u202e"  # embeddings and overrides: they reach beyond the text that holds them
_UNWANTED = re.compile(rf"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff{_BIDI_OVERRIDES}]")
_ISOLATES = re.compile("[\u2066-\u2069]")
# Invisible ones that no line of text needs: zero-width spaces, soft hyphens, marks and fillers of formats.
_GAPS = re.compile("[\u00ad\u061c\u180e\u200b\u200e\u200f\u2060-\u2064\u206a-\u206f\ufeff\ufff9-\ufffb]")
_RIGHT_TO_LEFT = re.compile(
    "[\u0590-\u08ff\u200f\u202a-\u202e\u2066-\u2069\ufb1d-\ufdff\ufe70-\ufeff\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
_LEFT_TO_RIGHT = re.compile("[\x00-\u058f\u0900-\u1fff]*+")  # most texts, at half the cost of a search
_SHOWN = re.compile(
    "[^\\s\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff\ud800-\udfff\U000e0000-\U000e0fff]"
)


def clean(text: str) -> str:
    """The text without control characters, surrogates and bidirectional overrides; line ends and tabs stay.

    Isolates stay where they are balanced: one without its end would reach the text behind it.
    """
    if text.isascii() and text.isprintable():
        return text
    text = _UNWANTED.sub("", text)
    return text if _balanced(text) else _ISOLATES.sub("", text)


def clean_values(value: Any) -> Any:
    """The texts of JSON data, each cleaned."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {key: clean_values(each) for key, each in value.items()}
    return [clean_values(each) for each in value] if isinstance(value, (list, tuple)) else value


def single_line(text: str) -> str:
    """The text cleaned, in one line: white space becomes single blanks, invisible characters go."""
    parts = " ".join(text.split())  # some controls, such as NEL, are white space
    line = " ".join(_GAPS.sub("", _UNWANTED.sub("", parts)).split())
    if not _balanced(line) or not is_visible(line):
        line = " ".join(_ISOLATES.sub("", line).split())
    return line


def isolated(value: str) -> str:
    """The value as a sentence may show it: text that runs from right to left doesn't turn its neighbours."""
    if value.isascii() or not has_direction(value):
        return value
    bare = _ISOLATES.sub("", _UNWANTED.sub("", value))
    return f"{FIRST_STRONG_ISOLATE}{bare}{POP_ISOLATE}" if has_direction(bare) else bare


def has_direction(text: str) -> bool:
    """Whether a part of the text runs from right to left, or a character turns it."""
    return _LEFT_TO_RIGHT.fullmatch(text) is None and _RIGHT_TO_LEFT.search(text) is not None


def is_visible(text: str) -> bool:
    """Whether a reader sees anything of the text."""
    return _SHOWN.search(text) is not None


def has_unwanted(text: str) -> bool:
    """Whether the text has a character that `clean` drops, or one that isolates."""
    return _UNWANTED.search(text) is not None or _ISOLATES.search(text) is not None


def _balanced(text: str) -> bool:
    depth = 0
    for found in _ISOLATES.finditer(text):
        depth += -1 if found[0] == POP_ISOLATE else 1
        if depth < 0:
            return False
    return depth == 0
