"""The service of in-app notifications: /api/v1/notifications, with or without a slash at the end."""

from __future__ import annotations

import time
from uuid import uuid5

from sanic import Blueprint, HTTPResponse, Request

from app.api import schemas
from app.api.bodies import bad_body, json_answer, json_body
from app.api.compat.context import CompatContext, CompatService
from app.api.compat.rows import PAGED_QUERY, OldNotification, window, with_event_type
from app.api.docs import Reference
from app.api.preferences import NewChoice, Preference, PreferenceChoice
from app.api.routes import Routes, add_routes
from app.api.sending import SEND, BulkSent, events_of_test
from app.api.whole_inbox import AllChanged
from app.domain.channels import EMAIL, INAPP, SMS

NAME = "in-app-service"


class OldChoice(PreferenceChoice, forbid_unknown_fields=False):
    """A preference, such as the list has it. `category` and `channel`, if given, are those of its id."""

    category: str | None = None
    channel: str | None = None


class NewOldChoice(NewChoice, forbid_unknown_fields=False, kw_only=True):
    """A preference that is set for the first time."""


class InAppService:
    """Its calls, over the hub's own. The user is the one whose token it is."""

    def __init__(self, context: CompatContext) -> None:
        self._context = context
        self._caller = context.authenticator.caller

    def blueprint(self) -> Blueprint:
        """The calls at their old paths."""
        blueprint = Routes(NAME, url_prefix="/api/v1/notifications")
        one = "/preferences/<preference_id:str>"
        add_routes(
            (blueprint.get("/"), self.list_own),
            (blueprint.get("/unread"), self.list_own_unread),
            (blueprint.post("/mark-read/<notification_id:str>"), self.mark_own_read),
            (blueprint.post("/mark-all-read"), self.mark_all_own_read),
            (blueprint.get("/preferences"), self.list_own_preferences),
            (blueprint.post("/preferences"), self.add_own_preference),
            (blueprint.put(one), self.set_own_preference),
            (blueprint.delete(one), self.drop_own_preference),
            (blueprint.post("/test"), self.test_oneself),
        )
        return blueprint

    @schemas.described(
        "List your notifications, newest first",
        'Without `limit` at most 1000. If there are more, `Link: rel="next"` has the next page.',
        {200: schemas.Answer("The notifications", list[OldNotification])},
        errors=(400, 401, 503),
        query=PAGED_QUERY,
    )
    async def list_own(self, request: Request) -> HTTPResponse:
        """The caller's notifications, in the form of the replaced service."""
        caller = await self._caller(request)
        return await self._context.notifications.list_of(request, caller, window(request), with_event_type)

    @schemas.described(
        "List your unread notifications, newest first",
        'Without `limit` at most 1000. If there are more, `Link: rel="next"` has the next page.',
        {200: schemas.Answer("The notifications", list[OldNotification])},
        errors=(400, 401, 503),
        query=PAGED_QUERY,
    )
    async def list_own_unread(self, request: Request) -> HTTPResponse:
        """The caller's unread notifications."""
        caller = await self._caller(request)
        unread = window(request)._replace(unread=True)
        return await self._context.notifications.list_of(request, caller, unread, with_event_type)

    @schemas.described(
        "Mark a notification read",
        "Answers with the updated notification. The call is idempotent.",
        {200: schemas.Answer("The notification", OldNotification)},
        errors=(400, 401, 404, 503),
        headers=schemas.INBOX_COUNT,
    )
    async def mark_own_read(self, request: Request, notification_id: str) -> HTTPResponse:
        """Mark one of the caller's notifications as read."""
        caller = await self._caller(request)
        return await self._context.notifications.read_of(request, notification_id, caller, with_event_type)

    @schemas.described(
        "Mark all your notifications read",
        "With `up_to` only those up to and including that `seq`: newer ones stay unread.",
        {200: schemas.Answer("The last `seq` that was marked, and the counts", AllChanged)},
        errors=(400, 401, 503),
        query=schemas.READ_QUERY,
        headers=schemas.INBOX_COUNT,
    )
    async def mark_all_own_read(self, request: Request) -> HTTPResponse:
        """Mark all of the caller's notifications as read."""
        return await self._context.notifications.read_all_of(request, await self._caller(request))

    @schemas.described(
        "List your preferences",
        "For each category and channel, your choice or the default.",
        {200: schemas.Answer("All preferences", list[Preference])},
        errors=(401, 503),
    )
    async def list_own_preferences(self, request: Request) -> HTTPResponse:
        """The preferences that the caller has set."""
        return json_answer(await self._context.preferences.list_of(await self._caller(request)))

    @schemas.described(
        "Set a preference for the first time",
        "Whether messages of a category are sent over a channel. Answers 409 if the preference "
        "is already set.",
        {201: schemas.Answer("The preference", Preference)},
        errors=(400, 401, 409, 503),
        body=NewOldChoice,
    )
    async def add_own_preference(self, request: Request) -> HTTPResponse:
        """Set a preference of the caller for the first time."""
        caller = await self._caller(request)
        return await self._context.preferences.add_of(request, caller, json_body(request, NewOldChoice))

    @schemas.described(
        "Set a preference",
        "`preference_id` is category.channel, such as food.email.",
        {200: schemas.Answer("The preference", Preference)},
        errors=(400, 401, 404, 409, 503),
        body=OldChoice,
    )
    async def set_own_preference(self, request: Request, preference_id: str) -> HTTPResponse:
        """Set a preference of the caller."""
        caller = await self._caller(request)
        choice = json_body(request, OldChoice)
        category, _, channel = preference_id.partition(".")
        if choice.category not in (None, category) or choice.channel not in (None, channel):
            raise bad_body("`category` and `channel` must be those of the id in the path")
        return await self._context.preferences.set_of(caller, preference_id, choice.enabled)

    @schemas.described(
        "Reset a preference",
        "The default applies again.",
        {200: schemas.Answer("The effective preference", Preference)},
        errors=(400, 401, 404, 409, 503),
    )
    async def drop_own_preference(self, request: Request, preference_id: str) -> HTTPResponse:
        """Reset a preference of the caller to the operator's default."""
        return await self._context.preferences.drop_of(await self._caller(request), preference_id)

    @schemas.described(
        "Send yourself a test",
        "In-app; with the scope `notifications:send` also by mail and by SMS. At most one a second: a "
        "repeated call within that second has no effect.",
        {202: schemas.Answer("The result of each", BulkSent)},
        errors=(401, 503),
    )
    async def test_oneself(self, request: Request) -> HTTPResponse:
        """Send the caller a test: in-app, and with the scope `notifications:send` by mail and SMS too."""
        caller = await self._caller(request)
        # Addresses are not confirmed: a user could have any address mailed by a test, as often as they like.
        channels = (INAPP, EMAIL, SMS) if await self._context.authenticator.may(request, SEND) else (INAPP,)
        request_id = str(uuid5(caller, f"test {int(time.time())}"))
        events = events_of_test(str(caller), channels)
        return await self._context.sending.send_all(events, request_id, str(caller))


SERVICE = CompatService(
    NAME,
    "The paths of the in-app notification service that the hub replaces. Needs the user's own token.",
    ("/api/v1",),
    lambda context: InAppService(context).blueprint(),
    Reference("/api/v1/openapi.json", "/api/v1/docs", "/api/v1/redoc", NAME),
)
