"""The opening handshake of a WebSocket (RFC 6455, 4.2), from a request that Sanic has parsed."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from sanic import Request
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHeader
from websockets.http11 import Request as WebSocketRequest
from websockets.http11 import Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from app.api.auth import bearer_token
from app.api.errors import Problem
from app.auth.origins import origin_allowed
from app.realtime.connection import Connection, FrameProtocol, logger
from app.realtime.protocol import SUBPROTOCOL, TOKEN_SUBPROTOCOL
from app.settings.edge import WebSocketSettings
from app.texts.i18n import N_


class AcceptedHandshake(NamedTuple):
    """A handshake that may be answered."""

    ws: FrameProtocol
    """To be disposed of, unless a connection gets it and the transport."""
    answer: Response
    """101, still to be sent."""

    @property
    def session(self) -> bool:
        """Whether the client speaks the session protocol."""
        return self.ws.subprotocol == SUBPROTOCOL


class Handshake:
    """Checks handshakes."""

    def __init__(self, settings: WebSocketSettings) -> None:
        self._allowed_origins = settings.allowed_origins
        self._max_message = settings.max_message

    def check_origin(self, request: Request) -> None:
        """Raises `Problem` (403) for a browser's page that may not connect."""
        if not origin_allowed(request.headers.get("origin"), self._allowed_origins):
            raise _foreign_origin()

    def accept(self, request: Request) -> AcceptedHandshake:
        """Check the headers, and choose the subprotocol. Raises `Problem` (400, 426)."""
        ws = FrameProtocol(
            select_subprotocol=_select_subprotocol,
            state=State.OPEN,  # Sanic has parsed the request; what follows are frames
            max_size=self._max_message,
            logger=logger,
        )
        try:
            headers = Headers(request.headers.items())
        except InvalidHeader:  # its text repeats the header, which may be the one with the token
            raise _bad_handshake() from None
        answer = ws.accept(WebSocketRequest(request.path, headers, request.method, f"HTTP/{request.version}"))
        if answer.status_code == HTTPStatus.SWITCHING_PROTOCOLS and not _has_body(headers):
            return AcceptedHandshake(ws, answer)
        ws.dispose()
        raise _websocket_only() if answer.status_code == HTTPStatus.UPGRADE_REQUIRED else _bad_handshake()


def token_of(request: Request) -> str | None:
    """The token, from the header, the subprotocol (browsers can set nothing else) or `?jwt=`."""
    if token := bearer_token(request):
        return token
    for offered in request.headers.get("sec-websocket-protocol", "").split(","):
        if offered.strip().startswith(TOKEN_SUBPROTOCOL):
            return str(offered.strip().removeprefix(TOKEN_SUBPROTOCOL))
    return request.args.get("jwt") or None


def hand_over(request: Request, answer: Response, connection: Connection) -> None:
    """Answer 101; from here on the transport is the connection's, and Sanic knows nothing of it."""
    http: Any = request.protocol
    transport: Any = request.transport
    rest = bytes(http.recv_buffer)
    http.connections.discard(http)
    http.transport = None
    transport.set_protocol(connection)
    transport.write(answer.serialize())
    connection.connection_made(transport)
    transport.resume_reading()
    if rest:
        connection.data_received(rest)


def _has_body(headers: Headers) -> bool:
    """Whether something other than frames would follow the handshake."""
    return headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers or "Expect" in headers


def _select_subprotocol(ws: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    # the token that stands beside it is never echoed
    return Subprotocol(SUBPROTOCOL) if SUBPROTOCOL in offered else None


def _bad_handshake() -> Problem:
    return Problem(
        HTTPStatus.BAD_REQUEST, "bad_handshake", N_("The WebSocket handshake does not conform to RFC 6455.")
    )


def _websocket_only() -> Problem:
    return Problem(
        HTTPStatus.UPGRADE_REQUIRED,
        "websocket_only",
        N_("This path accepts WebSocket connections only. Use a WebSocket client."),
        {"Upgrade": "websocket", "Connection": "Upgrade"},
    )


def _foreign_origin() -> Problem:
    return Problem(
        HTTPStatus.FORBIDDEN,
        "foreign_origin",
        N_(
            "This origin is not allowed to connect. The operator lists the allowed origins in "
            "ALLOWED_ORIGINS."
        ),
    )
