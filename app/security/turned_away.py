"""Who was turned away for too much, recognised at the door."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from itertools import islice
from math import ceil
from typing import NamedTuple
from uuid import UUID

COOL_DOWN = 10  # seconds in which who flooded isn't let in; twice as long each time
LONGEST = 320  # seconds
REMEMBERED_FOR = 60.0  # seconds after that
MOST = 10_000  # tokens
# A token, wherever in a head it stands, be it behind the `bearer.` of a subprotocol.
_COMPACT = re.compile(rb"(?<![\w-])(?:bearer\.)?([\w-]{16,}+\.[\w-]{16,}+\.[\w-]{16,}+)")
_LOOKED_AT = 4  # of those in one head


class _Away(NamedTuple):
    user_id: UUID
    cool_down: int
    not_before: float


class TurnedAway:
    """Remembers tokens that were answered with 4429. To say no to someone who comes again and again takes
    750 µs once a request is parsed and its token checked, and a tenth of that at the door.

    It says no only where the whole way would: not to somebody else, as the token has to be the same to the
    byte, and not any longer than the reason lasts.
    """

    def __init__(self, crowded: Callable[[UUID], bool]) -> None:
        """`crowded` says whether a user has as many connections here as are allowed."""
        self._crowded = crowded
        self._away: dict[bytes, _Away] = {}

    def remember(self, key: bytes, user_id: UUID, *, flooded: bool) -> None:
        """The token of this `key` was refused as its user has too many connections, or as its client sent too
        many frames (`flooded`).
        """
        now = time.monotonic()
        before = self._away.pop(key, None)
        cool_down, not_before = (before.cool_down, before.not_before) if before else (0, now)
        if flooded and now >= not_before:  # those who flood at the same time count once
            cool_down = min(LONGEST, 2 * cool_down or COOL_DOWN)
            not_before = now + cool_down
        self._away[key] = _Away(user_id, cool_down, max(now, not_before))
        if len(self._away) > MOST:
            del self._away[next(iter(self._away))]

    def wait(self, head: bytes) -> int:
        """The seconds after which it is worth while to come again, if a request's head holds a token that
        would be refused; else 0.
        """
        if not self._away:
            return 0
        tokens = islice(_COMPACT.finditer(head), _LOOKED_AT)
        return max((self.wait_for(key_of(token[1])) for token in tokens), default=0)

    def wait_for(self, key: bytes) -> int:
        """The same for the token of this `key`."""
        away = self._away.get(key)
        if away is None:
            return 0
        left = away.not_before - time.monotonic()
        if left <= -REMEMBERED_FOR:
            del self._away[key]
            return 0
        if left > 0:
            return ceil(left)
        return COOL_DOWN if self._crowded(away.user_id) else 0


def key_of(token: bytes) -> bytes:
    """What a token is remembered by, for it isn't kept."""
    return hashlib.blake2b(token, digest_size=16).digest()
