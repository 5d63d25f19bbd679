"""The opening handshake of a WebSocket (RFC 6455, 4.2), from a request that Sanic has parsed."""

from __future__ import annotations

import re
from base64 import b64encode
from binascii import a2b_base64
from collections.abc import Collection
from hashlib import sha1
from http import HTTPStatus
from typing import Any, NamedTuple

from sanic import Request
from websockets.protocol import State

from app.api.auth import bearer_token
from app.api.errors import Problem
from app.api.headers import BLANKS, list_items, offers_websocket, origin
from app.auth.origins import origin_allowed
from app.realtime.connection import Connection
from app.realtime.protocol import SUBPROTOCOL, TOKEN_SUBPROTOCOL
from app.realtime.websocket import FrameProtocol, logger
from app.runtime.http1 import lower
from app.settings.edge import WebSocketSettings
from app.texts.i18n import N_

VERSION = "13"
KEY_BYTES = 16
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
)
_WITH_SUBPROTOCOL = f"\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n".encode()
_UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": VERSION}


class AcceptedHandshake(NamedTuple):
    """A handshake that may be answered."""

    ws: FrameProtocol
    """To be disposed of, unless a connection gets it and the transport."""
    answer: bytes
    """101, still to be sent."""
    session: bool
    """Whether the client speaks the session protocol."""


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
        if request.method != "GET" or request.version != "1.1":
            raise _bad_handshake()
        if "upgrade" not in [lower(option) for option in _tokens(request, "connection")]:
            raise _websocket_only()
        if not offers_websocket(request):
            raise _websocket_only()
        accept = _accept_key(request.headers.getall("sec-websocket-key", []))
        session = SUBPROTOCOL in _tokens(request, "sec-websocket-protocol")
        if accept is None or _has_body(request):
            raise _bad_handshake()
        answer = _ANSWER + accept + (_WITH_SUBPROTOCOL if session else b"\r\n\r\n")
        ws = FrameProtocol(
            state=State.OPEN,  # the request is parsed; what follows are frames
            max_size=self._max_message,
            logger=logger,
        )
        return AcceptedHandshake(ws, answer, session)


def token_of(request: Request) -> str | None:
    """The token, from the header, the subprotocol (browsers can set nothing else) or `?jwt=`."""
    if token := bearer_token(request):
        return token
    for offered in list_items(request, "sec-websocket-protocol"):
        if offered.startswith(TOKEN_SUBPROTOCOL):
            return offered.removeprefix(TOKEN_SUBPROTOCOL)
    return request.args.get("jwt") or None


def hand_over(request: Request, answer: bytes, connection: Connection) -> None:
    """Send the head of the answer; from here on the transport is the connection's, and what read the request
    knows nothing of it.
    """
    stream: Any = request.stream
    stream.hand_over(answer, connection)


def _tokens(request: Request, name: str) -> list[str]:
    """The items of a list of tokens. Raises `Problem` (400) for anything else."""
    items = list_items(request, name)
    if not all(map(_TOKEN.fullmatch, items)):
        raise _bad_handshake()
    return items


def _accept_key(keys: list[str]) -> bytes | None:
    """What shows that the handshake was read (RFC 6455, 4.2.2); None unless there is one key of 16 bytes."""
    if len(keys) != 1:
        return None
    try:
        key = keys[0].strip(BLANKS).encode()
        if len(a2b_base64(key, strict_mode=True)) != KEY_BYTES:
            return None
    except ValueError:
        return None
    return b64encode(sha1(key + _GUID, usedforsecurity=False).digest())


def _has_body(request: Request) -> bool:
    """Whether something other than frames would follow the handshake."""
    headers = request.headers
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers or "expect" in headers


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
