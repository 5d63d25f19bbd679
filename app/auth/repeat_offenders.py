"""Who was turned away for too much, recognised at the door."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Callable
from math import ceil
from typing import NamedTuple
from urllib.parse import unquote_to_bytes
from uuid import UUID

import msgspec

FIRST_COOL_DOWN_SECONDS = 10  # seconds in which who flooded isn't let in; twice as long each time
LAST_COOL_DOWN_SECONDS = 320  # seconds
REMEMBERED_SECONDS = 60.0  # seconds after that
MAX_ENTRIES = 10_000  # tokens, and users
MAX_REFUSALS = (
    20  # of a user's sign-ins within a minute, after which any token that claims to be theirs will do
)
MAX_PARSED_TOKEN_BYTES = 4096  # bytes of one whose claims are looked at
REFUSAL_DELAY_SECONDS = 5.0  # seconds until who comes again is told: at once it would be back at once
MAX_DELAYED_CONNECTIONS = 2000  # connections that wait for that
_MAX_CANDIDATES = 8  # what may be the beginning of a token, in one head
_ONE_VALUE = re.compile(rb"[^& ]*")


class _Away(NamedTuple):
    user_id: UUID
    cool_down: int
    not_before: float


class _Crowd(NamedTuple):
    refusals: int
    since: float


class _Claim(msgspec.Struct, frozen=True):
    sub: UUID


class RepeatOffenders:
    """Remembers tokens that were answered with 4429, and users who were, again and again.

    To say no to someone who comes all the time takes 750 µs once a request is parsed and its token checked,
    and a tenth of that at the door.

    It says no only where the whole way would: not to somebody else, as the token has to be the same to the
    byte or to claim to be that user's, when it is forged or one too many; and not any longer than the reason
    lasts.
    """

    def __init__(self, crowded: Callable[[UUID], bool]) -> None:
        """`crowded` says whether a user has as many connections here as are allowed."""
        self._crowded = crowded
        self._away: dict[bytes, _Away] = {}
        self._crowds: dict[UUID, _Crowd] = {}

    def remember(self, key: bytes, user_id: UUID, *, flooded: bool) -> None:
        """The token of this `key` was refused as its user has too many connections, or as its client sent too
        many frames (`flooded`).
        """
        now = time.monotonic()
        before = self._away.pop(key, None)
        cool_down, not_before = (before.cool_down, before.not_before) if before else (0, now)
        if flooded and now >= not_before:  # those who flood at the same time count once
            cool_down = min(LAST_COOL_DOWN_SECONDS, 2 * cool_down or FIRST_COOL_DOWN_SECONDS)
            not_before = now + cool_down
        self._away[key] = _Away(user_id, cool_down, max(now, not_before))
        if len(self._away) > MAX_ENTRIES:
            del self._away[next(iter(self._away))]
        if not flooded:
            refusals, since = self._crowds.pop(user_id, _Crowd(0, now))
            late = now - since > REMEMBERED_SECONDS
            self._crowds[user_id] = _Crowd(1, now) if late else _Crowd(refusals + 1, since)
            if len(self._crowds) > MAX_ENTRIES:
                del self._crowds[next(iter(self._crowds))]

    def wait(self, head: bytes) -> int:
        """The seconds after which it is worth while to come again, if a request's head holds a token that
        would be refused; else 0.
        """
        return self.wait_for(_token(head)) if self._away or self._crowds else 0

    def wait_for(self, token: bytes) -> int:
        """The same for this token."""
        return self._wait_for_key(key_of(token)) or self._wait_for_user(token)

    def _wait_for_user(self, token: bytes) -> int:
        user_id = _claimed_user(token) if self._crowds else None
        crowd = self._crowds.get(user_id) if user_id else None
        if crowd is None or user_id is None or crowd.refusals < MAX_REFUSALS:
            return 0
        if time.monotonic() - crowd.since > 2 * REMEMBERED_SECONDS:
            del self._crowds[user_id]
            return 0
        return FIRST_COOL_DOWN_SECONDS if self._crowded(user_id) else 0

    def _wait_for_key(self, key: bytes) -> int:
        away = self._away.get(key)
        if away is None:
            return 0
        left = away.not_before - time.monotonic()
        if left <= -REMEMBERED_SECONDS:
            del self._away[key]
            return 0
        if left > 0:
            return ceil(left)
        return FIRST_COOL_DOWN_SECONDS if self._crowded(away.user_id) else 0


def key_of(token: bytes) -> bytes:
    """What a token is remembered by, for it isn't kept."""
    return hashlib.blake2b(token, digest_size=16).digest()


def _claimed_user(token: bytes) -> UUID | None:
    """Whose a token says it is, though nobody has looked at its signature."""
    if len(token) > MAX_PARSED_TOKEN_BYTES or token.count(b".") != 2:
        return None
    payload = token.split(b".")[1]
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(payload + b"=="), type=_Claim).sub
    except ValueError:  # of which binascii's and msgspec's errors are some
        return None


def _token(head: bytes) -> bytes:
    """The token in the first of the places where app/api/handshake.py looks for it. A token that is spelled
    in another way is refused there instead.
    """
    scheme, _, token = _value(head, b"authorization").partition(b" ")
    if scheme.lower() == b"bearer" and token:
        return token.strip()
    offered = _subprotocol(_value(head, b"sec-websocket-protocol"))
    return _query(head[: head.find(b"\r\n")]) if offered is None else offered


def _subprotocol(offered: bytes) -> bytes | None:
    """The rest of the first item that begins with `bearer.`; None where none does."""
    at = -1
    for _ in range(_MAX_CANDIDATES):
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
