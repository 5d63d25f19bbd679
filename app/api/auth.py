"""Authentication: the token of a request, with its signature, claims, revocation and scopes."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import unquote
from uuid import UUID

from pydantic import SecretStr
from sanic import Request

from app.api.errors import Problem, forbidden, insufficient_scope
from app.api.headers import BLANKS
from app.api.limits import RequestLimits
from app.api.parameters import path_uuid
from app.api.request import MAX_BODY_BYTES, MAX_USER_BODY_BYTES, load_body
from app.auth.revocations import RevocationStore
from app.auth.tokens import Claims, ServiceClaims, TokenVerifier, UnknownKeyError
from app.domain.errors import Unauthorized, Unavailable
from app.domain.user_ids import UUIDS_ONLY, UserIds

METRICS = "metrics:read"
C = TypeVar("C")


class Authenticator:
    """Checks that a token is valid and not revoked. Never trusts headers that a gateway may set."""

    def __init__(
        self,
        verifier: TokenVerifier,
        revocations: RevocationStore,
        metrics_token: SecretStr | None = None,
        user_ids: UserIds = UUIDS_ONLY,
        limits: RequestLimits | None = None,
    ) -> None:
        """`user_ids` reads the ids in paths. Without `limits`, calls aren't limited."""
        self._user_ids = user_ids
        self._limits = limits
        self._verifier = verifier
        self._revocations = revocations
        self._metrics_token = metrics_token.get_secret_value().encode() if metrics_token else None

    async def claims(self, token: str | None) -> Claims:
        """The claims of a valid token. Raises `Unauthorized`, or `Unavailable` if Redis is down."""
        claims = await self._verified(self._verifier.verify, token)
        await self._revocations.check(claims)
        return claims

    async def _verified(self, verify: Callable[[str | None], C], token: str | None) -> C:
        """What `verify` says; if the token names an unknown key, after the keys were read again."""
        try:
            return verify(token)
        except UnknownKeyError:
            if not await self._verifier.refresh_keys():
                raise
        return verify(token)

    async def owner(self, request: Request, user_id: str) -> UUID:
        """The caller, who must be the user in the path. Receives the body. Raises `Problem`, or as `claims`
        does.

        While Redis is down, a token that was valid recently is still accepted (decision 009).
        """
        caller = await self._user(request)
        if caller != self.user_in_path(user_id):
            raise forbidden()
        await load_body(request, MAX_USER_BODY_BYTES)
        return caller

    async def caller(self, request: Request) -> UUID:
        """The user whose token the request has. Receives the body. Raises as `claims` does, but is as lenient
        as `owner`.
        """
        caller = await self._user(request)
        await load_body(request, MAX_USER_BODY_BYTES)
        return caller

    async def _user(self, request: Request) -> UUID:
        """The user whose token the request has, within the limits of user and address."""
        limits = self._limits
        if limits is not None:
            limits.check_address(request)
            limits.count_address(request)
        claims = await self._verified(self._verifier.verify, bearer_token(request))
        await self._revocations.check_or_cached(claims)
        if limits is not None:
            await limits.enter(request, claims.user_id)
        return claims.user_id

    async def owner_or_service(self, request: Request, user_id: str, scope: str) -> UUID | None:
        """The caller, if it is the user in the path; None for a service whose token has the scope. Receives
        the body. Raises as `owner` and `service` do.
        """
        limits = self._limits
        if limits is not None:
            limits.check_address(request)
        try:
            claims = await self._verified(self._verifier.verify_service, bearer_token(request))
        except Unauthorized:
            if limits is not None:
                limits.count_address(request)
            raise
        if scope not in claims.scopes:
            return await self.owner(request, user_id)
        await self.service(request, scope)
        return None

    def user_in_path(self, user_id: str) -> UUID:
        """The user that a path names. Raises `Problem`."""
        return self._user_ids.read(unquote(user_id)) or path_uuid("user_id", user_id)

    def subject(self, claims: ServiceClaims) -> UUID | None:
        """The user whom a service's token names, if it names one."""
        return self._user_ids.read(claims.user_id)

    async def service(self, request: Request, scope: str) -> ServiceClaims:
        """The calling service, whose token must have the scope. Receives the body. Raises `Problem`, or as
        `claims` does.
        """
        limits = self._limits
        if limits is not None:
            limits.check_address(request)
        try:
            claims = await self._verified(self._verifier.verify_service, bearer_token(request))
            await self._revocations.check(claims)
            if scope not in claims.scopes:
                raise insufficient_scope(scope)
        except (Problem, Unauthorized):
            if limits is not None:
                limits.count_address(request)
            raise
        await load_body(request, MAX_BODY_BYTES)
        return claims

    async def signed(self, request: Request) -> None:
        """Receive the body of a call that has a signature of it in place of a token. Call `refused` if the
        signature is not valid. Raises `Problem`.
        """
        if self._limits is not None:
            self._limits.check_address(request)
        await load_body(request, MAX_BODY_BYTES)

    def refused(self, request: Request) -> None:
        """Count a call whose signature is not valid for its address."""
        if self._limits is not None:
            self._limits.count_address(request)

    async def may(self, request: Request, scope: str) -> bool:
        """Whether the caller's token has the scope; False if that cannot be checked."""
        try:
            await self.service(request, scope)
        except (Problem, Unauthorized, Unavailable):
            return False
        return True

    async def operator(self, request: Request) -> None:
        """Check that the caller has METRICS_TOKEN or a token with the scope `metrics:read`.

        METRICS_TOKEN is accepted while Redis is down too. Raises as `service` does.
        """
        token = bearer_token(request) or ""
        given = token.encode(errors="surrogateescape")
        if self._metrics_token is None or not hmac.compare_digest(given, self._metrics_token):
            await self.service(request, METRICS)

    async def is_operator(self, request: Request) -> bool:
        """Whether the caller is an operator; False if that cannot be checked."""
        try:
            await self.operator(request)
        except (Problem, Unauthorized, Unavailable):
            return False
        return True


def bearer_token(request: Request) -> str | None:
    """The token of the Authorization header (RFC 6750, 2.1); None without one.

    Other schemes, which a gateway in front may use, don't count. Raises `Unauthorized` for two tokens that
    differ: which of them a gateway has checked is unknown.
    """
    tokens = set()
    for line in request.headers.getall("authorization", []):
        scheme, _, token = line.strip(BLANKS).partition(" ")
        if scheme.lower() == "bearer" and token.strip(BLANKS):
            tokens.add(token.strip(BLANKS))
    if len(tokens) > 1:
        raise Unauthorized("invalid_token")
    return tokens.pop() if tokens else None
