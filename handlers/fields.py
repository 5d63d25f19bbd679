"""The fields that messages of several event types have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from msgspec import Meta, ValidationError

from handlers.tolerant import DECISIVE, USER

MAX_RECEIVERS = 10_000

Name = Annotated[str, Meta(max_length=500)]
_NOT_BLANK = r"\S"
Shown = Annotated[str, Meta(max_length=500, pattern=_NOT_BLANK)]
"""What a text or a mail shows: not blank."""
Names = Annotated[list[Name], Meta(max_length=100)]
_END = r"$(?!\n)"
"""The end of a text in a pattern: `$` alone lets a line break follow."""
_ADDRESS = rf"^[^@\s]+@[^@\s]+{_END}"
Address = Annotated[str, Meta(min_length=3, max_length=320, pattern=_ADDRESS)]
"""Of mail."""
_CODE = rf"^[A-Za-z0-9-]+{_END}"
Code = Annotated[str, Meta(min_length=4, max_length=64, pattern=_CODE)]
"""For one use."""
Amount = Annotated[float, Meta(ge=0, le=1e12)]
"""Of money or goods; publishers may write it without a fraction."""
UserId = Annotated[UUID, Meta(extra=USER)]
Receivers = Annotated[list[UserId], Meta(max_length=MAX_RECEIVERS, extra=DECISIVE)]


def each_once(receivers: Sequence[UUID]) -> Sequence[UUID]:
    """The receivers in their order, each where it came first."""
    if len(receivers) == 1:
        return receivers
    return list({each.int: each for each in receivers}.values())  # a UUID computes its hash in Python


_IN_WORDS = {
    _NOT_BLANK: "non-blank string",
    _ADDRESS: "one mail address, such as user@example.com",
    _CODE: "letters, digits and hyphens",
}


def in_words(error: ValidationError) -> str:
    """What is wrong with a field, without regular expressions."""
    text = str(error)
    for pattern, words in _IN_WORDS.items():
        text = text.replace(f"`str` matching regex {pattern!r}", words)
    return text
