"""The image in mails by which their opening is recorded (MAIL_OPENS). Its name is signed; no sign-in."""

from __future__ import annotations

import logging
from base64 import b64decode
from datetime import UTC, datetime
from http import HTTPStatus

from sanic import Blueprint, HTTPResponse, Request

from app.api import schemas
from app.api.auth import Authenticator
from app.api.routes import Routes, add_routes
from app.auth.delivery_tokens import DeliveryTokens
from app.domain.delivery_events import DeliveryReport, EventKind
from app.domain.errors import Unavailable
from app.store.delivery_events import DeliveryEventStore

log = logging.getLogger("hub.http")

PATH = "/opened"
SUFFIX = ".gif"
_IMAGE = b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
"""One transparent pixel."""


class OpenedResource:
    """The call at `PATH`. A reader always gets the image, so that no mail shows a broken one."""

    def __init__(
        self, authenticator: Authenticator, reports: DeliveryEventStore, tokens: DeliveryTokens
    ) -> None:
        self._authenticator = authenticator
        self._reports = reports
        self._tokens = tokens

    def blueprint(self) -> Blueprint:
        """The call at `PATH`."""
        blueprint = Routes("opened", url_prefix=PATH)
        add_routes((blueprint.get("/<image:str>"), self.opened))
        return blueprint

    @schemas.described(
        "The image of an opened mail",
        "Recorded as an event of the delivery, once a minute at most. Mail programs that load images in "
        "advance count as readers.",
        {
            200: schemas.Answer("A transparent pixel", str, "image/gif"),
            404: schemas.Answer("The same; nothing was recorded", str, "image/gif"),
        },
    )
    async def opened(self, request: Request, image: str) -> HTTPResponse:
        """Record that a mail was opened, and answer with an image of one pixel."""
        await self._authenticator.signed(request)
        name, dot, suffix = image.rpartition(".")
        delivery = self._tokens.read(name) if dot + suffix == SUFFIX else None
        if delivery is None:
            self._authenticator.refused(request)
            return _answer(HTTPStatus.NOT_FOUND)
        now = datetime.now(UTC)
        report = DeliveryReport(delivery, f"opened:{now:%Y-%m-%dT%H:%M}", EventKind.OPENED, now)
        try:
            await self._reports.record([report])
        except Unavailable as error:
            log.warning("open_not_recorded", extra={"delivery": delivery, "why": str(error)})
        return _answer(HTTPStatus.OK)


def _answer(status: HTTPStatus) -> HTTPResponse:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return HTTPResponse(_IMAGE, status, headers, "image/gif")
