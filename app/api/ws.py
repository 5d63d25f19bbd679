"""The WebSocket endpoint: admission, handshake, sign-in; then it hands the transport to a `Connection`.

The server calls it as soon as the head of a connection's first request is admitted (decision 057), Sanic for
further requests. After the hand-over nothing of either is left (decision 002).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sanic import Blueprint, Request

from app.api import schemas
from app.api.connection_endpoint import ConnectionEndpoint
from app.api.handshake import AcceptedHandshake, hand_over, token_of
from app.api.languages import wanted_locale
from app.api.parameters import MAX_SEQ, number
from app.api.routes import Routes
from app.auth.addresses import limited_address
from app.auth.repeat_offenders import key_of
from app.auth.tokens import Claims
from app.realtime.connection import ClientInfo, Connection, ConnectionContext, Limits
from app.realtime.timer_wheel import TimerWheel
from app.realtime.websocket import WebSocketConnection
from app.runtime.rate_limit import AdmissionQueue
from app.settings.edge import WebSocketSettings

# A connection that has more to read than a few frames waits for its turn in one queue of the node.
READ_QUEUE_SECONDS = 0.002  # seconds from one turn to the next
MAX_READS_AT_ONCE = 1  # connections


class WebSocketEndpoint(ConnectionEndpoint):
    """Makes requests connections."""

    async def connect(self, request: Request, user_id: str) -> None:
        """Make the request a connection. Raises `Problem`, `Unauthorized` or `Unavailable`, and then there is
        no socket.
        """
        token = token_of(request)
        token_bytes = (token or "").encode(errors="surrogateescape")
        await self._admission.check_token(token_bytes)
        async with self._admission.upgrade():
            await self._connect(request, user_id, token, key_of(token_bytes))

    async def _connect(self, request: Request, user_id: str, token: str | None, token_key: bytes) -> None:
        self._handshake.check_origin(request)
        self._handshake.check_version(request)
        asked_at = asyncio.get_running_loop().time()
        claims = await self._sign_in.verify(token, user_id)
        self._admission.check_capacity()
        after = number(request, "after", 0, MAX_SEQ)
        accepted = self._handshake.accept(request)
        address = limited_address(request.client_ip)
        client = ClientInfo(address, token_key, asked_at, wanted_locale(request))
        connection = self._connection(accepted, claims, client)
        try:
            if reason := self._admission.excess(connection):
                self._hand_over(request, accepted, connection)  # without asking Redis or Postgres anything
                self._admission.refuse(connection, reason)
                return
            async with self._sign_in.registered(connection, after) as state:
                self._hand_over(request, accepted, connection)
        finally:
            if not connection.connected:
                accepted.ws.dispose()
        if connection.session:
            self._sessions.begin(connection, after, state)
        else:
            self._catch_up.begin(connection, state.last_seq)

    def _connection(self, accepted: AcceptedHandshake, claims: Claims, client: ClientInfo) -> Connection:
        on_message = self._sessions.received if accepted.session else None
        return WebSocketConnection(accepted.ws, claims, self._context, client, on_message)

    def _hand_over(self, request: Request, accepted: AcceptedHandshake, connection: Connection) -> None:
        self._admission.check_wanted(request, connection)
        hand_over(request, accepted.answer, connection)


def connection_context(
    settings: WebSocketSettings,
    timer_wheel: TimerWheel,
    loop_time: Callable[[float], float],
    on_lost: Callable[[Connection], None],
) -> ConnectionContext:
    """What all connections of a node share, with the limits of the settings."""
    limits = Limits(
        settings.ping_interval,
        settings.answer_timeout,
        settings.write_buffer,
        settings.max_frames,
    )
    reading = AdmissionQueue(READ_QUEUE_SECONDS, MAX_READS_AT_ONCE)
    return ConnectionContext(limits, timer_wheel, reading, loop_time, on_lost)


def _raise_refusal(request: Request) -> None:
    """Raise what `connect` raised before, when the server called it itself: only the answer is left."""
    refusal = vars(request.ctx).pop("refusal", None)
    if refusal is not None:
        try:
            raise refusal
        finally:
            del refusal  # its traceback refers to this frame: a reference cycle


def make_blueprint(prefix: str, connect: Callable[[Request, str], Awaitable[None]]) -> Blueprint:
    """The endpoint under `prefix`; `connect` makes a request a connection of the user whom the path names."""
    blueprint = Routes("websocket", url_prefix=prefix)

    @blueprint.get("/notifications/users/<user_id:str>")
    @schemas.described(
        "Open a WebSocket for live notifications",
        "Send the token as a bearer token, as `?jwt=` or as the subprotocol `bearer.<token>`.",
        {101: schemas.UPGRADED},
        errors=(400, 401, 403, 426, 429, 503),
        query=schemas.RESUME_QUERY,
    )
    async def notifications(request: Request, user_id: str) -> None:
        _raise_refusal(request)
        await connect(request, user_id)

    notifications.is_websocket = True  # type: ignore[attr-defined]  # Sanic then expects no response
    return blueprint
