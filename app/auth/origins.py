"""Which web pages may open a socket (RFC 6455, 10.2)."""

from __future__ import annotations

from collections.abc import Collection


def origin_allowed(origin: str | None, allowed: Collection[str]) -> bool:
    """Whether an `Origin` header may come in.

    Clients that aren't browsers send none and may. A browser's has to equal an allowed one; `null` can't.
    """
    return origin is None or origin.lower() in allowed
