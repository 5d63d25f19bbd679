"""What a user does with a notification besides reading and deleting it: unread, archive, snooze."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from uuid import UUID

from sanic import Blueprint, HTTPResponse, Request

from app.api import schemas
from app.api.auth import Authenticator
from app.api.errors import Problem
from app.api.notifications import NOTIFICATION, NotificationResource
from app.api.parameters import bad_parameter, moment
from app.api.routes import Routes, add_routes
from app.domain.errors import TooManyUnreadAgain
from app.realtime.changes import Changed, InboxCommands
from app.texts.i18n import N_

MAX_SNOOZE_DAYS = 366
_ANSWERS = {200: schemas.Answer("The notification", schemas.ListedNotification)}
_ERRORS = (400, 401, 403, 404, 503)


class TriageResource:
    """Calls that change where a notification of the user is. Each is idempotent, and answers as the call
    that marks one as read.
    """

    def __init__(
        self, authenticator: Authenticator, notifications: NotificationResource, commands: InboxCommands
    ) -> None:
        self._authenticator = authenticator
        self._notifications = notifications
        self._commands = commands

    def blueprint(self, prefix: str) -> Blueprint:
        """The calls under `prefix`."""
        blueprint = Routes("triage", url_prefix=prefix)
        add_routes(
            (blueprint.patch(f"{NOTIFICATION}/unread"), self.mark_unread),
            (blueprint.patch(f"{NOTIFICATION}/archive"), self.archive),
            (blueprint.patch(f"{NOTIFICATION}/unarchive"), self.unarchive),
            (blueprint.patch(f"{NOTIFICATION}/snooze"), self.snooze),
        )
        return blueprint

    @schemas.described(
        "Mark a notification of the inbox unread",
        "Answers with the updated notification. 409 if too many are marked that were all read at once.",
        _ANSWERS,
        errors=(*_ERRORS, 409),
        query=schemas.PROTOCOL_QUERY,
        headers=schemas.INBOX_COUNT,
    )
    async def mark_unread(self, request: Request, notification_id: str, user_id: str) -> HTTPResponse:
        """Mark a notification as unread."""
        try:
            return await self._change(request, notification_id, user_id, self._commands.unread)
        except TooManyUnreadAgain as error:
            raise Problem(
                HTTPStatus.CONFLICT,
                "too_many_unread_again",
                N_("At most %(most)d notifications can be marked unread that were all read at once."),
                {},
                most=error.most,
            ) from None

    @schemas.described(
        "Archive a notification",
        "Moves it out of the inbox, which no longer lists or counts it. `?archived=true` lists it.",
        _ANSWERS,
        errors=_ERRORS,
        query=schemas.PROTOCOL_QUERY,
        headers=schemas.INBOX_COUNT,
    )
    async def archive(self, request: Request, notification_id: str, user_id: str) -> HTTPResponse:
        """Move a notification to the archive."""
        return await self._change(request, notification_id, user_id, self._commands.archive)

    @schemas.described(
        "Put an archived or snoozed notification back into the inbox",
        "It is where it was, and as unread as it was.",
        _ANSWERS,
        errors=_ERRORS,
        query=schemas.PROTOCOL_QUERY,
        headers=schemas.INBOX_COUNT,
    )
    async def unarchive(self, request: Request, notification_id: str, user_id: str) -> HTTPResponse:
        """Move a notification back into the inbox, from the archive or a snooze."""
        return await self._change(request, notification_id, user_id, self._commands.unarchive)

    @schemas.described(
        "Snooze a notification",
        "Moves it out of the inbox until a time, when it comes as a new one: unread, with another `id` and "
        "the next `seq`. `?snoozed=true` lists it until then.",
        _ANSWERS,
        errors=_ERRORS,
        query=schemas.SNOOZE_QUERY,
        headers=schemas.INBOX_COUNT,
    )
    async def snooze(self, request: Request, notification_id: str, user_id: str) -> HTTPResponse:
        """Hide a notification until a time; it then returns as a new one."""
        await self._authenticator.owner(request, user_id)
        until = moment(request, "until")
        latest = datetime.now(UTC) + timedelta(days=MAX_SNOOZE_DAYS)
        if until is None or until > latest:
            raise bad_parameter(
                N_("`%(name)s` must be given, and lie within the next %(days)d days."),
                name="until",
                days=MAX_SNOOZE_DAYS,
            )

        def snooze(notification: int, user: UUID) -> Awaitable[Changed | None]:
            return self._commands.snooze(notification, user, until)

        return await self._change(request, notification_id, user_id, snooze)

    async def _change(
        self,
        request: Request,
        notification_id: str,
        user_id: str,
        change: Callable[[int, UUID], Awaitable[Changed | None]],
    ) -> HTTPResponse:
        receiver = await self._authenticator.owner(request, user_id)
        return await self._notifications.changed(request, notification_id, receiver, change)
