"""The hub's own WebSocket connection as an echo server, for Autobahn: `python -m tests.autobahn.server`.

Handshake, hand-over and frames are the hub's code; new are only who may come (everybody) and what is sent.
"""

from __future__ import annotations

import math
from typing import Any
from uuid import UUID

import uvloop
from sanic import Request, Sanic
from websockets.frames import Frame, Opcode

from app.api import errors
from app.api.handshake import Handshake, hand_over
from app.api.prefixes import WEBSOCKET
from app.api.ws import connection_context, make_blueprint
from app.auth.tokens import MAX_UNIX_SECONDS, Claims
from app.realtime.connection import Connection
from app.realtime.protocol import text_frame
from app.realtime.timer_wheel import TimerWheel
from app.realtime.websocket import WebSocketConnection
from app.server.protocol import MAX_BODIES_BYTES
from app.server.serve import bind, serve
from app.settings.edge import WebSocketSettings

PATH = f"{WEBSOCKET}/notifications/users/anyone"

_ANYONE = Claims(UUID(int=0), "", 0, MAX_UNIX_SECONDS)
MAX_MESSAGE_BYTES = 64 * 1024  # the longest one of the cases that must be answered


class Echo(WebSocketConnection):
    """A connection that sends each message back as one frame.

    Texts come from the code under test, as a session gets them. It checks binary messages and ignores them:
    they are put together here.
    """

    _binary: bytes | None = None

    def _received(self, frame: Frame) -> None:
        super()._received(frame)
        if frame.opcode is Opcode.BINARY:
            self._binary = b""
        elif frame.opcode is Opcode.TEXT:
            self._binary = None
        if self._binary is not None and frame.opcode in (Opcode.BINARY, Opcode.CONT):
            self._binary += frame.data
            if frame.fin:
                self.send(Frame(Opcode.BINARY, self._binary).serialize(mask=False))


class EchoEndpoint:
    """The hub's handshake and connection, open to everybody: no token, no inbox, no count of connections."""

    def __init__(self, settings: WebSocketSettings, timer_wheel: TimerWheel) -> None:
        self._handshake = Handshake(settings)
        self._context = connection_context(settings, timer_wheel, lambda _: math.inf, lambda _: None)

    async def connect(self, request: Request, user_id: str) -> None:
        accepted = self._handshake.accept(request)
        connection = Echo(accepted.ws, _ANYONE, self._context, on_message=_send_back)
        hand_over(request, accepted.answer, connection)


def _send_back(connection: Connection, text: bytes) -> None:
    connection.send(text_frame(text))


def create_app() -> Sanic[Any, Any]:
    """The echo server, with the hub's default limits but for the size of a message."""
    app: Sanic[Any, Any] = Sanic("autobahn-echo", configure_logging=False)
    clock = TimerWheel()
    settings = WebSocketSettings(max_message=MAX_MESSAGE_BYTES)
    errors.install(app)
    app.ctx.connect = EchoEndpoint(settings, clock).connect
    app.blueprint(make_blueprint(WEBSOCKET, app.ctx.connect))

    @app.before_server_start
    async def start(*_: object) -> None:
        await clock.start()

    @app.after_server_stop
    async def stop(*_: object) -> None:
        await clock.stop()

    app.config.AUTO_EXTEND = False  # sanic-ext is installed beside the tests' tools
    app.ctx.max_bodies = MAX_BODIES_BYTES
    return app


def main() -> None:
    """Serve on a free port, printed when it is ready, until SIGTERM."""
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        uvloop.run(serve(create_app(), listener, lambda _: 0, lambda: print(port, flush=True)))


if __name__ == "__main__":
    main()
