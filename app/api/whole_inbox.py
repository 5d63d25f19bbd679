"""Calls that change a whole inbox: all seen, all archived, all deleted. Reading all is beside the list."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

import msgspec
from sanic import Blueprint, HTTPResponse, Request

from app.api import schemas
from app.api.auth import Authenticator
from app.api.bodies import json_answer
from app.api.envelope import Wrap
from app.api.parameters import MAX_SEQ, number
from app.api.routes import Routes, add_routes
from app.domain.notifications import InboxCounters
from app.realtime.changes import InboxCommands
from app.texts.i18n import N_

INBOX = "/notifications/users/<user_id:str>"
ALL_DELETED = N_("The notifications were deleted.")
_Change = Callable[[UUID, int | None], Awaitable[tuple[int, InboxCounters]]]


class AllChanged(msgspec.Struct):
    """Up to and with which `seq`, and the counts then."""

    up_to: schemas.Seq
    unread: schemas.Count
    unseen: schemas.Count


class WholeInboxResource:
    """Each call changes one row, whatever the size of the inbox, and notifies the user's connections."""

    def __init__(self, authenticator: Authenticator, commands: InboxCommands, wrap: Wrap) -> None:
        """`wrap` puts the answers at documented paths into an envelope."""
        self._authenticator = authenticator
        self._commands = commands
        self._wrap = wrap

    def blueprint(self, prefix: str) -> Blueprint:
        """The calls under `prefix`."""
        blueprint = Routes("whole_inbox", url_prefix=prefix)
        add_routes(
            (blueprint.post(f"{INBOX}/seen"), self.mark_all_seen),
            (blueprint.patch(f"{INBOX}/archive"), self.archive_all),
            (blueprint.delete(INBOX), self._wrap(self.delete_all, ALL_DELETED)),
        )
        return blueprint

    @schemas.described(
        "Note that a user saw all notifications",
        "When a list is opened. With `up_to` only those up to and including that `seq`. They stay unread.",
        {200: schemas.Answer("The last `seq` that was seen, and the counts", AllChanged)},
        errors=(400, 401, 403, 503),
        query=schemas.READ_QUERY,
        headers=schemas.INBOX_COUNT,
    )
    async def mark_all_seen(self, request: Request, user_id: str) -> HTTPResponse:
        """What was seen, by the inbox's row."""
        return await self._change(request, user_id, self._commands.seen_all)

    @schemas.described(
        "Archive all of a user's notifications",
        "Those of the inbox, as unread as they are. With `up_to` only those up to and including that `seq`.",
        {200: schemas.Answer("The last `seq` that was archived, and the counts", AllChanged)},
        errors=(400, 401, 403, 503),
        query=schemas.READ_QUERY,
        headers=schemas.INBOX_COUNT,
    )
    async def archive_all(self, request: Request, user_id: str) -> HTTPResponse:
        """What is archived, by the inbox's row; the notifications move afterwards."""
        return await self._change(request, user_id, self._commands.archive_all)

    @schemas.described(
        "Delete all of a user's notifications",
        "Those of the inbox; what is archived or snoozed stays. With `up_to` only those up to and including "
        "that `seq`.",
        {200: schemas.Answer("The last `seq` that was deleted, and the counts", AllChanged)},
        errors=(400, 401, 403, 503),
        query=schemas.READ_QUERY,
        headers=schemas.INBOX_COUNT,
    )
    async def delete_all(self, request: Request, user_id: str) -> HTTPResponse:
        """What is deleted, by the inbox's row; the notifications are removed afterwards."""
        return await self._change(request, user_id, self._commands.delete_all)

    async def _change(self, request: Request, user_id: str, change: _Change) -> HTTPResponse:
        return await all_changed(request, await self._authenticator.owner(request, user_id), change)


async def all_changed(request: Request, receiver: UUID, change: _Change) -> HTTPResponse:
    """Change all of the inbox of a user who was authenticated, or all up to the `seq` that the query says."""
    up_to, count = await change(receiver, number(request, "up_to", 0, MAX_SEQ))
    answer = AllChanged(up_to, count.unread, count.unseen)
    return json_answer(answer, headers=count_header(count))


def count_header(count: InboxCounters) -> dict[str, str]:
    """A dictionary of RFC 9651, with the names that the frames of the session protocol use."""
    return {"Inbox-Count": ", ".join(f"{name}={value}" for name, value in count._asdict().items())}
