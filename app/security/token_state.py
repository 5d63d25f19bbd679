"""Whether a valid token was revoked meanwhile; the user service writes that into Redis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.errors import Unauthorized, Unavailable
from app.security.tokens import Claims


class TokenState:
    """Reads revocations from Redis. Fails closed: no answer, no entry."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

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
        """Which of these tokens are revoked; two commands, however many they are. Raises `Unavailable`."""
        with _redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.exists(*map(_blocklist_key, tokens))
                pipe.mget(list(map(_revoked_at_key, tokens)))
                any_blocked, moments = await pipe.execute()
            blocked = await self._blocked(tokens) if any_blocked else [False] * len(tokens)
        return [
            is_blocked or _after(moment, claims)
            for claims, is_blocked, moment in zip(tokens, blocked, moments, strict=True)
        ]

    async def _blocked(self, tokens: Sequence[Claims]) -> list[bool]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for claims in tokens:
                pipe.exists(_blocklist_key(claims))
            return [bool(found) for found in await pipe.execute()]


@contextmanager
def _redis_errors() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
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
