"""Header fields of requests (RFC 9110, 5)."""

from __future__ import annotations

from sanic import Request

from app.runtime.http1 import lower

BLANKS = " \t"


def list_items(request: Request, name: str) -> list[str]:
    """The items of a list: all lines of the field together, without empty items (RFC 9110, 5.3 and 5.6.1).

    For fields whose items hold no quoted strings.
    """
    items = ",".join(request.headers.getall(name, [])).split(",")
    return [item.strip(BLANKS) for item in items if item.strip(BLANKS)]


def accept_language(request: Request) -> str | None:
    """The field Accept-Language as one line; None without one."""
    return ", ".join(list_items(request, "accept-language")) or None


def offers_websocket(request: Request) -> bool:
    """Whether `websocket` is among the protocols that the client would upgrade to (RFC 9110, 7.8)."""
    return any(lower(item) == "websocket" for item in list_items(request, "upgrade"))


def origin(request: Request) -> str | None:
    """The field Origin; None without one. Several lines together are no origin."""
    return ", ".join(request.headers.getall("origin", [])) if "origin" in request.headers else None
