"""Routes whose handlers are methods of a resource."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from sanic import HTTPResponse

Add = Callable[[Any], object]
"""What `Blueprint.get` and its siblings return: it adds the handler that it is called with."""
Handler = Callable[..., Awaitable[HTTPResponse]]


def add_routes(*routes: tuple[Add, Handler]) -> None:
    """Add each handler to its route."""
    for add, handler in routes:
        add(handler)
