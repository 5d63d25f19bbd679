"""Origins: which web pages may open a WebSocket (RFC 6455, 10.2)."""

from __future__ import annotations

from collections.abc import Collection


def origin_allowed(origin: str | None, allowed: Collection[str]) -> bool:
    """Whether a request with this `Origin` header is accepted.

    Clients that aren't browsers send none and are accepted. A browser's has to equal an allowed origin;
    `null` never does.
    """
    return origin is None or origin.lower() in allowed
