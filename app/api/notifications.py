"""The inbox over REST: list, mark read, delete."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlencode

import msgspec
from sanic import Blueprint, HTTPResponse, Request

from app.api import schemas
from app.api.auth import Authenticator
from app.api.bodies import json_answer
from app.api.errors import Problem
from app.api.parameters import MAX_SEQ, flag, number, path_uuid
from app.domain.notifications import InboxCounters, Notification
from app.realtime.changes import InboxCommands
from app.store.notifications import NotificationStore
from app.texts.i18n import N_, negotiate, render
from handlers.registry import text_in

MAX_NOTIFICATION_ROWS = 1000


class Unread(msgspec.Struct):
    unread: schemas.Count


class AllRead(msgspec.Struct):
    up_to: schemas.Seq
    unread: schemas.Count


def make_blueprint(
    prefix: str, authenticator: Authenticator, store: NotificationStore, changes: InboxCommands, locale: str
) -> Blueprint:
    """The calls under `prefix`; `locale` is the one of messages to who asks for none.

    What a call changes is told to the user's connections, with the count after it; its answer has that count
    in the header `Inbox-Count`.
    """
    blueprint = Blueprint("notifications", url_prefix=prefix)

    @blueprint.get("/notifications/users/<user_id:str>")
    @blueprint.get("/users/<user_id:str>/notifications", name="list_of_user")
    @schemas.described(
        "List a user's notifications, newest first",
        'Without `limit` all of them up to 1000; where there are more, `Link: rel="next"` leads on.',
        {200: schemas.Answer("The notifications", list[Notification])},
        errors=(400, 401, 403, 503),
        query=schemas.LIST_QUERY,
    )
    async def list_notifications(request: Request, user_id: str) -> HTTPResponse:
        receiver = await authenticator.owner(request, user_id)
        limit = number(request, "limit", 1, MAX_NOTIFICATION_ROWS)
        before = number(request, "before", 1, MAX_SEQ)
        unread = flag(request, "unread")
        page = await store.page(receiver, (limit or MAX_NOTIFICATION_ROWS) + 1, before, unread)
        shown, more = page[: limit or MAX_NOTIFICATION_ROWS], page[limit or MAX_NOTIFICATION_ROWS :]
        wanted = _locale(request)
        headers = _language_headers(wanted)
        if more:
            query: dict[str, object] = {"before": shown[-1].seq, **({"limit": limit} if limit else {})}
            query |= {"unread": "true"} if unread else {}
            headers["Link"] = f'<{request.path}?{urlencode(query)}>; rel="next"'
        return json_answer([_in(wanted, item) for item in shown], headers=headers)

    @blueprint.get("/notifications/users/<user_id:str>/unread-count")
    @schemas.described(
        "Count a user's unread notifications",
        "The number on the bell.",
        {200: schemas.Answer("The count", Unread)},
        errors=(400, 401, 403, 503),
    )
    async def count_unread(request: Request, user_id: str) -> HTTPResponse:
        receiver = await authenticator.owner(request, user_id)
        return json_answer(Unread(await store.unread(receiver)))

    @blueprint.patch("/notifications/users/<user_id:str>/read")
    @schemas.described(
        "Mark all of a user's notifications read",
        "With `up_to` only those up to and with that `seq`: what came after the client looked stays unread.",
        {200: schemas.Answer("Up to which they are read, and how many are not", AllRead)},
        errors=(400, 401, 403, 503),
        query=schemas.READ_QUERY,
        headers=schemas.INBOX_COUNT,
    )
    async def mark_all_read(request: Request, user_id: str) -> HTTPResponse:
        receiver = await authenticator.owner(request, user_id)
        up_to, count = await changes.read_all(receiver, number(request, "up_to", 0, MAX_SEQ))
        return json_answer(AllRead(up_to, count.unread), headers=_count_header(count))

    @blueprint.patch("/notifications/<notification_id:str>/users/<user_id:str>/read")
    @schemas.described(
        "Mark a notification read",
        "Answers with the updated notification; doing it twice is harmless.",
        {200: schemas.Answer("The notification", Notification)},
        errors=(400, 401, 403, 404, 503),
        headers=schemas.INBOX_COUNT,
    )
    async def mark_read(request: Request, notification_id: str, user_id: str) -> HTTPResponse:
        receiver = await authenticator.owner(request, user_id)
        changed = await changes.read(path_uuid("id", notification_id), receiver)
        if changed is None:
            raise _not_found()
        found, count = changed
        wanted = _locale(request)
        headers = _language_headers(wanted) | _count_header(count)
        return json_answer(_in(wanted, found), headers=headers)

    @blueprint.delete("/notifications/<notification_id:str>/users/<user_id:str>")
    @schemas.described(
        "Delete a notification",
        "It is gone from the inbox for good.",
        {200: schemas.Answer("It is done", schemas.Confirmation)},
        errors=(400, 401, 403, 404, 503),
        headers=schemas.INBOX_COUNT,
    )
    async def delete_notification(request: Request, notification_id: str, user_id: str) -> HTTPResponse:
        receiver = await authenticator.owner(request, user_id)
        count = await changes.delete(path_uuid("id", notification_id), receiver)
        if count is None:
            raise _not_found()
        spoken = _locale(request) or locale
        headers = _language_headers(spoken) | _count_header(count)
        message = render(spoken, N_("The notification was deleted."), {})
        return json_answer(schemas.Confirmation(message), headers=headers)

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


def _language_headers(locale: str | None) -> dict[str, str]:
    """Without a wish each notification is in the language it was stored in, its receiver's at that time."""
    vary = {"Vary": "Accept-Language"}
    return vary if locale is None else {"Content-Language": locale, **vary}


def _count_header(count: InboxCounters) -> dict[str, str]:
    """A dictionary of RFC 9651, with the names that the frames of the session protocol use."""
    return {"Inbox-Count": ", ".join(f"{name}={value}" for name, value in count._asdict().items())}


def _not_found() -> Problem:
    return Problem(
        HTTPStatus.NOT_FOUND,
        "no_such_notification",
        N_("There is no notification with this id in the inbox."),
    )
