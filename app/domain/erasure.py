"""The data subject of an erasure, how a text is found to name them, and the places that hold their data."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import NamedTuple, Protocol
from uuid import UUID

_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")  # JSON may write any letter so
_NO_ASCII = re.compile(r"[^\x00-\x7f]+")
_BREAK = r"\\[bfnrt]"  # and writes control characters so, whose letter belongs to no word behind it


NO_INBOX = UUID(int=0)
"""The user id of a subject who has no inbox."""


class Subject:
    """The person (the GDPR's data subject): a user id, and its known mail addresses and phone numbers.

    `foreign_id` is the id of the user in another system. `user_id` is what it is mapped to, or `NO_INBOX`.
    """

    def __init__(self, user_id: UUID, addresses: Iterable[str] = (), foreign_id: str | None = None) -> None:
        self.user_id = user_id
        self.foreign_id = foreign_id
        self.addresses = sorted({address.strip().lower() for address in addresses} - {""})

    @cached_property
    def pattern(self) -> str:
        """A regular expression, the same for Python and Postgres, that finds them in lower and upper case.

        A user id is found with and without its hyphens; an address not inside of a longer one; a foreign id,
        which may be any word or number, as a whole value in JSON, a number only as that of a user id.
        """
        user_id = str(self.user_id).replace("-", "-?")
        marks = [rf"(?:(?<![0-9a-f])|(?<={_BREAK})){user_id}(?![0-9a-f])"]
        if self.foreign_id is not None:
            text = re.escape(json.dumps(self.foreign_id, ensure_ascii=False)[1:-1])
            number = any(character.isdigit() for character in text) and not any(map(str.isalpha, text))
            marks.append(rf'"user_?id"\s*:\s*(?:"{text}"|{text})\s*[,}}]' if number else f'"{text}"')
        marks += [
            rf"(?:(?<![\w.%+-])|(?<={_BREAK})){re.escape(address)}(?![\w-]|\.\w)"
            for address in self.addresses
        ]
        return "|".join(marks)

    @cached_property
    def fragments(self) -> Sequence[str]:
        """Parts of texts, ASCII in lower case. Each text that the pattern finds has one of them, once its
        ASCII is in lower case.
        """
        foreign = () if self.foreign_id is None else (json.dumps(self.foreign_id, ensure_ascii=False)[1:-1],)
        words = [str(self.user_id).partition("-")[0], *self.addresses, *foreign]
        return [max(_NO_ASCII.split(word), key=len).lower() for word in words]

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self.pattern, re.IGNORECASE)

    def named_in(self, *parts: bytes) -> bool:
        """Whether one of the parts of a message names them, in whichever way it may be read."""
        return any(self._compiled.search(text) for part in parts for text in _readings(part))


def _readings(part: bytes) -> Iterator[str]:
    """As UTF-8, and as UTF-16 or UTF-32, which the hub refuses and others can read; both as JSON, too."""
    for encoded in {part, part.replace(b"\0", b"")}:
        text = encoded.decode(errors="replace")
        yield text
        if "\\u" in text:
            yield _ESCAPED.sub(lambda escaped: chr(int(escaped[1], 16)), text)


class Found(NamedTuple):
    """How much of the subject's data a place holds."""

    where: str
    number: int
    stays: str = ""
    """Why it isn't removed, if it isn't."""


class Place(Protocol):
    """A place that may hold personal data. A call that raises `Unavailable` may be repeated."""

    async def look(self, subject: Subject) -> Sequence[Found]:
        """Count what is there."""

    async def erase(self, subject: Subject) -> Sequence[Found]:
        """Remove what the hub may remove; return what that was."""

    async def close(self) -> None:
        """Close connections."""
