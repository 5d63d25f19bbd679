"""The opening handshake of a WebSocket (RFC 6455, 4.2), from a request that Sanic has parsed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
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
from app.api.headers import BLANKS, list_items, offers_websocket, origin
from app.auth.origins import origin_allowed
from app.realtime.connection import Connection
from app.realtime.protocol import SUBPROTOCOL, TOKEN_SUBPROTOCOL
from app.realtime.websocket import FrameProtocol, logger
from app.settings.edge import WebSocketSettings
from app.texts.i18n import N_

VERSION = "13"
_UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": VERSION}


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
        if not origin_allowed(origin(request), self._allowed_origins):
            raise _foreign_origin()

    @property
    def allowed_origins(self) -> Collection[str]:
        """The origins whose pages may connect."""
        return self._allowed_origins

    def check_version(self, request: Request) -> None:
        """Raises `Problem` (426) for an upgrade to another version of the protocol (RFC 6455, 4.2.2)."""
        versions = [value.strip(BLANKS) for value in request.headers.getall("sec-websocket-version", [])]
        if offers_websocket(request) and versions != [VERSION]:
            raise _other_version()

    def accept(self, request: Request) -> AcceptedHandshake:
        """Check the headers, and choose the subprotocol. Raises `Problem` (400, 426)."""
        self.check_version(request)
        ws = FrameProtocol(
            select_subprotocol=_select_subprotocol,
            state=State.OPEN,  # Sanic has parsed the request; what follows are frames
            max_size=self._max_message,
            logger=logger,
        )
        try:
            headers = Headers(_handshake_headers(request))
        except InvalidHeader:  # its text repeats the header, which may be the one with the token
            raise _bad_handshake() from None
        answer = ws.accept(WebSocketRequest(request.path, headers, request.method, f"HTTP/{request.version}"))
        if answer.status_code == HTTPStatus.SWITCHING_PROTOCOLS and not _has_body(request):
            return AcceptedHandshake(ws, answer)
        ws.dispose()
        raise _websocket_only() if answer.status_code == HTTPStatus.UPGRADE_REQUIRED else _bad_handshake()


def token_of(request: Request) -> str | None:
    """The token, from the header, the subprotocol (browsers can set nothing else) or `?jwt=`."""
    if token := bearer_token(request):
        return token
    for offered in list_items(request, "sec-websocket-protocol"):
        if offered.startswith(TOKEN_SUBPROTOCOL):
            return offered.removeprefix(TOKEN_SUBPROTOCOL)
    return request.args.get("jwt") or None


def hand_over(request: Request, answer: bytes, connection: Connection) -> None:
    """Send the head of the answer; from here on the transport is the connection's, and Sanic knows nothing of
    it.
    """
    http: Any = request.stream
    http.upgrade_websocket = True  # to Sanic: there is no response to wait for
    protocol: Any = http.protocol
    transport: Any = request.transport
    rest = bytes(protocol.recv_buffer)
    protocol.connections.discard(protocol)
    protocol.transport = None
    transport.set_protocol(connection)
    transport.write(answer)
    connection.connection_made(transport)
    transport.resume_reading()
    if rest:
        connection.data_received(rest)


def _handshake_headers(request: Request) -> Iterator[tuple[str, str]]:
    """The headers that the handshake consists of, each list on one line.

    Other headers may hold any bytes (RFC 9110, 5.5), as cookies do, and are not read. No extension is
    supported, so none is negotiated. Raises `InvalidHeader`.
    """
    if offers_websocket(request):
        yield "Upgrade", "websocket"
    for name in ("Connection", "Sec-WebSocket-Protocol"):
        if items := list_items(request, name):
            yield name, _ascii(name, ", ".join(items))
    for name in ("Sec-WebSocket-Key", "Sec-WebSocket-Version"):
        for value in request.headers.getall(name, []):
            yield name, _ascii(name, value.strip(BLANKS))


def _ascii(name: str, value: str) -> str:
    if not value.isascii():
        raise InvalidHeader(name)
    return value


def _has_body(request: Request) -> bool:
    """Whether something other than frames would follow the handshake."""
    headers = request.headers
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers or "expect" in headers


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
        _UPGRADE,
    )


def _other_version() -> Problem:
    return Problem(
        HTTPStatus.UPGRADE_REQUIRED,
        "websocket_version",
        N_("The hub speaks version %(version)s of the WebSocket protocol only (RFC 6455)."),
        _UPGRADE,
        version=VERSION,
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
