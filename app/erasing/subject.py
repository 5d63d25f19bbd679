"""Whose data it is, how a text is found to name them, and what is said of the places where they stand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import NamedTuple, Protocol
from uuid import UUID


class Subject:
    """The person (the GDPR's data subject): a user id, and its known mail addresses and phone numbers."""

    def __init__(self, user_id: UUID, addresses: Iterable[str] = ()) -> None:
        self.user_id = user_id
        self.addresses = sorted({address.strip().lower() for address in addresses} - {""})

    @cached_property
    def pattern(self) -> str:
        """A regular expression, the same for Python and Postgres, that finds them in lower and upper case.

        A user id is found with and without its hyphens; an address not inside of a longer one.
        """
        user_id = str(self.user_id).replace("-", "-?")
        marks = [rf"(?<![0-9a-f]){user_id}(?![0-9a-f])"]
        marks += [rf"(?<![\w.%+-]){re.escape(address)}(?![\w-]|\.\w)" for address in self.addresses]
        return "|".join(marks)

    @cached_property
    def _bytes(self) -> re.Pattern[bytes]:
        return re.compile(self.pattern.encode(), re.IGNORECASE)

    def named_in(self, *parts: bytes) -> bool:
        """Whether one of the parts of a message names them."""
        return any(self._bytes.search(part) for part in parts)


class Found(NamedTuple):
    """How much of them stands somewhere."""

    where: str
    number: int
    stays: str = ""
    """Why it isn't removed, if it isn't."""


class Place(Protocol):
    """Somewhere a person may stand. A call that raises `Unavailable`, as nobody answers, may be repeated."""

    async def look(self, subject: Subject) -> Sequence[Found]:
        """All of them that is there."""

    async def erase(self, subject: Subject) -> Sequence[Found]:
        """Remove what is the hub's to remove; what that was."""

    async def close(self) -> None:
        """Let go of connections."""
