"""The hub as a Sanic app, and the processes that serve it."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import uvloop
from sanic import Blueprint, Request, Sanic
from sanic.response import BaseHTTPResponse
from structlog.contextvars import unbind_contextvars

from app import __version__
from app.api import compat, cors, docs, errors, limits, security_headers
from app.api.envelope import error_answers
from app.api.methods import add_head_and_options
from app.api.notifications import ENVELOPED
from app.api.prefixes import REST
from app.api.request import MAX_BODY_BYTES, LateBodyRequest
from app.runtime import log
from app.runtime.metrics import REQUESTS
from app.server.bootstrap import bootstrap
from app.server.hub import Hub
from app.server.protocol import RECEIVE_BYTES
from app.server.serve import bind, raise_file_limit, serve
from app.server.start_notices import report
from app.server.supervisor import Supervisor
from app.settings import Settings

_log = logging.getLogger("hub.settings")

METHODS = frozenset(("GET", "HEAD", "OPTIONS", "PATCH", "DELETE", "POST", "PUT"))


def create_app(settings: Settings, *more: Blueprint) -> Sanic[Any, Any]:
    """Make the app, whose listeners start and stop the hub. `more` is served beside it."""
    app: Sanic[Any, Any] = Sanic("notification-hub", configure_logging=False, request_class=LateBodyRequest)
    app.config.update(_http_limits(settings))
    hub = bootstrap(settings)
    compat_routes = settings.http.compat_routes
    in_envelope = error_answers(settings.http.envelope, [REST + path for path in ENVELOPED])
    errors.install(app, compat.reference_addresses(compat_routes), in_envelope)
    docs.configure(app, __version__, compat.references(compat_routes), compat.tags(compat_routes))
    cors.install(app, settings.http.allowed_origins)
    limits.install(app)
    security_headers.install(app)
    for blueprint in (*hub.blueprints, *more):
        app.blueprint(blueprint)
    add_head_and_options(app)
    _observe_requests(app)
    app.ctx.max_bodies = settings.http.max_bodies
    app.ctx.connect = hub.connect
    app.ctx.repeat_offenders = hub.admission.repeat_offenders.retry_after
    _run_with(app, hub)
    return app


def _run_with(app: Sanic[Any, Any], hub: Hub) -> None:
    @app.before_server_start
    async def start(*_: object) -> None:
        await hub.start()

    @app.after_server_start
    async def consume(*_: object) -> None:
        await hub.consume()

    @app.before_server_stop
    async def drain(*_: object) -> None:
        await hub.drain()

    @app.after_server_stop
    async def stop(*_: object) -> None:
        await hub.stop()


def _http_limits(settings: Settings) -> dict[str, object]:
    return {
        "AUTO_EXTEND": False,  # where sanic-ext is installed, it would serve pages that the hub does not
        "ACCESS_LOG": False,  # Sanic's shows the whole address, with the token in it
        "FALLBACK_ERROR_FORMAT": "json",
        "REQUEST_MAX_SIZE": MAX_BODY_BYTES,
        "REQUEST_BUFFER_SIZE": RECEIVE_BYTES,  # reading pauses when so many bytes are unread
        "REQUEST_MAX_HEADER_SIZE": 12 * 1024,  # Sanic keeps it 4 KB below REQUEST_BUFFER_SIZE
        "REQUEST_TIMEOUT": 10,
        "RESPONSE_TIMEOUT": 30,
        "KEEP_ALIVE_TIMEOUT": 75,
        "PROXIES_COUNT": settings.server.proxies_count or None,
        "GRACEFUL_SHUTDOWN_TIMEOUT": settings.server.shutdown_grace,
    }


def _observe_requests(app: Sanic[Any, Any]) -> None:
    async def begin(request: Request) -> None:
        request.ctx.begun = time.perf_counter()
        log.bind_to_request(request.id)

    async def end(request: Request, response: BaseHTTPResponse) -> None:
        route = request.route.path if request.route else "unknown"
        seconds = time.perf_counter() - getattr(request.ctx, "begun", time.perf_counter())
        method = request.method if request.method in METHODS else "other"
        REQUESTS.labels(method, route, response.status).observe(seconds)
        unbind_contextvars("request_id")  # the connection's next request may be too broken to have one

    app.register_middleware(begin, "request")
    app.register_middleware(end, "response")


def run(settings: Settings) -> int:
    """Serve with `settings` until SIGTERM or Ctrl-C; returns the exit status."""
    log.configure(settings.server.log_level)
    report(settings)
    if not settings.outbox.in_process:
        _log.warning(
            "outbox_elsewhere",
            extra={"why": ("OUTBOX_IN_PROCESS is off: run `run.py outbox` as a separate process")},
        )
    raise_file_limit()
    if settings.server.workers == 1:
        _work(settings, bind(settings.server.host, settings.server.port))
        return 0
    bind(settings.server.host, settings.server.port).close()  # fails if someone else has it, be it shared
    one_more = partial(bind, settings.server.host, settings.server.port, shared=True)
    return Supervisor(
        settings.server.workers, one_more, partial(_work, settings), settings.server.shutdown_grace
    ).run()


def _work(
    settings: Settings,
    listener: socket.socket,
    lifeline: int | None = None,
    on_ready: Callable[[], None] | None = None,
) -> None:
    try:
        app = create_app(settings)
        uvloop.run(serve(app, listener, app.ctx.repeat_offenders, on_ready, lifeline))
    finally:
        listener.close()
