"""The inbox over REST: list, mark read, delete."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlencode

import msgspec
from sanic import Blueprint, HTTPResponse, Request

from app.api import schemas
from app.api.auth import Authenticator, path_uuid
from app.api.errors import Problem
from app.i18n import N_, Message, negotiate, render
from app.notifications import Notification
from app.store.notifications import NotificationStore
from handlers.registry import text_in

MAX_PAGE = 1000
MAX_SEQ = 2**63 - 1

_encoder = msgspec.json.Encoder()


def make_blueprint(
    prefix: str, authenticator: Authenticator, store: NotificationStore, locale: str
) -> Blueprint:
    """The three calls under `prefix`; `locale` is the one notifications are stored in."""
    blueprint = Blueprint("notifications", url_prefix=f"{prefix}/notifications")

    @blueprint.get("/users/<user_id:str>")
    @schemas.described(
        "List a user's notifications, newest first",
        'Without `limit` all of them up to 1000; where there are more, `Link: rel="next"` leads on.',
        {200: schemas.NOTIFICATIONS},
        errors=(400, 401, 403, 503),
        query=schemas.LIST_QUERY,
    )
    async def list_notifications(request: Request, user_id: str) -> HTTPResponse:
        receiver = await authenticator.owner(request, user_id)
        limit = _number(request, "limit", 1, MAX_PAGE)
        before = _number(request, "before", 1, MAX_SEQ)
        unread = _flag(request, "unread")
        page = await store.page(receiver, (limit or MAX_PAGE) + 1, before, unread)
        shown, more = page[: limit or MAX_PAGE], page[limit or MAX_PAGE :]
        wanted = _locale(request)
        headers = _language_headers(wanted or locale)
        if more:
            query: dict[str, object] = {"before": shown[-1].seq, **({"limit": limit} if limit else {})}
            query |= {"unread": "true"} if unread else {}
            headers["Link"] = f'<{request.path}?{urlencode(query)}>; rel="next"'
        return _json([_in(wanted, item) for item in shown], headers)

    @blueprint.patch("/<notification_id:str>/users/<user_id:str>/read")
    @schemas.described(
        "Mark a notification read",
        "Answers with the updated notification; doing it twice is harmless.",
        {200: schemas.NOTIFICATION},
        errors=(400, 401, 403, 404, 503),
    )
    async def mark_read(request: Request, notification_id: str, user_id: str) -> HTTPResponse:
        receiver = await authenticator.owner(request, user_id)
        found = await store.mark_read(path_uuid("id", notification_id), receiver)
        if found is None:
            raise _not_found()
        wanted = _locale(request)
        return _json(_in(wanted, found), _language_headers(wanted or locale))

    @blueprint.delete("/<notification_id:str>/users/<user_id:str>")
    @schemas.described(
        "Delete a notification",
        "It is gone from the inbox for good.",
        {200: schemas.MESSAGE},
        errors=(400, 401, 403, 404, 503),
    )
    async def delete_notification(request: Request, notification_id: str, user_id: str) -> HTTPResponse:
        receiver = await authenticator.owner(request, user_id)
        if not await store.delete(path_uuid("id", notification_id), receiver):
            raise _not_found()
        spoken = _locale(request) or locale
        message = render(spoken, N_("The notification was deleted."), {})
        return _json({"message": message}, _language_headers(spoken))

    return blueprint


def _in(locale: str | None, notification: Notification) -> Notification:
    """The notification in `locale`; as it is stored when that is None or its texts can't be made again."""
    if locale is None:
        return notification
    text = text_in(locale, notification.template_code, bytes(notification.raw_data), notification.group_name)
    if text is None:
        return notification
    return msgspec.structs.replace(notification, title=text.title, content=text.content)


def _locale(request: Request) -> str | None:
    return negotiate(request.headers.get("accept-language"), "") or None


def _language_headers(locale: str) -> dict[str, str]:
    return {"Content-Language": locale, "Vary": "Accept-Language"}


def _json(body: object, headers: dict[str, str]) -> HTTPResponse:
    return HTTPResponse(_encoder.encode(body), 200, headers, "application/json")


def _number(request: Request, name: str, least: int, most: int) -> int | None:
    values = request.args.getlist(name, [])
    if not values:
        return None
    if len(values) == 1 and values[0].isascii() and values[0].isdigit() and len(values[0]) < 20:
        number = int(values[0])
        if least <= number <= most:
            return number
    raise _bad_parameter(
        N_("%(name)s has to be one whole number from %(least)d to %(most)d."),
        name=name,
        least=least,
        most=most,
    )


def _flag(request: Request, name: str) -> bool:
    values = request.args.getlist(name, [])
    if not values:
        return False
    if len(values) == 1 and values[0] in ("true", "false"):
        return bool(values[0] == "true")
    raise _bad_parameter(N_("%(name)s has to be true or false."), name=name)


def _bad_parameter(detail: Message, **params: object) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, "bad_parameter", detail, {}, **params)


def _not_found() -> Problem:
    return Problem(
        HTTPStatus.NOT_FOUND,
        "no_such_notification",
        N_("There is no notification with this id in the inbox."),
    )
