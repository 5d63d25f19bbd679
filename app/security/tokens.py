"""Access tokens (RFC 7519): one algorithm, required claims, checked by the hub itself."""

from __future__ import annotations

import re
from typing import NamedTuple
from uuid import UUID

import jwt

from app.errors import Unauthorized
from app.settings import Settings

# PyJWT also accepts padding after the signature, which would give one token many spellings.
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
MAX_TOKEN_LENGTH = 8192
LATEST = 2**40  # some 35,000 years from now: later is no date, and overflows clocks
LEEWAY = 5  # seconds of clock difference between the issuer and us


class Claims(NamedTuple):
    """What a verified token says. Times are unix seconds."""

    user_id: UUID
    token_id: str
    issued_at: int
    expires_at: int


class TokenVerifier:
    """Verifies tokens with the configured key, algorithm, issuer and audience."""

    def __init__(self, settings: Settings) -> None:
        self._algorithm = settings.jwt_algorithm
        self._key = settings.jwt_key
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience
        self._required = ["sub", "jti", "iat", "exp"]
        self._required += ["iss"] if self._issuer else []
        self._required += ["aud"] if self._audience else []

    def verify(self, token: str | None) -> Claims:
        """The claims of `token`. Raises `Unauthorized` with the reason; never logs the token."""
        if not token:
            raise Unauthorized("missing_token")
        if len(token) > MAX_TOKEN_LENGTH or not _COMPACT.fullmatch(token):
            raise Unauthorized("invalid_token")
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[self._algorithm],
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY,
                options={"require": self._required, "verify_aud": self._audience is not None},
            )
            token_id = claims["jti"]
            if not isinstance(token_id, str) or not token_id or not token_id.isprintable():
                raise Unauthorized("invalid_token")
            issued_at, expires_at = int(claims["iat"]), int(claims["exp"])
            if expires_at > LATEST:
                raise Unauthorized("invalid_token")
            return Claims(UUID(claims["sub"]), token_id, issued_at, expires_at)
        except jwt.ExpiredSignatureError:
            raise Unauthorized("expired_token") from None
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
            raise Unauthorized("invalid_token") from None
