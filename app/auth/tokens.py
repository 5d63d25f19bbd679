"""Access tokens (RFC 7519): one algorithm a key, required claims, checked by the hub itself."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID

from cachetools import LRUCache

from app.auth.jwks import KeySource
from app.auth.signatures import PreparedKey, decode_segment, read_header
from app.domain.errors import Unauthorized
from app.domain.time import Now
from app.domain.user_ids import UUIDS_ONLY, UserIds, foreign_id
from app.settings.edge import AuthSettings
from app.settings.jwt_keys import VerificationKey

# Without padding, which would give one token many spellings.
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
        self._static_keys = [*map(PreparedKey, settings.static_keys)]
        self._key_source = key_source
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience
        self._type_claim = settings.jwt_type_claim
        self._type = settings.jwt_type
        self._verified_hashes: LRUCache[bytes, None] = LRUCache(MAX_VERIFIED_TOKENS)
        self._verified_with: Sequence[VerificationKey] = ()
        self._keys = self._static_keys

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
            self._keys = [*self._static_keys, *map(PreparedKey, keys)]
        digest = sha256(token.encode()).digest()
        if digest not in self._verified_hashes:
            claims = self._with_signature(token)
            self._verified_hashes[digest] = None
            return claims
        return _claims(token.split(".")[1])

    def _with_signature(self, token: str) -> dict[str, Any]:
        """The claims of a token that was not verified before."""
        signed, _, last = token.rpartition(".")
        first, _, payload = signed.partition(".")
        header = read_header(first)
        if header is None:
            raise Unauthorized("invalid_token")
        try:
            signature = decode_segment(last)
        except ValueError:
            raise Unauthorized("invalid_token") from None
        text = signed.encode()
        for key in self._keys:
            if key.may_verify(header) and key.verifies(text, signature):
                claims = _claims(payload)
                self._check_claims(claims)
                return claims
        known = header.kid is not None and any(key.kid == header.kid for key in self._keys)
        if self._key_source is None or known:
            raise Unauthorized("invalid_token")
        raise UnknownKeyError

    def _check_claims(self, claims: dict[str, Any]) -> None:
        """Raises `Unauthorized` unless all that is required is there, and names the issuer and audience.
        Times are checked elsewhere: they have to hold each time that a token comes.
        """
        for name in ("sub", "jti"):
            if not isinstance(claims.get(name), str):
                raise Unauthorized("invalid_token")
        for name in ("iat", "exp"):
            if claims.get(name) is None:
                raise Unauthorized("invalid_token")
        if self._issuer is not None and claims.get("iss") != self._issuer:
            raise Unauthorized("invalid_token")
        if self._audience is not None and self._audience not in _audiences(claims):
            raise Unauthorized("invalid_token")

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


def _claims(segment: str) -> dict[str, Any]:
    """The payload of a token whose signature is valid. Raises `Unauthorized`."""
    try:
        claims = json.loads(decode_segment(segment))
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        raise Unauthorized("invalid_token")
    return claims


def _audiences(claims: dict[str, Any]) -> list[Any]:
    """Those that the token names, one or a list (RFC 7519, 4.1.3); none if anything else is among them."""
    named = claims.get("aud")
    listed = named if isinstance(named, list) else [named]
    return listed if all(isinstance(each, str) for each in listed) else []


def _seconds(value: object) -> float:
    """A NumericDate (RFC 7519, 2). Raises `Unauthorized` for anything but a number from 0 to
    MAX_UNIX_SECONDS.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_UNIX_SECONDS:
        raise Unauthorized("invalid_token")
    return value
