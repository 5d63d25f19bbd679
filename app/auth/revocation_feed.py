"""Which tokens may have been revoked lately: what Redis says of the keys that the user service writes."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import NamedTuple
from uuid import UUID

from redis.exceptions import ResponseError

from app.auth.revocations import PREFIXES
from app.auth.tokens import Claims
from app.domain.user_ids import canonical_id, parse_uuid
from app.runtime.backoff import Backoff
from app.runtime.redis import REDIS_ERRORS
from app.runtime.redis_tracking import TrackedKeys

log = logging.getLogger("hub.revocations")

# Seconds for which a change counts: a token that was checked before it may open a connection after it.
RECENT_SECONDS = 30.0
MAX_RECENT_COUNT = 50_000  # names; with more of them all tokens are checked instead
RETRY_BACKOFF = Backoff(first=1.0, cap=5.0)  # while Redis is down
REFUSED_SECONDS = 60.0  # seconds until a Redis that can't track keys is asked again


class Changed(NamedTuple):
    """The revocations that were written lately."""

    tokens: frozenset[str] = frozenset()
    """Ids of tokens, in the spelling of `canonical_id`."""
    users: frozenset[UUID | str] = frozenset()
    """Ids of users: UUIDs, or the user service's own."""

    def __bool__(self) -> bool:
        return bool(self.tokens or self.users)

    def concerns(self, claims: Claims) -> bool:
        """Whether a token may have been revoked; only its check can tell."""
        if canonical_id(claims.token_id) in self.tokens:
            return True
        return (claims.user_id if claims.foreign_id is None else claims.foreign_id) in self.users


class RevocationFeed:
    """What changed among the revocations, asked once a second or so. Without it all tokens have to be checked
    that often.
    """

    def __init__(self, track: Callable[[], AbstractAsyncContextManager[TrackedKeys]]) -> None:
        """`track` begins to track the keys below `PREFIXES`."""
        self._track = track
        self._keys: TrackedKeys | None = None
        self._open = AsyncExitStack()
        self._recent: deque[tuple[float, set[bytes]]] = deque()
        self._failures = 0
        self._retry_at = 0.0

    async def changed(self) -> Changed | None:
        """What changed in the last `RECENT_SECONDS`; None when that is not known and all may have changed."""
        if self._keys is None:
            await self._begin()
            return None  # what changed before it began
        try:
            names = await self._keys.written()
        except REDIS_ERRORS as error:
            await self._lost(error, RETRY_BACKOFF.delay(0))
            return None
        now = time.monotonic()
        if names:
            self._recent.append((now, names))
        while self._recent and self._recent[0][0] < now - RECENT_SECONDS:
            self._recent.popleft()
        if sum(len(some) for _, some in self._recent) > MAX_RECENT_COUNT:
            return None
        return changed(name for _, some in self._recent for name in some)

    async def stop(self) -> None:
        """Track no longer."""
        self._keys = None
        self._recent.clear()
        try:
            await self._open.aclose()
        except REDIS_ERRORS:
            log.debug("tracking_not_ended")

    async def _begin(self) -> None:
        if time.monotonic() < self._retry_at:
            return
        try:
            self._keys = await self._open.enter_async_context(self._track())
        except ResponseError as error:
            await self._lost(error, REFUSED_SECONDS)
        except REDIS_ERRORS as error:
            self._failures += 1
            await self._lost(error, RETRY_BACKOFF.delay(self._failures - 1))
        else:
            self._failures = 0
            log.info("revocations_tracked")

    async def _lost(self, error: Exception, retry_after: float) -> None:
        self._retry_at = time.monotonic() + retry_after
        why = str(error) or type(error).__name__
        log.warning("revocations_polled", extra={"why": why, "retry_in": round(retry_after, 1)})
        await self.stop()


def changed(names: Iterable[bytes]) -> Changed:
    """Read the names of keys."""
    tokens, users = set[str](), set[UUID | str]()
    blocked, revoked_at = PREFIXES
    for name in names:
        text = name.decode(errors="replace")
        if text.startswith(blocked):
            tokens.add(canonical_id(text.removeprefix(blocked)))
        else:
            user = text.removeprefix(revoked_at)
            users.add(user)
            if (found := parse_uuid(user)) is not None:
                users.add(found)
    return Changed(frozenset(tokens), frozenset(users))
