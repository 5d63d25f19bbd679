"""Whether a valid token was revoked meanwhile; the user service writes that into Redis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from app.errors import Unauthorized, Unavailable
from app.redis import REDIS_ERRORS, Client
from app.security.tokens import Claims


class TokenState:
    """Reads revocations from Redis. Fails closed: no answer, no entry."""

    def __init__(self, redis: Client, one_by_one: bool = False) -> None:
        """`one_by_one`: no command may name several keys, as they are on different servers of a cluster."""
        self._redis = redis
        self._one_by_one = one_by_one

    async def check(self, claims: Claims) -> None:
        """Raises `Unauthorized` (revoked_token), or `Unavailable` when Redis doesn't answer."""
        with _redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.exists(_blocklist_key(claims))
                pipe.get(_revoked_at_key(claims))
                blocked, moment = await pipe.execute()
        if blocked or _after(moment, claims):
            raise Unauthorized("revoked_token")

    async def revoked(self, tokens: Sequence[Claims]) -> list[bool]:
        """Which of these tokens are revoked. Raises `Unavailable`."""
        with _redis_errors():
            found = await (self._ask_one_by_one(tokens) if self._one_by_one else self._ask_at_once(tokens))
        return [
            bool(blocked) or _after(moment, claims)
            for claims, blocked, moment in zip(tokens, *found, strict=True)
        ]

    async def _ask_at_once(self, tokens: Sequence[Claims]) -> tuple[Sequence[int], Sequence[bytes | None]]:
        """Two commands, however many they are; as a rule no token is blocked, and one number says so."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.exists(*map(_blocklist_key, tokens))
            pipe.mget(list(map(_revoked_at_key, tokens)))
            any_blocked, moments = await pipe.execute()
        if not any_blocked:
            return [0] * len(tokens), moments
        async with self._redis.pipeline(transaction=False) as pipe:
            for claims in tokens:
                pipe.exists(_blocklist_key(claims))
            return await pipe.execute(), moments

    async def _ask_one_by_one(self, tokens: Sequence[Claims]) -> tuple[Sequence[int], Sequence[bytes | None]]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for claims in tokens:
                pipe.exists(_blocklist_key(claims))
                pipe.get(_revoked_at_key(claims))
            answers = await pipe.execute()
        return answers[::2], answers[1::2]


@contextmanager
def _redis_errors() -> Iterator[None]:
    try:
        yield
    except REDIS_ERRORS as error:
        why = f"can't tell whether a token is revoked ({type(error).__name__})"
        raise Unavailable("redis", why) from None


def _blocklist_key(claims: Claims) -> str:
    return f"user-service:jwt-blocklist:{claims.token_id}"


def _revoked_at_key(claims: Claims) -> str:
    return f"user-service:global_revoke_ts:{claims.user_id}"


def _after(moment: bytes | None, claims: Claims) -> bool:
    """Whether everything of this user was revoked after the token was issued."""
    return moment is not None and not _seconds(moment) <= claims.issued_at


def _seconds(value: bytes) -> float:
    try:
        return float(value)
    except ValueError:
        return float("nan")  # an unreadable revocation is still one: nothing compares with it
