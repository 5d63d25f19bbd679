"""Ids in their spellings: UUIDs, and foreign ids of users, which are any other text or number."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from uuid import UUID, uuid5

MAX_FOREIGN_ID_CHARS = 200
MAX_CACHED_IDS = 10_000
_UUID = re.compile(
    r"(?:urn:uuid:)?(\{)?[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}(?(1)\})",
    re.ASCII | re.IGNORECASE,
)


def parse_uuid(value: object) -> UUID | None:
    """The UUID that a text is, in any spelling: upper case, without hyphens, in braces, as a URN (RFC 9562).

    None for anything else.
    """
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        return None
    return UUID(value.lower())


def spellings(found: UUID) -> tuple[str, str, str, str]:
    """How services write a UUID in keys: with and without hyphens, in lower and upper case."""
    whole, bare = str(found), found.hex
    return whole, whole.upper(), bare, bare.upper()


def canonical_id(text: str) -> str:
    """An id as it is compared with others: a UUID in lower case with hyphens, other text as it is."""
    found = parse_uuid(text)
    return text if found is None else str(found)


def foreign_id(value: object) -> str | None:
    """The text of an id that another system gave its user: 1 to 200 characters, or a number's decimals.

    None for a UUID, and for what can't be an id.
    """
    text = decimal(value) or value
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_FOREIGN_ID_CHARS:
        return None
    return text if parse_uuid(text) is None else None


def decimal(value: object) -> str | None:
    """A number of JSON as people write it: 7.0 is 7, 1e3 is 1000. None for what is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return None
    return str(int(value)) if value == int(value) else str(value)


class UserIds:
    """Reads the ids of users who have an inbox. With a namespace, foreign ids are mapped to UUIDs (v5)."""

    def __init__(self, namespace: UUID | None = None) -> None:
        """`namespace` is the deployment's; None: foreign ids have no inbox."""
        self._namespace = namespace

    @property
    def mapped(self) -> bool:
        """Whether foreign ids have inboxes."""
        return self._namespace is not None

    def read(self, value: object) -> UUID | None:
        """The user's UUID; None for what is none, or is a foreign id that isn't mapped."""
        found = parse_uuid(value)
        if found is None and self._namespace is not None and (text := foreign_id(value)) is not None:
            return _mapped(self._namespace, text)
        return found


@lru_cache(maxsize=MAX_CACHED_IDS)
def _mapped(namespace: UUID, text: str) -> UUID:
    return uuid5(namespace, text)


UUIDS_ONLY = UserIds()
