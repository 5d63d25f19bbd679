"""Access tokens (RFC 7519): one algorithm a key, required claims, checked by the hub itself."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID

import jwt
from cachetools import LRUCache
from jwt.utils import base64url_decode

from app.auth.jwks import KeySource
from app.domain.errors import Unauthorized
from app.domain.time import Now
from app.domain.user_ids import UUIDS_ONLY, UserIds, foreign_id
from app.settings.edge import AuthSettings
from app.settings.jwt_keys import VerificationKey

# PyJWT also accepts padding after the signature, which would give one token many spellings.
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
MAX_TOKEN_BYTES = 8192
MAX_SERVICE_NAME_CHARS = 255
MAX_UNIX_SECONDS = 2**40  # some 35,000 years from now; larger values overflow timers
MAX_VERIFIED_TOKENS = 20_000  # remembered by their hashes, some 200 bytes each
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


class UnknownKeyError(Unauthorized):
    """No key is known that the token may be signed with; the issuer may have a new one."""

    def __init__(self) -> None:
        super().__init__("invalid_token")


class TokenVerifier:
    """Verifies tokens with the configured keys, issuer and audience."""

    def __init__(
        self,
        settings: AuthSettings,
        now: Now = time.time,
        user_ids: UserIds = UUIDS_ONLY,
        key_source: KeySource | None = None,
    ) -> None:
        """`now` gives unix seconds; `user_ids` reads the subjects of users' tokens; `key_source` has keys
        beside those of the settings.
        """
        self._now = now
        self._user_ids = user_ids
        self._static_keys = settings.static_keys
        self._key_source = key_source
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience
        self._type_claim = settings.jwt_type_claim
        self._type = settings.jwt_type
        self._verified_hashes: LRUCache[bytes, None] = LRUCache(MAX_VERIFIED_TOKENS)
        self._verified_with: Sequence[VerificationKey] = ()
        self._required = ["sub", "jti", "iat", "exp"]
        self._required += ["iss"] if self._issuer else []
        self._required += ["aud"] if self._audience else []

    def verify(self, token: str | None) -> Claims:
        """The claims of a user's token. Raises `Unauthorized` with the reason, or `Unavailable` before the
        keys were read; never logs the token.
        """
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
        claims = self._verified(token)
        if claims.get(self._type_claim, self._type) != self._type:
            raise Unauthorized("invalid_token", "token_type")
        self._check_times(claims)
        token_id = claims["jti"]
        if not isinstance(token_id, str) or not token_id or not token_id.isprintable():
            raise Unauthorized("invalid_token")
        return claims

    async def refresh_keys(self) -> bool:
        """Read the keys again after an `UnknownKeyError`. Returns whether another try may succeed."""
        return self._key_source is not None and await self._key_source.refresh()

    def _verified(self, token: str) -> dict[str, Any]:
        """The claims, whose signature is one of a key that the header may mean.

        A token that was verified lately is known by its hash, until the keys change: a client sends the same
        one with each request and each reconnect.
        """
        keys = self._key_source.keys if self._key_source is not None else ()
        if keys is not self._verified_with:
            self._verified_hashes.clear()
            self._verified_with = keys
        digest = sha256(token.encode()).digest()
        if digest in self._verified_hashes:
            claims: dict[str, Any] = json.loads(base64url_decode(token.split(".")[1]))
            return claims
        claims = self._with_signature(token, self._static_keys + keys)
        self._verified_hashes[digest] = None
        return claims

    def _with_signature(self, token: str, keys: Sequence[VerificationKey]) -> dict[str, Any]:
        """The claims of a token that was not verified before."""
        kid, algorithm = _names_of_key(token)
        for key in keys:
            if key.algorithm != algorithm or (kid is not None and key.kid not in (None, kid)):
                continue
            try:
                return self._decoded(token, key)
            except jwt.InvalidSignatureError:
                continue
        known = kid is not None and any(key.kid == kid for key in keys)
        if self._key_source is None or known:
            raise Unauthorized("invalid_token")
        raise UnknownKeyError

    def _decoded(self, token: str, key: VerificationKey) -> dict[str, Any]:
        """Raises `jwt.InvalidSignatureError` if it isn't the key's, else `Unauthorized`."""
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
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
        except jwt.InvalidSignatureError:
            raise
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
            raise Unauthorized("invalid_token") from None
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


def _names_of_key(token: str) -> tuple[str | None, object]:
    """The `kid` and `alg` of the header, which only choose the keys to try. PyJWT would check the header, the
    encoding and the signature for that, and then again with the key. Raises `Unauthorized`.
    """
    try:
        header = json.loads(base64url_decode(token.partition(".")[0]))
    except (ValueError, RecursionError):
        raise Unauthorized("invalid_token") from None
    kid = header.get("kid") if isinstance(header, dict) else 0
    if not isinstance(kid, str | None):
        raise Unauthorized("invalid_token")
    return kid, header.get("alg")


def _seconds(value: object) -> float:
    """A NumericDate (RFC 7519, 2). Raises `Unauthorized` for anything but a number from 0 to
    MAX_UNIX_SECONDS.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_UNIX_SECONDS:
        raise Unauthorized("invalid_token")
    return value
