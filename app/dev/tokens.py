"""Tokens as the user service signs them. For development only."""

from __future__ import annotations

import time
import uuid

import jwt

ISSUER = "hub-development"
ONE_DAY_SECONDS = 24 * 3600


def sign(
    user_id: str,
    secret: str,
    *,
    issuer: str | None = ISSUER,
    lifetime: int = ONE_DAY_SECONDS,
    scope: str | None = None,
) -> str:
    """Sign an HS256 token of `user_id`, valid for `lifetime` seconds. With a `scope` it is a service's."""
    now = int(time.time())
    claims: dict[str, object] = {"sub": user_id, "jti": str(uuid.uuid4()), "iat": now, "exp": now + lifetime}
    if issuer:
        claims["iss"] = issuer
    if scope:
        claims["scope"] = scope
    return jwt.encode(claims, secret, algorithm="HS256")
