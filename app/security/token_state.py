"""Whether a valid token was revoked meanwhile; the user service writes that into Redis."""

from __future__ import annotations

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
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.exists(f"user-service:jwt-blocklist:{claims.token_id}")
                pipe.get(f"user-service:global_revoke_ts:{claims.user_id}")
                blocked, revoked_at = await pipe.execute()
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable(
                "redis", f"can't tell whether a token is revoked ({type(error).__name__})"
            ) from None
        if blocked or (revoked_at is not None and not _seconds(revoked_at) <= claims.issued_at):
            raise Unauthorized("revoked_token")


def _seconds(value: bytes) -> float:
    try:
        return float(value)
    except ValueError:
        return float("nan")  # an unreadable revocation is still one: nothing compares with it
