"""What a user clicked: the link of a notification, or one of its actions. Webhooks report it."""

from __future__ import annotations

from http import HTTPStatus

from sanic import Blueprint, HTTPResponse, Request

from app.api import schemas
from app.api.auth import Authenticator
from app.api.bodies import json_answer
from app.api.errors import Problem
from app.api.headers import accept_language
from app.api.notifications import NOTIFICATION
from app.api.parameters import path_number, text
from app.api.routes import Routes, add_routes
from app.domain.notifications import MAX_NOTIFICATION_ID
from app.store.webhooks import WebhookStore
from app.texts.i18n import LOCALES, N_, negotiate, render

MAX_ACTION_ID_CHARS = 64
REPORTED = N_("The click was reported.")


class ClickResource:
    """The call with which a page reports a click, for the user that the path names."""

    def __init__(self, authenticator: Authenticator, store: WebhookStore) -> None:
        self._authenticator = authenticator
        self._store = store

    def blueprint(self, prefix: str) -> Blueprint:
        """The call under `prefix`."""
        blueprint = Routes("clicks", url_prefix=prefix)
        add_routes((blueprint.patch(f"{NOTIFICATION}/clicked"), self.report_click))
        return blueprint

    @schemas.described(
        "Report a click",
        "On the notification's link, or with `action` on one of its buttons. Outbound webhooks get it as "
        "`notification.clicked`; the notification stays as it is.",
        {200: schemas.Answer("Reported", schemas.Confirmation)},
        errors=(400, 401, 403, 404, 503),
        query=schemas.CLICK_QUERY,
    )
    async def report_click(self, request: Request, notification_id: str, user_id: str) -> HTTPResponse:
        """Report that the user clicked the notification or one of its actions."""
        owner = await self._authenticator.owner(request, user_id)
        number = path_number("id", notification_id, 1, MAX_NOTIFICATION_ID)
        action = text(request, "action", MAX_ACTION_ID_CHARS)
        if not await self._store.clicked(number, owner, action):
            raise Problem(
                HTTPStatus.NOT_FOUND,
                "no_such_notification",
                N_("The user has no notification with this id, or it has no such action."),
            )
        spoken = negotiate(accept_language(request), LOCALES[0])
        return json_answer(
            schemas.Confirmation(render(spoken, REPORTED, {})), headers={"Content-Language": spoken}
        )
