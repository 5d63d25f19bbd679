"""Requests whose body is received when the caller is known."""

from __future__ import annotations

from typing import Any

from sanic import Request

from app.api.errors import HubRequest

MAX_USER_BODY_BYTES = 256 * 1024  # the largest bodies that users send, preferences, are much smaller
MAX_BODY_BYTES = 1024 * 1024


class LateBodyRequest(HubRequest):
    """A request whose body is unread when its handler begins: `load_body` receives it.

    Sanic would receive it before the handler can check the token: whoever has none could fill the memory.
    """

    body_wanted = False
    """Whether the call may have a body that wasn't received yet."""

    async def receive_body(self) -> None:
        """Sanic calls it before the handler."""
        self.body_wanted = True


async def load_body(request: Request, most: int) -> None:
    """Receive the body, of at most so many bytes. To be called once the caller is known.

    Raises `PayloadTooLarge`, `BadRequest`, or `Problem` (503) while the node holds too many bodies.
    """
    if not isinstance(request, LateBodyRequest) or not request.body_wanted:
        return
    request.body_wanted = False
    stream: Any = request.stream
    if hasattr(stream, "read_body"):
        request.body = await stream.read_body(most)
    else:  # a test's, without a connection
        request.body = b"".join([piece async for piece in stream])
