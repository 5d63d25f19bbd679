"""CORS: access to REST for pages of other origins (Fetch standard, "CORS protocol")."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sanic import Request, Sanic
from sanic.response import BaseHTTPResponse

from app.api.headers import origin
from app.auth.origins import origin_allowed

_READABLE = (
    "Content-Language",
    "Inbox-Count",
    "Link",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
)
_ANSWER = {"Access-Control-Expose-Headers": ", ".join(_READABLE)}
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Accept-Language, Content-Type, Idempotency-Key, "
    "Last-Event-ID",
    "Access-Control-Max-Age": "600",  # seconds
}


def headers(request: Request, allowed: Collection[str]) -> dict[str, str]:
    """What an answer says of who may read it."""
    page = origin(request)
    if page is None or not origin_allowed(page, allowed):
        return {"Vary": "Origin"}
    preflight = request.method == "OPTIONS" and "access-control-request-method" in request.headers
    answer = _PREFLIGHT if preflight else _ANSWER
    return {"Vary": "Origin", **answer, "Access-Control-Allow-Origin": page}


def install(app: Sanic[Any, Any], allowed: Collection[str]) -> None:
    """Allow pages of the `allowed` origins, and no others, to read the answers of `app`.

    Cookies are not sent (no Allow-Credentials): only the token authenticates. sanic-ext's CORS is not used,
    as it replaces `Vary`, and omits it for a missing or foreign origin: a cache would then serve one page's
    answer to another.
    """

    async def add(request: Request, response: BaseHTTPResponse) -> None:
        vary = response.headers.get("vary")
        response.headers.update(headers(request, allowed))
        response.headers["vary"] = f"{vary}, Origin" if vary else "Origin"

    app.register_middleware(add, "response")
