"""Clients that ignore a refusal: their tokens are recognised before the request is parsed."""

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

from app.runtime.http1 import BLANKS, Head

FIRST_COOL_DOWN_SECONDS = 10  # seconds for which a client that flooded is refused; doubles each time
LAST_COOL_DOWN_SECONDS = 320  # seconds
REMEMBERED_SECONDS = 60.0  # seconds that a token is remembered after its cool-down
MAX_ENTRIES = 10_000  # tokens, and as many users
# Refused sign-ins of a user within a minute; after that any token that claims to be theirs is refused.
MAX_REFUSALS = 20
MAX_PARSED_TOKEN_BYTES = 4096  # bytes; claims of longer tokens are not parsed
REFUSAL_DELAY_SECONDS = (
    5.0  # seconds before a repeated refusal: a client that gets it at once retries at once
)
MAX_DELAYED_CONNECTIONS = 2000  # connections whose refusal is delayed
_TOKEN_SUBPROTOCOL = "bearer."  # noqa: S105 - the prefix browsers put before their token
_ONE_VALUE = re.compile(rb"[^& ]*")


class _RefusedToken(NamedTuple):
    user_id: UUID
    cool_down: int
    not_before: float


class _UserRefusals(NamedTuple):
    refusals: int
    since: float


class _Claim(msgspec.Struct, frozen=True):
    sub: UUID


class RepeatOffenders:
    """Remembers tokens that were refused with 4429, and users who were refused many times.

    A refusal takes 750 µs once the request is parsed and its token verified, and a tenth of that before.

    A token is refused here only if sign-in would refuse it too. It is the same to the byte, or it claims to
    be that user's: then it is forged, or one connection too many. And it is refused only as long as the
    reason lasts.
    """

    def __init__(self, at_limit: Callable[[UUID], bool]) -> None:
        """`at_limit` returns whether a user has as many connections on this node as are allowed."""
        self._at_limit = at_limit
        self._tokens: dict[bytes, _RefusedToken] = {}
        self._users: dict[UUID, _UserRefusals] = {}

    def remember(self, key: bytes, user_id: UUID, *, flooded: bool) -> None:
        """The token of this `key` was refused as its user has too many connections, or as its client sent too
        many frames (`flooded`).
        """
        now = time.monotonic()
        before = self._tokens.pop(key, None)
        cool_down, not_before = (before.cool_down, before.not_before) if before else (0, now)
        if flooded and now >= not_before:  # several connections that flood at the same time count once
            cool_down = min(LAST_COOL_DOWN_SECONDS, 2 * cool_down or FIRST_COOL_DOWN_SECONDS)
            not_before = now + cool_down
        self._tokens[key] = _RefusedToken(user_id, cool_down, max(now, not_before))
        if len(self._tokens) > MAX_ENTRIES:
            del self._tokens[next(iter(self._tokens))]
        if not flooded:
            refusals, since = self._users.pop(user_id, _UserRefusals(0, now))
            late = now - since > REMEMBERED_SECONDS
            self._users[user_id] = _UserRefusals(1, now) if late else _UserRefusals(refusals + 1, since)
            if len(self._users) > MAX_ENTRIES:
                del self._users[next(iter(self._users))]

    def retry_after(self, head: Head) -> int:
        """The seconds until a retry may succeed, if a request's head holds a token that would be refused;
        else 0.
        """
        return self.retry_after_token(_token(head)) if self._tokens or self._users else 0

    def retry_after_token(self, token: bytes) -> int:
        """The same for this token."""
        return self._retry_after_key(key_of(token)) or self._retry_after_user(token)

    def _retry_after_user(self, token: bytes) -> int:
        user_id = _claimed_user(token) if self._users else None
        user = self._users.get(user_id) if user_id else None
        if user is None or user_id is None or user.refusals < MAX_REFUSALS:
            return 0
        if time.monotonic() - user.since > 2 * REMEMBERED_SECONDS:
            del self._users[user_id]
            return 0
        return FIRST_COOL_DOWN_SECONDS if self._at_limit(user_id) else 0

    def _retry_after_key(self, key: bytes) -> int:
        refused = self._tokens.get(key)
        if refused is None:
            return 0
        left = refused.not_before - time.monotonic()
        if left <= -REMEMBERED_SECONDS:
            del self._tokens[key]
            return 0
        if left > 0:
            return ceil(left)
        return FIRST_COOL_DOWN_SECONDS if self._at_limit(refused.user_id) else 0


def key_of(token: bytes) -> bytes:
    """The digest that a token is remembered by: the token itself is not kept."""
    return hashlib.blake2b(token, digest_size=16).digest()


def _claimed_user(token: bytes) -> UUID | None:
    """The user whom a token claims as its subject; its signature is not verified."""
    if len(token) > MAX_PARSED_TOKEN_BYTES or token.count(b".") != 2:
        return None
    payload = token.split(b".")[1]
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(payload + b"=="), type=_Claim).sub
    except ValueError:  # the errors of binascii and msgspec are subclasses
        return None


def _token(head: Head) -> bytes:
    """The token in the first of the places where app/api/handshake.py looks for it. A token that is spelled
    in another way is refused there instead.
    """
    for value in head.values("authorization"):
        scheme, _, token = value.partition(" ")
        if scheme.lower() == "bearer" and token.strip(BLANKS):
            return _bytes(token.strip(BLANKS))
    for value in head.values("sec-websocket-protocol"):
        for offered in value.split(","):
            if offered.strip(BLANKS).startswith(_TOKEN_SUBPROTOCOL):
                return _bytes(offered.strip(BLANKS).removeprefix(_TOKEN_SUBPROTOCOL))
    return _query(_bytes(head.target))


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def _query(target: bytes) -> bytes:
    """The value of `jwt` in a request's target."""
    query = b"&" + target.partition(b"?")[2]
    at = query.find(b"&jwt=")
    value = _ONE_VALUE.match(query, at + len(b"&jwt=")) if at >= 0 else None
    return unquote_to_bytes(value[0]) if value else b""
