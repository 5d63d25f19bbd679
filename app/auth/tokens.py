"""Access tokens (RFC 7519): one algorithm, required claims, checked by the hub itself."""

from __future__ import annotations

import re
import time
from typing import Any, NamedTuple
from uuid import UUID

import jwt

from app.domain.errors import Unauthorized
from app.domain.time import Now
from app.domain.user_ids import UUIDS_ONLY, UserIds, foreign_id
from app.settings.edge import AuthSettings

# PyJWT also accepts padding after the signature, which would give one token many spellings.
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
MAX_TOKEN_BYTES = 8192
MAX_SERVICE_NAME_CHARS = 255
MAX_UNIX_SECONDS = 2**40  # some 35,000 years from now; larger values overflow timers
LEEWAY_SECONDS = 5  # seconds of clock difference between the issuer and this node


class Claims(NamedTuple):
    """The claims of a verified token. Times are unix seconds; `issued_at` keeps a fraction, if it has one."""

    user_id: UUID
    token_id: str
    issued_at: float
    expires_at: int
    foreign_id: str | None = None
    """The subject as the token has it, where it is a foreign id that `user_id` is mapped from."""


class ServiceClaims(NamedTuple):
    """The claims of a service's verified token. `scopes` are those of its `scope` claim (RFC 8693, 4.2)."""

    user_id: str
    token_id: str
    issued_at: float
    expires_at: int
    scopes: frozenset[str]


class TokenVerifier:
    """Verifies tokens with the configured key, algorithm, issuer and audience."""

    def __init__(self, settings: AuthSettings, now: Now = time.time, user_ids: UserIds = UUIDS_ONLY) -> None:
        """`now` gives unix seconds; `user_ids` reads the subjects of users' tokens."""
        self._now = now
        self._user_ids = user_ids
        self._algorithm = settings.jwt_algorithm
        self._key = settings.jwt_key
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience
        self._type_claim = settings.jwt_type_claim
        self._type = settings.jwt_type
        self._required = ["sub", "jti", "iat", "exp"]
        self._required += ["iss"] if self._issuer else []
        self._required += ["aud"] if self._audience else []

    def verify(self, token: str | None) -> Claims:
        """The claims of a user's token. Raises `Unauthorized` with the reason; never logs the token."""
        claims = self._decode(token)
        user_id = self._user_ids.read(claims["sub"])
        if user_id is None:
            raise Unauthorized("invalid_token", "foreign_subject")
        foreign = foreign_id(claims["sub"]) if self._user_ids.mapped else None
        return Claims(user_id, claims["jti"], claims["iat"], int(claims["exp"]), foreign)

    def verify_service(self, token: str | None) -> ServiceClaims:
        """The claims of a service's token, whose subject may be any text. Raises as `verify` does."""
        claims = self._decode(token)
        name = claims["sub"]
        if not name or not name.isprintable() or len(name) > MAX_SERVICE_NAME_CHARS:
            raise Unauthorized("invalid_token")
        scope = claims.get("scope", "")
        scopes = frozenset(scope.split()) if isinstance(scope, str) else frozenset()
        return ServiceClaims(claims["sub"], claims["jti"], claims["iat"], int(claims["exp"]), scopes)

    def _decode(self, token: str | None) -> dict[str, Any]:
        if not token:
            raise Unauthorized("missing_token")
        if len(token) > MAX_TOKEN_BYTES or not _COMPACT.fullmatch(token):
            raise Unauthorized("invalid_token")
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key,
                algorithms=[self._algorithm],
                issuer=self._issuer,
                audience=self._audience,
                options={
                    "require": self._required,
                    "verify_aud": self._audience is not None,
                    # PyJWT would ask this machine's clock, which may be wrong.
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
            raise Unauthorized("invalid_token") from None
        if claims.get(self._type_claim, self._type) != self._type:
            raise Unauthorized("invalid_token", "token_type")
        self._check_times(claims)
        token_id = claims["jti"]
        if not isinstance(token_id, str) or not token_id or not token_id.isprintable():
            raise Unauthorized("invalid_token")
        return claims

    def _check_times(self, claims: dict[str, Any]) -> None:
        """Raises `Unauthorized`."""
        expires_at, begins_at = _seconds(claims["exp"]), _seconds(claims["iat"])
        if "nbf" in claims:
            begins_at = max(begins_at, _seconds(claims["nbf"]))
        now = self._now()
        if int(begins_at) > now + LEEWAY_SECONDS:
            raise Unauthorized("invalid_token")
        if int(expires_at) <= now - LEEWAY_SECONDS:
            raise Unauthorized("expired_token")


def _seconds(value: object) -> float:
    """A NumericDate (RFC 7519, 2). Raises `Unauthorized` for anything but a number from 0 to
    MAX_UNIX_SECONDS.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_UNIX_SECONDS:
        raise Unauthorized("invalid_token")
    return value
