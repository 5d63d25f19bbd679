"""The fields that messages of several event types have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from msgspec import Meta

from handlers.tolerant import DECISIVE, USER

MAX_RECEIVERS = 10_000

Name = Annotated[str, Meta(max_length=500)]
Shown = Annotated[str, Meta(max_length=500, pattern=r"\S")]
"""What a text or a mail shows: not blank."""
Names = Annotated[list[Name], Meta(max_length=100)]
END = r"$(?!\n)"
"""The end of a text in a pattern: `$` alone lets a line break follow."""
Address = Annotated[str, Meta(min_length=3, max_length=320, pattern=rf"^[^@\s]+@[^@\s]+{END}")]
"""Of mail."""
Amount = Annotated[float, Meta(ge=0, le=1e12)]
"""Of money or goods; publishers may write it without a fraction."""
UserId = Annotated[UUID, Meta(extra=USER)]
Receivers = Annotated[list[UserId], Meta(max_length=MAX_RECEIVERS, extra=DECISIVE)]


def each_once(receivers: Sequence[UUID]) -> Sequence[UUID]:
    """The receivers in their order, each where it came first."""
    return receivers if len(receivers) == 1 else list(dict.fromkeys(receivers))
