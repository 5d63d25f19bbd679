"""The event stream endpoint (Server-Sent Events): a live connection for clients that can't open a WebSocket.

As in `app.api.ws`, Sanic only parses the request; then the transport is handed to an `EventStreamConnection`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from sanic import Blueprint, HTTPResponse, Request
from sanic.response import empty

from app.api import cors, schemas
from app.api.connection_endpoint import ConnectionEndpoint
from app.api.errors import too_many
from app.api.handshake import hand_over, token_of
from app.api.languages import wanted_locale
from app.api.parameters import MAX_SEQ, choice, number, one_number
from app.api.routes import Routes
from app.auth.addresses import limited_address
from app.auth.repeat_offenders import FIRST_COOL_DOWN_SECONDS, key_of
from app.auth.tokens import Claims
from app.realtime.connection import ClientInfo
from app.realtime.event_stream import EventStreamConnection
from app.realtime.protocol import SUBPROTOCOL

PATH = "/notifications/users/<user_id:str>/events"
CONTENT_TYPE = "text/event-stream"
_HEADERS = {
    "Content-Type": CONTENT_TYPE,
    "Cache-Control": "no-store, no-transform",  # a proxy that compresses would hold events back
    "X-Accel-Buffering": "no",  # to nginx, and what is made of it
}


class EventStreamEndpoint(ConnectionEndpoint):
    """Makes requests event streams, with the limits of WebSockets."""

    async def connect(self, request: Request, user_id: str) -> HTTPResponse | None:
        """Make the request an event stream, or answer a HEAD as if it were one. Raises as
        `WebSocketEndpoint.connect` does, and `Problem` (429) where that closes with 4429.
        """
        token = token_of(request)
        token_bytes = (token or "").encode(errors="surrogateescape")
        await self._admission.check_token(token_bytes)
        async with self._admission.upgrade():
            self._handshake.check_origin(request)
            asked_at = asyncio.get_running_loop().time()
            claims = await self._sign_in.verify(token, user_id)
            wanted = _wanted(request)
            if request.method == "HEAD":
                return empty(200, _HEADERS)
            self._admission.check_capacity()
            address = limited_address(request.client_ip)
            client = ClientInfo(address, key_of(token_bytes), asked_at, wanted_locale(request))
            await self._begin(request, claims, client, wanted)
        return None

    async def _begin(
        self, request: Request, claims: Claims, client: ClientInfo, wanted: _StreamQuery
    ) -> None:
        after, session = wanted
        resumes = session or after is not None
        stream = EventStreamConnection(claims, self._context, client, session=session, resumes=resumes)
        if reason := self._admission.excess(stream):
            self._admission.refuse(stream, reason)
            raise too_many(FIRST_COOL_DOWN_SECONDS)
        async with self._sign_in.registered(stream, after) as state:
            self._admission.check_wanted(request, stream)
            hand_over(request, self._head(request), stream)
            stream.begin(state.last_seq if after is None else min(after, state.last_seq))
        if session:
            self._sessions.begin(stream, after, state)
        else:
            self._catch_up.begin(stream, state.last_seq, after)

    def _head(self, request: Request) -> bytes:
        """The response ends with its connection, so it has no length and no chunks."""
        headers = _HEADERS | cors.headers(request, self._handshake.allowed_origins) | {"Connection": "close"}
        lines = ("HTTP/1.1 200 OK", *map(": ".join, headers.items()), "", "")
        return "\r\n".join(lines).encode()


class _StreamQuery(NamedTuple):
    """What a request asks for."""

    after: int | None
    """The last `seq` that the client has."""
    session: bool
    """Whether it wants the frames of the session protocol."""


def _wanted(request: Request) -> _StreamQuery:
    """Raises `Problem` (400). The header wins: a browser that reconnects keeps the address."""
    lines = [line for line in request.headers.getall("last-event-id", []) if line.strip()]
    after = one_number("Last-Event-ID", lines, 0, MAX_SEQ)
    for name in ("last_event_id", "lastEventId", "after"):  # the second is what polyfills send
        if after is None:
            after = number(request, name, 0, MAX_SEQ)
    return _StreamQuery(after, choice(request, "protocol", (SUBPROTOCOL,)) is not None)


def make_blueprint(
    prefix: str, connect: Callable[[Request, str], Awaitable[HTTPResponse | None]]
) -> Blueprint:
    """The endpoint under `prefix`; `connect` makes a request a stream of the user whom the path names."""
    blueprint = Routes("events", url_prefix=prefix)

    @blueprint.get(PATH)
    @schemas.described(
        "Stream live notifications (Server-Sent Events)",
        "For clients that can't open a WebSocket. Each event is a notification, and its id is the `seq`. "
        "Send the token as a bearer token or as `?jwt=`. See docs/how-to/server-sent-events.md.",
        {200: schemas.Answer("The events, until the client or the hub ends the stream", str, CONTENT_TYPE)},
        errors=(400, 401, 403, 429, 503),
        query=schemas.EVENTS_QUERY,
    )
    async def events(request: Request, user_id: str) -> HTTPResponse | None:
        return await connect(request, user_id)

    events.is_websocket = True  # type: ignore[attr-defined]  # Sanic then expects no response
    return blueprint
