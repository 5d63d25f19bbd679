"""Serving a Sanic app on a socket of ours: from the address taken to the last request answered."""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from sanic import Sanic
from sanic.application.state import ApplicationServerInfo
from sanic.http.constants import HTTP

from app.domain.errors import ConfigurationError
from app.runtime.http1 import Head
from app.server.direct_upgrades import DirectUpgrades
from app.server.pending_connection import PendingConnection
from app.server.protocol import AdmissionQueues

CLEAN_UP_SECONDS = 3.0  # seconds past the grace, for requests under way and for what is to be closed
DRAIN_POLL_SECONDS = 0.02
BACKLOG_CONNECTIONS = 4096  # connections the kernel keeps while we accept others

log = logging.getLogger("hub.server")


async def serve(
    app: Sanic[Any, Any],
    listener: socket.socket,
    repeat_offenders: Callable[[Head], int],
    on_ready: Callable[[], None] | None = None,
    lifeline: int | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, or until the descriptor `lifeline` is readable; then drain and return.
    `repeat_offenders` says how many seconds an upgrade's head comes too early, if it would be refused again.

    Sanic's own `run` stops the loop under the listeners' feet; here it only serves HTTP.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    if lifeline is not None:
        loop.add_reader(lifeline, stopping.set)
    server = await _started(app, listener, repeat_offenders)
    host, port = listener.getsockname()[:2]
    log.info("ready", extra={"address": f"http://{host}:{port}"})
    if on_ready is not None:
        on_ready()
    await stopping.wait()
    if lifeline is not None:
        loop.remove_reader(lifeline)
    log.info("stopping")
    await _stop(server, app.config.GRACEFUL_SHUTDOWN_TIMEOUT + CLEAN_UP_SECONDS)


async def _started(
    app: Sanic[Any, Any], listener: socket.socket, repeat_offenders: Callable[[Head], int]
) -> Any:
    """Start the app's listeners, and serve on the socket between them; the server."""
    arrival: Any = partial(
        PendingConnection,
        AdmissionQueues(app.ctx.max_bodies),
        repeat_offenders,
        app.config.REQUEST_TIMEOUT,
        DirectUpgrades(app, app.ctx.connect),
    )  # Sanic only calls it
    # Sanic sets an empty Alt-Svc in each answer unless it knows that all its servers speak one version.
    app.state.server_info.append(ApplicationServerInfo({"version": HTTP.VERSION_1}))
    server: Any = await app.create_server(
        sock=listener,
        backlog=BACKLOG_CONNECTIONS,
        protocol=arrival,
        return_asyncio_server=True,
        asyncio_server_kwargs={"start_serving": False},
    )
    _spare_the_collector()
    await server.startup()
    await server.before_start()
    await server.start_serving()
    await server.after_start()
    return server


async def _stop(server: Any, within: float) -> None:
    try:
        async with asyncio.timeout(within):
            await server.before_stop()
            server.close()
            await _answered(server, CLEAN_UP_SECONDS / 2)
            await server.after_stop()
        log.info("stopped")
    except TimeoutError:
        log.error("stopped_hard", extra={"why": "a dependency does not answer"})


async def _answered(server: Any, within: float) -> None:
    """Wait for the requests that are under way."""
    end = time.monotonic() + within
    while server.connections and time.monotonic() < end:
        for connection in list(server.connections):
            connection.close_if_idle()
        await asyncio.sleep(DRAIN_POLL_SECONDS)


def _spare_the_collector() -> None:
    """Objects made at start live as long as the process, and a batch makes thousands of values without
    cycles: collecting them repeatedly cost a fifth of the CPU under load (decision 007).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def raise_file_limit() -> None:
    """Each connection is a file to the kernel, and 1024 is what a process may have unless it asks for more:
    a thousand idle clients would then shut out all others. Ask for all it may have.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # macOS says "unlimited" and means less
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Take the address, but accept no one yet; `shared` with other sockets of this user.

    Raises `ConfigurationError` when it can't be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
        return listener
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ConfigurationError(
            f"Can't listen on {host}, port {port}: {why}. Set HOST or PORT to another."
        ) from None
