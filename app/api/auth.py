"""Who calls: the token of a request, checked in full."""

from __future__ import annotations

import hmac
from uuid import UUID

from pydantic import SecretStr
from sanic import Request

from app.api.errors import Problem, forbidden, insufficient_scope
from app.api.parameters import path_uuid
from app.auth.revocations import RevocationStore
from app.auth.tokens import Claims, ServiceClaims, TokenVerifier
from app.domain.errors import Unauthorized, Unavailable

METRICS = "metrics:read"


class Authenticator:
    """Checks that a token is valid and not revoked. Headers a gateway may set are never trusted."""

    def __init__(
        self, verifier: TokenVerifier, state: RevocationStore, metrics_token: SecretStr | None = None
    ) -> None:
        self._verifier = verifier
        self._state = state
        self._metrics_token = metrics_token.get_secret_value().encode() if metrics_token else None

    async def claims(self, token: str | None) -> Claims:
        """For a sign-in. Raises `Unauthorized`, or `Unavailable` when it can't be known."""
        claims = self._verifier.verify(token)
        await self._state.check(claims)
        return claims

    async def owner(self, request: Request, user_id: str) -> UUID:
        """The caller, who has to be the user that the path names. Raises as `claims` does, but while Redis is
        away a token that held lately still does.
        """
        claims = self._verifier.verify(bearer_token(request))
        await self._state.check_unless_known(claims)
        if claims.user_id != path_uuid("user_id", user_id):
            raise forbidden()
        return claims.user_id

    async def service(self, request: Request, scope: str) -> ServiceClaims:
        """The calling service, whose token has to have this scope. Raises as `claims` does, or `Problem`."""
        claims = self._verifier.verify_service(bearer_token(request))
        await self._state.check(claims)
        if scope not in claims.scopes:
            raise insufficient_scope(scope)
        return claims

    async def operator(self, request: Request) -> None:
        """Whoever runs the hub: has METRICS_TOKEN, which holds while Redis is away too, or a token with the
        scope. Raises as `service` does.
        """
        token = bearer_token(request) or ""
        given = token.encode(errors="surrogateescape")
        if self._metrics_token is None or not hmac.compare_digest(given, self._metrics_token):
            await self.service(request, METRICS)

    async def is_operator(self, request: Request) -> bool:
        """The same as an answer; no if it can't be known."""
        try:
            await self.operator(request)
        except (Problem, Unauthorized, Unavailable):
            return False
        return True


def bearer_token(request: Request) -> str | None:
    """The token of an Authorization header (RFC 6750, 2.1); None without one."""
    header: str | None = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthorized("invalid_token")
    return token.strip()
