"""A server of the hub's own HTTP connections, with little patience and one path, in the test's own loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from uuid import uuid4

from sanic import Request, Sanic
from sanic.response import BaseHTTPResponse, text

from app.api import errors
from app.api.prefixes import WEBSOCKET
from app.api.request import MAX_BODY_BYTES, LateBodyRequest, load_body
from app.api.ws import make_blueprint
from app.runtime.http1 import Head
from app.server.direct_upgrades import Connect, DirectUpgrades
from app.server.pending_connection import PendingConnection
from app.server.protocol import AdmissionQueues
from app.server.serve import bind

PATIENCE = 0.4  # seconds


@asynccontextmanager
async def little_server(
    on_request: Callable[[], None] = lambda: None,
    repeat_offenders: Callable[[Head], int] = lambda _: 0,
    queues: AdmissionQueues | None = None,
    patience: float = PATIENCE,
    connect: Connect | None = None,
) -> AsyncIterator[int]:
    """Its port. It answers `POST /echo` with the body, and calls back for each request.

    A request may take `patience` seconds to be received: short, for tests of those that take longer.
    `connect` serves WebSockets.
    """
    app: Sanic[Any, Any] = Sanic(
        f"little-{uuid4().hex}", configure_logging=False, request_class=LateBodyRequest
    )
    app.config.update(
        {
            "REQUEST_TIMEOUT": patience,
            "RESPONSE_TIMEOUT": patience,
            "KEEP_ALIVE_TIMEOUT": 2,
            "AUTO_EXTEND": False,
            "TOUCHUP": False,  # it works once in a process
        }
    )
    errors.install(app)

    @app.post("/echo")
    async def echo(request: Request) -> BaseHTTPResponse:
        await load_body(request, MAX_BODY_BYTES)
        on_request()
        _ = request.protocol  # the request keeps it from now on, as in the hub's admission
        return text(request.body.decode())

    if connect is not None:
        app.blueprint(make_blueprint(WEBSOCKET, connect))
    with bind("127.0.0.1", 0) as listener:
        direct = None if connect is None else DirectUpgrades(app, connect)
        limits = (queues or AdmissionQueues(), repeat_offenders, patience, direct)
        pending: Any = partial(PendingConnection, *limits)
        server: Any = await app.create_server(sock=listener, protocol=pending, return_asyncio_server=True)
        await server.startup()
        try:
            yield listener.getsockname()[1]
        finally:
            server.close()
            for connection in list(server.connections):
                connection.abort()
