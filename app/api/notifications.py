"""The inbox over REST: list, mark read, delete."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from sanic import Blueprint, HTTPResponse, Request

from app.api import schemas
from app.api.auth import Authenticator
from app.api.bodies import json_answer
from app.api.envelope import Wrap
from app.api.errors import Problem
from app.api.languages import wanted_locale
from app.api.parameters import MAX_SEQ, bad_parameter, choice, choices, flag, given, number, path_number
from app.api.routes import Routes, add_routes
from app.api.whole_inbox import INBOX, AllChanged, all_changed, count_header
from app.domain.details import SEVERITIES
from app.domain.notifications import (
    MAX_NOTIFICATION_ID,
    ArchivePlace,
    ListWindow,
    Notification,
    NotificationFilter,
    fitting,
)
from app.domain.preferences import CATEGORIES
from app.realtime.changes import Changed, InboxCommands
from app.realtime.protocol import SUBPROTOCOL, detailed_json
from app.store.ports import Inboxes, Triage
from app.texts.i18n import N_, render
from handlers.registry import details_json, filter_of, text_in

MAX_NOTIFICATION_ROWS = 1000
MAX_PAGE_BYTES = 1024 * 1024  # of notifications' data and contents
_INBOX_ALIAS = "/users/<user_id:str>/notifications"
NOTIFICATION = "/notifications/<notification_id:str>/users/<user_id:str>"
ENVELOPED = (INBOX, _INBOX_ALIAS, NOTIFICATION, f"{NOTIFICATION}/read")
"""The paths of the documented calls: their answers and errors are in the envelope."""
PLACES: tuple[ArchivePlace, ...] = ("archived", "snoozed")
LISTED = N_("The notifications, newest first.")
MARKED = N_("The notification was marked as read.")
DELETED = N_("The notification was deleted.")


class Window(NamedTuple):
    """What part of an inbox a list shows."""

    limit: int | None = None
    skip: int = 0
    """How many of the newest to leave out, at most `MAX_NOTIFICATION_ROWS`."""
    unread: bool = False
    place: ArchivePlace | None = None
    """None: the inbox."""


class Unread(msgspec.Struct, omit_defaults=True):
    """With a filter, `exact` is false if only the newest 2000 unread ones were counted, of more."""

    unread: schemas.Count
    unseen: schemas.Count
    exact: bool | None = None


def _detailed(notification: Notification) -> msgspec.Raw:
    """The notification with all that it carries, as clients of `hub.v1` get it."""
    return msgspec.Raw(detailed_json(notification, details_json(notification)))


def _as_published(notification: Notification) -> Notification | msgspec.Raw:
    """The notification as plain connections get it, unless its publisher set more."""
    return notification if notification.details is None else _detailed(notification)


def _shape(request: Request) -> Callable[[Notification], object]:
    """What a client of `hub.v1` asks for, or any other client."""
    return _as_published if choice(request, "protocol", (SUBPROTOCOL,)) is None else _detailed


class NotificationResource:
    """The inbox of the user that the path names.

    A call that changes the inbox notifies the user's connections, with the count after the change; its
    answer has that count in the header `Inbox-Count`.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        store: Inboxes,
        archive: Triage,
        commands: InboxCommands,
        locale: str,
        wrap: Wrap,
    ) -> None:
        """`locale` is the language of messages to a client that asks for none.

        `wrap` puts the answers of the documented calls into an envelope: list, mark read, delete.
        """
        self._authenticator = authenticator
        self._store = store
        self._archive = archive
        self._commands = commands
        self._locale = locale
        self._wrap = wrap

    def blueprint(self, prefix: str) -> Blueprint:
        """The calls under `prefix`."""
        blueprint = Routes("notifications", url_prefix=prefix)
        listing = self._wrap(self.list_notifications, LISTED)
        add_routes(
            (blueprint.get(INBOX), listing),
            (blueprint.get(_INBOX_ALIAS, name="list_of_user"), listing),
            (blueprint.get(f"{INBOX}/unread-count"), self.count_unread),
            (blueprint.patch(f"{INBOX}/read"), self.mark_all_read),
            (blueprint.patch(f"{NOTIFICATION}/read"), self._wrap(self.mark_read, MARKED)),
            (blueprint.delete(NOTIFICATION), self._wrap(self.delete_notification, DELETED)),
        )
        return blueprint

    @schemas.described(
        "List a user's notifications, newest first",
        'Without `limit` at most 1000, and about 1 MB at most. If there are more, `Link: rel="next"` has '
        "the next page. What is archived or snoozed is listed only if that is asked for.",
        {200: schemas.Answer("The notifications", list[schemas.ListedNotification])},  # type: ignore[valid-type]
        errors=(400, 401, 403, 503),
        query=schemas.LIST_QUERY,
    )
    async def list_notifications(self, request: Request, user_id: str) -> HTTPResponse:
        """A page of an inbox, newest first; `Link: rel="next"` leads to older ones."""
        owner = await self._authenticator.owner(request, user_id)
        limit = number(request, "limit", 1, MAX_NOTIFICATION_ROWS)
        places = [place for place in PLACES if flag(request, place)]
        if len(places) > 1 or (places and flag(request, "unread")):
            raise bad_parameter(N_("Only one of `unread`, `archived` and `snoozed` can be true."))
        place = places[0] if places else None
        unread = flag(request, "unread")
        if (wanted := _filter(request)) is not None:
            return await self._filtered(request, owner, wanted, ListWindow(limit or 0, None, unread, place))
        return await self.list_of(request, owner, Window(limit, unread=unread, place=place), _shape(request))

    async def _filtered(
        self, request: Request, receiver: UUID, wanted: NotificationFilter, window: ListWindow
    ) -> HTTPResponse:
        """The answer with what a filter lets through, from `before` in the query on."""
        before, limit = number(request, "before", 1, MAX_SEQ), window.limit or MAX_NOTIFICATION_ROWS
        page = await self._store.filtered_page(
            receiver, wanted, window._replace(before=before, limit=limit), MAX_PAGE_BYTES
        )
        locale, shape = wanted_locale(request), _shape(request)
        headers = _language_headers(locale)
        if page.before is not None:
            query = {**dict(_query_of(window, shape)), "before": page.before}
            query |= {"category": wanted.categories} if wanted.categories else {}
            query |= {"severity": wanted.severities} if wanted.severities else {}
            query |= _lang(request)
            headers["Link"] = f'<{request.path}?{urlencode(query, doseq=True)}>; rel="next"'
        return json_answer([shape(_in(locale, item)) for item in page.notifications], headers=headers)

    async def list_of(
        self,
        request: Request,
        receiver: UUID,
        window: Window,
        shape: Callable[[Notification], object],
    ) -> HTTPResponse:
        """The answer with the inbox of a user who was authenticated.

        Args:
            request: Its query may say `before`.
            receiver: The user.
            window: What part to list.
            shape: Makes of each notification what the client expects.
        """
        limit, skip, unread, place = window
        before = number(request, "before", 1, MAX_SEQ)
        rows = limit or MAX_NOTIFICATION_ROWS
        if place is None:
            page = await self._store.page(receiver, rows + 1, before, unread, skip, MAX_PAGE_BYTES)
        else:
            page = await self._archive.archive_page(receiver, place, rows + 1, before, MAX_PAGE_BYTES)
        end = min(rows, fitting(page, MAX_PAGE_BYTES))
        shown, more = page[:end], page[end:]
        wanted = wanted_locale(request)
        headers = _language_headers(wanted)
        if more:
            listed = ListWindow(limit or 0, None, unread, place)
            query = {"before": shown[-1].seq, **dict(_query_of(listed, shape)), **_lang(request)}
            headers["Link"] = f'<{request.path}?{urlencode(query)}>; rel="next"'
        return json_answer([shape(_in(wanted, item)) for item in shown], headers=headers)

    @schemas.described(
        "Count a user's unread notifications",
        "For a badge: those that are unread, and those of them that the user hasn't seen in a list yet.",
        {200: schemas.Answer("The count", Unread)},
        errors=(400, 401, 403, 503),
        query=schemas.FILTER_QUERY,
        headers=schemas.INBOX_COUNT,
    )
    async def count_unread(self, request: Request, user_id: str) -> HTTPResponse:
        """The number of unread notifications, which costs the same for an inbox of any size."""
        receiver = await self._authenticator.owner(request, user_id)
        count = await self._store.counters(receiver)
        if (wanted := _filter(request)) is not None:
            filtered = await self._store.filtered_count(receiver, wanted)
            return json_answer(Unread(*filtered), headers=count_header(count))
        return json_answer(Unread(count.unread, count.unseen), headers=count_header(count))

    @schemas.described(
        "Mark all of a user's notifications read",
        "With `up_to` only those up to and including that `seq`: newer ones stay unread.",
        {200: schemas.Answer("The last `seq` that was marked, and the counts", AllChanged)},
        errors=(400, 401, 403, 503),
        query=schemas.READ_QUERY,
        headers=schemas.INBOX_COUNT,
    )
    async def mark_all_read(self, request: Request, user_id: str) -> HTTPResponse:
        """Mark all notifications as read, or those up to the `seq` `up_to`."""
        return await self.read_all_of(request, await self._authenticator.owner(request, user_id))

    async def read_all_of(self, request: Request, receiver: UUID) -> HTTPResponse:
        """Mark the notifications of a user who was authenticated as read."""
        return await all_changed(request, receiver, self._commands.read_all)

    @schemas.described(
        "Mark a notification read",
        "Answers with the updated notification. The call is idempotent.",
        {200: schemas.Answer("The notification", schemas.ListedNotification)},
        errors=(400, 401, 403, 404, 503),
        query=schemas.PROTOCOL_QUERY,
        headers=schemas.INBOX_COUNT,
    )
    async def mark_read(self, request: Request, notification_id: str, user_id: str) -> HTTPResponse:
        """Mark one notification as read."""
        receiver = await self._authenticator.owner(request, user_id)
        return await self.read_of(request, notification_id, receiver, _shape(request))

    async def read_of(
        self,
        request: Request,
        notification_id: str,
        receiver: UUID,
        shape: Callable[[Notification], object],
    ) -> HTTPResponse:
        """Mark a notification of a user who was authenticated as read. `shape` is as in `list_of`."""
        return await self.changed(request, notification_id, receiver, self._commands.read, shape)

    async def changed(
        self,
        request: Request,
        notification_id: str,
        receiver: UUID,
        change: Callable[[int, UUID], Awaitable[Changed | None]],
        shape: Callable[[Notification], object] | None = None,
    ) -> HTTPResponse:
        """Change a notification of a user who was authenticated, and answer with it. `shape` is as in
        `list_of`; by default what the client asks for.
        """
        changed = await change(_id(notification_id), receiver)
        if changed is None:
            raise _not_found()
        found, count = changed
        wanted = wanted_locale(request)
        headers = _language_headers(wanted) | count_header(count)
        return json_answer((shape or _shape(request))(_in(wanted, found)), headers=headers)

    @schemas.described(
        "Delete a notification",
        "Removes it from the inbox permanently.",
        {200: schemas.Answer("Deleted", schemas.Confirmation)},
        errors=(400, 401, 403, 404, 503),
        headers=schemas.INBOX_COUNT,
    )
    async def delete_notification(self, request: Request, notification_id: str, user_id: str) -> HTTPResponse:
        """Delete one notification permanently."""
        receiver = await self._authenticator.owner(request, user_id)
        count = await self._commands.delete(_id(notification_id), receiver)
        if count is None:
            raise _not_found()
        spoken = wanted_locale(request) or self._locale
        headers = _language_headers(spoken) | count_header(count)
        message = render(spoken, DELETED, {})
        return json_answer(schemas.Confirmation(message), headers=headers)


def _filter(request: Request) -> NotificationFilter | None:
    """The categories and severities in the query; None without any."""
    categories = choices(request, "category", CATEGORIES)
    severities = choices(request, "severity", SEVERITIES)
    return filter_of(categories, severities) if categories or severities else None


def _lang(request: Request) -> dict[str, object]:
    return {"lang": lang} if (lang := next(iter(given(request, "lang")), None)) else {}


def _query_of(window: ListWindow, shape: Callable[[Notification], object]) -> Iterator[tuple[str, object]]:
    """The query of the next page, without where it begins."""
    if window.limit:
        yield "limit", window.limit
    if window.unread:
        yield "unread", "true"
    if window.place:
        yield window.place, "true"
    if shape is _detailed:
        yield "protocol", SUBPROTOCOL


def _id(notification_id: str) -> int:
    return path_number("id", notification_id, 1, MAX_NOTIFICATION_ID)


def _in(locale: str | None, notification: Notification) -> Notification:
    """The notification in `locale`; as it is stored if `locale` is None or its texts cannot be rendered."""
    if locale is None:
        return notification
    text = text_in(
        locale,
        notification.template_code,
        bytes(notification.raw_data),
        notification.group_name,
        notification.title,
    )
    if text is None:
        return notification
    return msgspec.structs.replace(notification, title=text.title, content=text.content)


def _language_headers(locale: str | None) -> dict[str, str]:
    """Without a requested locale, each notification is in the language in which it was stored."""
    vary = {"Vary": "Accept-Language"}
    return vary if locale is None else {"Content-Language": locale, **vary}


def _not_found() -> Problem:
    return Problem(
        HTTPStatus.NOT_FOUND,
        "no_such_notification",
        N_("The inbox has no notification with this id."),
    )
