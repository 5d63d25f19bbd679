"""Who was turned away for too much, recognised at the door."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from math import ceil
from typing import NamedTuple
from urllib.parse import unquote_to_bytes
from uuid import UUID

COOL_DOWN = 10  # seconds in which who flooded isn't let in; twice as long each time
LONGEST = 320  # seconds
REMEMBERED_FOR = 60.0  # seconds after that
MOST = 10_000  # tokens
TARPIT = 5.0  # seconds until who comes again is told: at once it would be back at once
HELD = 2000  # connections that wait for that
_LOOKED_AT = 8  # what may be the beginning of a token, in one head
_ONE_VALUE = re.compile(rb"[^& ]*")


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
        return self.wait_for(key_of(_token(head))) if self._away else 0

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


def _token(head: bytes) -> bytes:
    """The token in the first of the places where app/api/ws.py looks for it. One that is written in a way
    that isn't known here goes the whole way.
    """
    scheme, _, token = _value(head, b"authorization").partition(b" ")
    if scheme.lower() == b"bearer" and token:
        return token.strip()
    offered = _subprotocol(_value(head, b"sec-websocket-protocol"))
    return _query(head[: head.find(b"\r\n")]) if offered is None else offered


def _subprotocol(offered: bytes) -> bytes | None:
    """The rest of the first item that begins with `bearer.`; None where none does."""
    at = -1
    for _ in range(_LOOKED_AT):
        at = offered.find(b"bearer.", at + 1)
        if at < 0:
            return None
        if offered[:at].rstrip()[-1:] in b",":
            return offered[at + len(b"bearer.") :].partition(b",")[0].strip()
    return b""


def _query(line: bytes) -> bytes:
    """The value of `jwt` in a request's line."""
    query = b"&" + line.partition(b"?")[2]
    at = query.find(b"&jwt=")
    value = _ONE_VALUE.match(query, at + len(b"&jwt=")) if at >= 0 else None
    return unquote_to_bytes(value[0]) if value else b""


def _value(head: bytes, name: bytes) -> bytes:
    """The value of the first header of this name."""
    begin = head.lower().find(b"\r\n%b:" % name)
    if begin < 0:
        return b""
    begin += len(name) + 3
    end = head.find(b"\r\n", begin)
    return head[begin : end if end >= 0 else None].strip()
