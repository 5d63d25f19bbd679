"""Upgrades to WebSockets without Sanic's protocol, router and middleware (decision 057)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, cast

from sanic import Request, Sanic
from sanic.compat import Header
from sanic.exceptions import SanicException
from sanic.models.server_types import ConnInfo

from app.api.prefixes import WEBSOCKET
from app.runtime.http1 import Head

Connect = Callable[[Request, str], Awaitable[None]]
"""Makes a request a connection of the user whom the path names."""
_PATH = re.compile(rf"{WEBSOCKET}/notifications/users/([^/]+)/?")


class DirectUpgrades:
    """Recognises requests that open a WebSocket, and has them served at once.

    Sanic would make a protocol, a timer and a task for each, look for the route and run the middleware.
    It is left what it is needed for: answers to those that are refused.
    """

    def __init__(self, app: Sanic[Any, Any], connect: Connect) -> None:
        self._app = app
        self._request_class: type[Request] = app.request_class or Request
        self.connect = connect
        self.max_seconds: float = app.config.RESPONSE_TIMEOUT
        """The longest time that an upgrade may take."""

    def request_of(self, head: Head, transport: asyncio.Transport) -> tuple[Request, str] | None:
        """The request to upgrade and the user in its path, as Sanic's router would find them. None for
        others, which Sanic serves.
        """
        user_id = self.user_of(head)
        if user_id is None:
            return None
        try:
            request = self._request_class(
                head.target.encode(),
                Header(head.fields),
                head.version,
                head.method,
                cast(Any, transport),
                self._app,
            )
        except SanicException:
            return None
        request.conn_info = ConnInfo(cast(Any, transport))
        return request, user_id

    def user_of(self, head: Head) -> str | None:
        """The user in the path of an upgrade that Sanic has no part in; else None."""
        if not head.websocket or head.method != "GET" or head.has_body:
            return None
        path = _PATH.fullmatch(head.target.partition("?")[0])
        return None if path is None else path[1]
