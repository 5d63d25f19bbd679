"""Header fields by which browsers keep pages and answers from being used in another way than is meant."""

from __future__ import annotations

from typing import Any

from sanic import Request, Sanic
from sanic.response import BaseHTTPResponse

PAGE = {
    "X-Frame-Options": "DENY",  # for browsers that don't know frame-ancestors
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
}
"""Of each page, beside the page's own Content-Security-Policy and `ANSWER`."""
ANSWER = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the address of a page may hold a token
}
"""Of each answer."""
_NO_PAGE = "default-src 'none'; frame-ancestors 'none'"


def install(app: Sanic[Any, Any]) -> None:
    """Add them to each answer of the app. JSON that a browser shows as a page may load nothing."""

    async def add(_: Request, response: BaseHTTPResponse) -> None:
        for name, value in ANSWER.items():
            response.headers.setdefault(name, value)
        if "json" in (response.content_type or ""):
            response.headers.setdefault("Content-Security-Policy", _NO_PAGE)

    app.register_middleware(add, "response")
