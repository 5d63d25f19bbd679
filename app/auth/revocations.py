"""Revocation of valid tokens, which the user service writes into Redis."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any
from uuid import UUID

from redis.exceptions import ResponseError

from app.auth.tokens import Claims, ServiceClaims
from app.domain.errors import Unauthorized, Unavailable
from app.domain.user_ids import parse_uuid, spellings
from app.runtime.redis import REDIS_ERRORS, Client
from app.runtime.shared_calls import SharedCalls

# Seconds for which REST accepts a token that was not revoked at the last check while Redis is down. The user
# service writes revocations into that same Redis, and logouts come by Kafka (decision 009).
CACHED_SECONDS = 900.0
MAX_CACHED_USERS = 20_000  # users
MAX_REVIEWED_TOKENS = 5000  # cached tokens checked in one review: some 10 ms of CPU, and 75 on a cluster
REVIEW_COUNT = 60  # calls in which all cached tokens are reviewed while changes are known
MAX_TOKENS_PER_QUERY = 500  # tokens
MILLISECONDS = (1.5e12, 1e13)
"""A moment between these is in milliseconds (2017 to 2286): in seconds it would revoke whatever is issued."""
RETRY_SECONDS = 1.0  # seconds after an error of Redis for which cached tokens are accepted without a query
SPELLINGS_COUNT = 4
_BLOCKED = "user-service:jwt-blocklist:"
_REVOKED_AT = "user-service:global_revoke_ts:"
PREFIXES = (_BLOCKED, _REVOKED_AT)
"""What the names of all keys of the user service's revocations begin with: of tokens, and of users."""

Moments = Sequence[bytes | None]
"""What Redis holds under each of `revoked_at_keys`."""


class RevocationStore:
    """Reads revocations from Redis. Fails closed: without an answer only a cached token is accepted."""

    def __init__(self, redis: Client, one_by_one: bool = False) -> None:
        """`one_by_one`: no command may name several keys, as a cluster has them on different servers."""
        self._redis = redis
        self._one_by_one = one_by_one
        self._checks = SharedCalls(self._states, MAX_TOKENS_PER_QUERY, name="revocation checks")
        self._cached: dict[UUID, dict[Claims, float]] = {}
        self._unreviewed: list[Claims] = []
        self._review_count = 0
        self._retry_at = 0.0

    async def check(self, claims: Claims | ServiceClaims) -> None:
        """Raises `Unauthorized` (revoked_token), or `Unavailable` when Redis doesn't answer."""
        with _redis_errors():
            revoked = await self._checks.ask(claims)
            if isinstance(revoked, ResponseError):
                raise revoked
        if isinstance(claims, Claims):
            self.forget(claims.user_id) if revoked else self._remember(claims)
        if revoked:
            raise Unauthorized("revoked_token")

    async def check_or_cached(self, claims: Claims) -> None:
        """The same, but while Redis is down a token that was valid recently is accepted, mostly at once."""
        now = time.monotonic()
        cached = now - self._cached.get(claims.user_id, {}).get(claims, -CACHED_SECONDS) < CACHED_SECONDS
        if cached and now < self._retry_at:
            return
        try:
            await self.check(claims)
        except Unavailable as error:
            if isinstance(error.__context__, ResponseError):
                raise  # it did answer, with an entry that can't be read: fail closed
            self._retry_at = time.monotonic() + RETRY_SECONDS
            if not cached:
                raise

    def forget(self, user_id: UUID) -> None:
        """Drop the cached tokens of a user who logged out."""
        self._cached.pop(user_id, None)

    def _remember(self, claims: Claims) -> None:
        now = time.monotonic()
        tokens = self._cached.pop(claims.user_id, {})
        recent = {token: moment for token, moment in tokens.items() if now - moment < CACHED_SECONDS}
        self._cached[claims.user_id] = {**recent, claims: now}
        if len(self._cached) > MAX_CACHED_USERS:
            del self._cached[next(iter(self._cached))]

    async def review(
        self, in_use: Callable[[Claims], bool], concerned: Callable[[Claims], bool] | None = None
    ) -> None:
        """Check cached tokens, and drop those that were revoked while unused: once Redis is down they can't
        be checked. Raises `Unavailable`.

        Args:
            in_use: Which tokens are checked elsewhere.
            concerned: Which tokens a recent change may concern: all of these are checked, and of the others
                few at each call. None where changes aren't known: then many at each call. In turn it is all.
        """
        if not self._unreviewed:
            self._drop_expired()
            self._unreviewed = [claims for tokens in self._cached.values() for claims in tokens]
            self._review_count = -(-len(self._unreviewed) // REVIEW_COUNT)
        count = MAX_REVIEWED_TOKENS if concerned is None else self._review_count
        some, self._unreviewed = self._unreviewed[:count], self._unreviewed[count:]
        if concerned is not None:
            some += [claims for tokens in self._cached.values() for claims in tokens if concerned(claims)]
        some = [claims for claims in some if not in_use(claims)]
        for start in range(0, len(some), MAX_TOKENS_PER_QUERY):
            await self.revoked(some[start : start + MAX_TOKENS_PER_QUERY])

    def _drop_expired(self) -> None:
        """Users are in the order in which they were last remembered."""
        now = time.monotonic()
        for user_id in [*self._cached]:
            if now - max(self._cached[user_id].values()) < CACHED_SECONDS:
                return
            self.forget(user_id)

    async def revoked(self, tokens: Sequence[Claims]) -> list[bool]:
        """Which of these tokens are revoked, or have an entry that can't be read. Raises `Unavailable`."""
        with _redis_errors():
            flags = [bool(state) for state in await self._states(tokens)]
        for claims, revoked in zip(tokens, flags, strict=True):
            if revoked:
                self.forget(claims.user_id)
        return flags

    async def close(self) -> None:
        """End the checks under way."""
        await self._checks.close()

    async def _states(self, tokens: Sequence[Claims | ServiceClaims]) -> list[bool | ResponseError]:
        """Whether each token is revoked; an error where what Redis has of it can't be read.

        Three commands for any number of tokens; as a rule none is blocked, which one number tells. MGET takes
        what is no string for nothing: two counts that differ tell that too.
        """
        if self._one_by_one:
            return await self._states_one_by_one(tokens)
        keys = [key for claims in tokens for key in _revoked_at_keys(claims)]
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.exists(*(key for claims in tokens for key in _blocklist_keys(claims)))
            pipe.exists(*keys)
            pipe.mget(keys)
            blocked_count, moment_count, moments = await pipe.execute()
        if blocked_count or moment_count != len(keys) - moments.count(None):
            return await self._states_one_by_one(tokens)
        found = iter(moments)
        return [_after([*islice(found, len(_revoked_at_keys(claims)))], claims) for claims in tokens]

    async def _states_one_by_one(
        self, tokens: Sequence[Claims | ServiceClaims]
    ) -> list[bool | ResponseError]:
        """The same, with one key a command."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for claims in tokens:
                _ask(pipe, claims)
            answers = iter(await pipe.execute(raise_on_error=False))
        return [
            _state(
                claims,
                [*islice(answers, len(_blocklist_keys(claims)))],
                [*islice(answers, len(_revoked_at_keys(claims)))],
            )
            for claims in tokens
        ]


def _state(
    claims: Claims | ServiceClaims, blocked: Sequence[Any], moments: Sequence[Any]
) -> bool | ResponseError:
    for answer in (*blocked, *moments):
        if isinstance(answer, ResponseError) and "WRONGTYPE" in str(answer):
            return answer  # this entry is broken; any other error is one of all
        if isinstance(answer, Exception):
            raise answer
    return any(blocked) or _after(moments, claims)


def _ask(pipe: Any, claims: Claims | ServiceClaims) -> None:
    """One key a command: the pipeline of a cluster answers a command of several keys once for each."""
    for key in _blocklist_keys(claims):
        pipe.exists(key)
    for key in _revoked_at_keys(claims):
        pipe.get(key)


@contextmanager
def _redis_errors() -> Iterator[None]:
    try:
        yield
    except REDIS_ERRORS as error:
        why = f"cannot check whether a token is revoked ({type(error).__name__})"
        raise Unavailable("redis", why) from None


def _blocklist_keys(claims: Claims | ServiceClaims) -> tuple[str, ...]:
    """The key as the token spells its id; if that is a UUID, also in its other spellings."""
    text, found = claims.token_id, parse_uuid(claims.token_id)
    return tuple(f"{_BLOCKED}{name}" for name in (text, *(() if found is None else spellings(found))))


def _revoked_at_keys(claims: Claims | ServiceClaims) -> tuple[str, ...]:
    """As many for each user's token. A foreign id has one spelling, the user service's own."""
    if isinstance(claims, Claims) and claims.foreign_id is not None:
        return revoked_at_keys(claims.foreign_id) * SPELLINGS_COUNT
    return revoked_at_keys(claims.user_id)


def revoked_at_keys(user_id: UUID | str) -> tuple[str, ...]:
    """The user service's keys of the moment before which all tokens of the user are revoked.

    One for each of the `SPELLINGS_COUNT` spellings of a UUID: services write it with and without hyphens, in
    lower and upper case. A service's name that is no UUID has one key.
    """
    found = user_id if isinstance(user_id, UUID) else parse_uuid(user_id)
    return tuple(f"{_REVOKED_AT}{name}" for name in ((user_id,) if found is None else spellings(found)))


def _after(moments: Moments, claims: Claims | ServiceClaims) -> bool:
    """Whether everything of this user was revoked after the token was issued."""
    return any(moment is not None and not _seconds(moment) <= claims.issued_at for moment in moments)


def _seconds(value: bytes) -> float:
    try:
        seconds = float(value)
    except ValueError:
        return float("nan")  # an unreadable revocation is still one: nothing compares with it
    return seconds / 1000 if MILLISECONDS[0] <= seconds < MILLISECONDS[1] else seconds
