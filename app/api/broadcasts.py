"""Broadcasts: how far each is, and pause, resume and cancel."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import unquote, urlencode

from sanic import Blueprint, HTTPResponse, Request

from app.api import schemas
from app.api.auth import Authenticator
from app.api.bodies import json_answer
from app.api.errors import Problem
from app.api.parameters import number, text
from app.api.routes import Routes, add_routes
from app.api.sending import SEND
from app.domain.audiences import Broadcast, BroadcastState
from app.domain.events import MAX_EVENT_ID_CHARS
from app.domain.identity import MAX_SENDER_CHARS, scoped_id
from app.store.ports import Broadcasts
from app.texts.i18n import N_

DEFAULT_PAGE_ROWS, MAX_PAGE_ROWS = 100, 1_000
MAX_STORED_ID_CHARS = MAX_EVENT_ID_CHARS + 1 + MAX_SENDER_CHARS


class BroadcastResource:
    """For services whose token has the scope `notifications:send`: each sees its own broadcasts, and those
    that came over a broker.
    """

    def __init__(self, authenticator: Authenticator, store: Broadcasts) -> None:
        self._authenticator = authenticator
        self._store = store

    def blueprint(self, prefix: str) -> Blueprint:
        """The calls under `prefix`/broadcasts."""
        blueprint = Routes("broadcasts", url_prefix=f"{prefix}/broadcasts")
        add_routes(
            (blueprint.get("/"), self.list_broadcasts),
            (blueprint.get("/<broadcast_id:str>"), self.get_broadcast),
            (blueprint.post("/<broadcast_id:str>/pause"), self.pause_broadcast),
            (blueprint.post("/<broadcast_id:str>/resume"), self.resume_broadcast),
            (blueprint.post("/<broadcast_id:str>/cancel"), self.cancel_broadcast),
        )
        return blueprint

    @schemas.described(
        "List broadcasts",
        'The newest first. `Link: rel="next"` has the next page.',
        {200: schemas.Answer("The broadcasts", list[Broadcast])},
        errors=(400, 401, 403, 503),
        query=schemas.BROADCASTS_QUERY,
    )
    async def list_broadcasts(self, request: Request) -> HTTPResponse:
        """List broadcasts, a page at a time."""
        service = await self._authenticator.service(request, SEND)
        limit = number(request, "limit", 1, MAX_PAGE_ROWS) or DEFAULT_PAGE_ROWS
        before = text(request, "before", MAX_STORED_ID_CHARS)
        found = await self._store.newest(limit + 1, before, service.user_id)
        headers = {}
        if len(found) > limit:
            query = urlencode({"limit": limit, "before": found[limit - 1].id})
            headers["Link"] = f'<{request.path}?{query}>; rel="next"'
        return json_answer([*found[:limit]], headers=headers)

    @schemas.described(
        "Follow a broadcast",
        "Takes the id of its event. Returns how many people are in the audience, how many it has passed, and "
        "how many of those were notified.",
        {200: schemas.Answer("The broadcast", Broadcast)},
        errors=(400, 401, 403, 404, 503),
    )
    async def get_broadcast(self, request: Request, broadcast_id: str) -> HTTPResponse:
        """How far a broadcast is."""
        return json_answer(await self._found(request, broadcast_id))

    @schemas.described(
        "Pause a broadcast",
        "The page that is being written is the last one until it is resumed.",
        {200: schemas.Answer("The broadcast is paused", Broadcast)},
        errors=(400, 401, 403, 404, 409, 503),
    )
    async def pause_broadcast(self, request: Request, broadcast_id: str) -> HTTPResponse:
        """Stop a broadcast until it is resumed."""
        return await self._move(request, broadcast_id, self._store.pause, BroadcastState.PAUSED)

    @schemas.described(
        "Resume a broadcast",
        "It continues after the last person that it has passed.",
        {200: schemas.Answer("The broadcast is running", Broadcast)},
        errors=(400, 401, 403, 404, 409, 503),
    )
    async def resume_broadcast(self, request: Request, broadcast_id: str) -> HTTPResponse:
        """Go on with a paused broadcast."""
        return await self._move(request, broadcast_id, self._store.resume, BroadcastState.RUNNING)

    @schemas.described(
        "Cancel a broadcast",
        "For good. Who was notified stays so.",
        {200: schemas.Answer("The broadcast is cancelled", Broadcast)},
        errors=(400, 401, 403, 404, 409, 503),
    )
    async def cancel_broadcast(self, request: Request, broadcast_id: str) -> HTTPResponse:
        """End a broadcast for good."""
        return await self._move(request, broadcast_id, self._store.cancel, BroadcastState.CANCELLED)

    async def _move(
        self, request: Request, broadcast_id: str, move: Callable[[str], Awaitable[bool]], to: BroadcastState
    ) -> HTTPResponse:
        """Move it to a state, in which it may be already."""
        found = await self._found(request, broadcast_id)
        await move(found.id)
        moved = await self._store.get(found.id)
        if moved is None or moved.state is not to:
            state = "gone" if moved is None else moved.state.value
            raise Problem(
                HTTPStatus.CONFLICT,
                "broadcast_state",
                N_("The broadcast is %(state)s: this is not possible any more."),
                state=state,
            )
        return json_answer(moved)

    async def _found(self, request: Request, broadcast_id: str) -> Broadcast:
        """The service's own broadcast with this id goes first. Raises `Problem`."""
        service = await self._authenticator.service(request, SEND)
        name = unquote(broadcast_id)
        if "\0" not in name:
            for stored_as in (scoped_id(name, service.user_id), name):
                if (found := await self._store.get(stored_as, service.user_id)) is not None:
                    return found
        raise Problem(HTTPStatus.NOT_FOUND, "no_such_broadcast", N_("There is no broadcast with this id."))
