"""The WebSocket endpoint: checks who comes, answers 101, and hands the transport to a `Connection`.

Sanic only parses the request; after the hand-over nothing of it is left (docs/decisions/002).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any
from uuid import UUID

from sanic import Blueprint, Request
from sanic.exceptions import RequestCancelled
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHeader
from websockets.http11 import Request as Handshake
from websockets.http11 import Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from app.api import schemas
from app.api.auth import Authenticator, bearer_token
from app.api.errors import Problem, forbidden, too_many, unavailable
from app.api.parameters import MAX_SEQ, number, path_uuid
from app.auth.addresses import limited_address
from app.auth.origins import origin_allowed
from app.auth.repeat_offenders import MAX_DELAYED_CONNECTIONS, REFUSAL_DELAY_SECONDS, RepeatOffenders, key_of
from app.auth.tokens import Claims
from app.domain.errors import Unauthorized
from app.realtime.catch_up import CatchUp
from app.realtime.connection import Connection, FrameProtocol, Limits, logger
from app.realtime.inboxes import InboxReader
from app.realtime.manager import WebSocketManager
from app.realtime.membership import Membership
from app.realtime.protocol import SUBPROTOCOL, TOKEN_SUBPROTOCOL, CloseCode
from app.realtime.session import Sessions
from app.realtime.timer_wheel import TimerWheel
from app.runtime.rate_limit import AdmissionQueue
from app.settings.edge import WebSocketSettings
from app.texts.i18n import N_

log = logging.getLogger("hub.gate")


class Gate:
    """Lets clients in. `close` shuts it for good, when the node begins to stop."""

    def __init__(
        self,
        settings: WebSocketSettings,
        authenticator: Authenticator,
        manager: WebSocketManager,
        clock: TimerWheel,
        reader: InboxReader,
        catch_up: CatchUp,
        sessions: Sessions,
        membership: Membership,
        logged_out: Callable[[UUID, float], bool],
        loop_time: Callable[[float], float],
    ) -> None:
        """`logged_out` says whether a user did since a moment (loop time); `loop_time` makes one of unix
        seconds.
        """
        self._settings = settings
        self._authenticator = authenticator
        self._manager = manager
        self._clock = clock
        self._reader = reader
        self._catch_up = catch_up
        self._sessions = sessions
        self._membership = membership
        self._logged_out = logged_out
        self._loop_time = loop_time
        self._limits = Limits(
            settings.ping_interval,
            settings.answer_timeout,
            settings.write_buffer,
            settings.max_frames,
        )
        self._reading = AdmissionQueue(0.002, 1)
        self.repeat_offenders = RepeatOffenders(self._crowded)
        self._open = True
        self._admitting = 0
        self._held = 0

    def close(self) -> None:
        self._open = False

    async def admit(self, request: Request, user_id: str) -> None:
        """Make the request a connection. Raises `Problem`, `Unauthorized` or `Unavailable`, and then there is
        no socket. Who comes in a crowd too large to serve in time is told at once to come back (503).
        """
        token = _token(request)
        token_bytes = (token or "").encode(errors="surrogateescape")
        token_key = key_of(token_bytes)
        if seconds := self.repeat_offenders.wait_for(token_bytes):  # as a rule it was known at the door
            await self._keep_waiting()
            raise too_many(max(1, seconds - int(REFUSAL_DELAY_SECONDS)))
        if self._admitting >= self._settings.max_upgrades:
            raise unavailable("hub")
        self._admitting += 1
        try:
            await self._admit(request, user_id, token, token_key)
        finally:
            self._admitting -= 1

    async def _keep_waiting(self) -> None:
        if self._held >= MAX_DELAYED_CONNECTIONS:
            return
        self._held += 1
        try:
            await asyncio.sleep(REFUSAL_DELAY_SECONDS)
        finally:
            self._held -= 1

    async def _admit(self, request: Request, user_id: str, token: str | None, token_key: bytes) -> None:
        if not origin_allowed(request.headers.get("origin"), self._settings.allowed_origins):
            raise _foreign_origin()
        asked_at = asyncio.get_running_loop().time()
        claims = await self._authenticator.claims(token)
        if claims.user_id != path_uuid("user_id", user_id):
            raise forbidden()
        if not self._open or len(self._manager) >= self._settings.max_connections:
            raise unavailable("hub")
        after = number(request, "after", 0, MAX_SEQ)
        ws, answer = self._handshake(request)
        connection = self._connection(ws, claims)
        connection.token_key = token_key
        connection.asked_at = asked_at
        connection.address = limited_address(request.client_ip)
        if refusal := self._one_too_many(connection):
            try:
                self._hand_over(request, answer, connection)  # without asking Redis or Postgres anything
            finally:
                if not connection.connected:
                    ws.dispose()
            connection.close(CloseCode.TOO_MANY, refusal)
            self.repeat_offenders.remember(connection.token_key, claims.user_id, flooded=False)
            return
        # Register, read, go live: what is pushed while we read is remembered, and fetched after; what other
        # devices do is held, and told after the greeting.
        self._manager.add(connection)
        try:
            if self._logged_out(claims.user_id, asked_at):
                raise Unauthorized("revoked_token")
            await self._membership.arrived(claims.user_id)
            if connection.session:
                connection.hold()
            state = await self._reader.read(claims.user_id, after if connection.session else None)
            self._hand_over(request, answer, connection)
        finally:
            if not connection.connected:
                self._manager.remove(connection)
                ws.dispose()
        if connection.session:
            self._sessions.begin(connection, after, state)
        elif connection.cursor.started(state.last_seq):
            self._catch_up.start(connection)

    def _one_too_many(self, connection: Connection) -> str | None:
        if self._crowded(connection.user_id):
            return "too many connections of this user"
        if self._manager.from_address(connection.address) >= self._settings.max_per_address:
            log.warning(
                "too_many_of_one_address",
                extra={"address": connection.address, "hint": "if it is a proxy's, set PROXIES_COUNT"},
            )
            return "too many connections from this address"
        return None

    def _crowded(self, user_id: UUID) -> bool:
        return len(self._manager.of(user_id)) >= self._settings.max_per_user

    def _lost(self, connection: Connection) -> None:
        flooded = connection.close_code == CloseCode.TOO_MANY and self._manager.has(connection)
        self._manager.remove(connection)
        if flooded:
            self.repeat_offenders.remember(connection.token_key, connection.user_id, flooded=True)

    def _handshake(self, request: Request) -> tuple[FrameProtocol, Response]:
        ws = FrameProtocol(
            select_subprotocol=_select_subprotocol,
            state=State.OPEN,  # Sanic has parsed the request; what follows are frames
            max_size=self._settings.max_message,
            logger=logger,
        )
        try:
            headers = Headers(request.headers.items())
        except InvalidHeader:  # its text repeats the header, which may be the one with the token
            raise _bad_handshake() from None
        answer = ws.accept(Handshake(request.path, headers, request.method, f"HTTP/{request.version}"))
        if answer.status_code != HTTPStatus.SWITCHING_PROTOCOLS or _has_body(headers):
            ws.dispose()
        if answer.status_code == HTTPStatus.UPGRADE_REQUIRED:
            raise Problem(
                HTTPStatus.UPGRADE_REQUIRED,
                "websocket_only",
                N_("This path accepts WebSocket connections only. Use a WebSocket client."),
                {"Upgrade": "websocket", "Connection": "Upgrade"},
            )
        if answer.status_code != HTTPStatus.SWITCHING_PROTOCOLS or _has_body(headers):
            raise _bad_handshake()
        return ws, answer

    def _connection(self, ws: FrameProtocol, claims: Claims) -> Connection:
        return Connection(
            ws,
            claims,
            self._loop_time(claims.expires_at),
            self._limits,
            self._clock,
            self._reading,
            self._lost,
            self._sessions.received if ws.subprotocol == SUBPROTOCOL else None,
        )

    def _hand_over(self, request: Request, answer: Response, connection: Connection) -> None:
        """Answer 101; from here on the transport is the connection's."""
        http: Any = request.protocol
        transport: Any = request.transport
        if transport.is_closing():
            raise RequestCancelled
        if connection.close_code is not None:  # while we read the inbox: the user logged out, or we stop
            raise Unauthorized("revoked_token") if self._open else unavailable("hub")
        rest = bytes(http.recv_buffer)
        http.connections.discard(http)
        http.transport = None
        transport.set_protocol(connection)
        transport.write(answer.serialize())
        connection.connection_made(transport)
        transport.resume_reading()
        if rest:
            connection.data_received(rest)


def make_blueprint(prefix: str, gate: Gate) -> Blueprint:
    """The endpoint under `prefix`."""
    blueprint = Blueprint("websocket", url_prefix=prefix)

    @blueprint.get("/notifications/users/<user_id:str>")
    @schemas.described(
        "Open a WebSocket for live notifications",
        "The token comes as a bearer token, as `?jwt=` or as the subprotocol `bearer.<token>`.",
        {101: schemas.UPGRADED},
        errors=(400, 401, 403, 426, 429, 503),
        query=schemas.RESUME_QUERY,
    )
    async def notifications(request: Request, user_id: str) -> None:
        await gate.admit(request, user_id)

    notifications.is_websocket = True  # type: ignore[attr-defined]  # Sanic then expects no response
    return blueprint


def _token(request: Request) -> str | None:
    """The token, from the header, the subprotocol (browsers can set nothing else) or `?jwt=`."""
    if token := bearer_token(request):
        return token
    for offered in request.headers.get("sec-websocket-protocol", "").split(","):
        if offered.strip().startswith(TOKEN_SUBPROTOCOL):
            return str(offered.strip().removeprefix(TOKEN_SUBPROTOCOL))
    return request.args.get("jwt") or None


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


def _foreign_origin() -> Problem:
    return Problem(
        HTTPStatus.FORBIDDEN,
        "foreign_origin",
        N_(
            "This origin is not allowed to connect. The operator lists the allowed origins in "
            "ALLOWED_ORIGINS."
        ),
    )
