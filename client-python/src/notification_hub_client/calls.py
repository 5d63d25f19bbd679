"""Each REST call as a value: its request, and how its answer is read. No I/O."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx

from notification_hub_client.errors import HubError, error_of_answer, seconds
from notification_hub_client.event import Json, PublicEvent, body_of, to_json
from notification_hub_client.models import (
    AllChanged,
    AllMarkedRead,
    BulkResult,
    DryRun,
    EventStatus,
    InboxCounters,
    Notification,
    Page,
    SentEvent,
)

T = TypeVar("T")
View = Literal["inbox", "archived", "snoozed"]
Change = Literal["read", "unread", "archive", "unarchive"]
ChangeAll = Literal["seen", "archive", "delete"]
_ALL: Mapping[ChangeAll, tuple[str, str]] = {
    "seen": ("POST", "/seen"),
    "archive": ("PATCH", "/archive"),
    "delete": ("DELETE", ""),
}
PREFIX = "/api/v2/notification-service"
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.25, 10.0
LONGEST_RETRY_AFTER_SECONDS = 60.0
"""A call whose answer asks for more raises instead: its caller knows better what to do meanwhile."""
_SESSION = {"protocol": "hub.v1"}  # answers then have all that a notification carries
_TRANSIENT = frozenset({408, 429, 502, 503, 504})


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request. `repeatable`: sending it again has no further effect."""

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    params: Mapping[str, str | int] = field(default_factory=dict)
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True

    def arguments(self, token: str, locale: str | None) -> dict[str, Any]:
        """Those of `httpx.Client.request`."""
        language = {"Accept-Language": locale} if locale else {}
        headers = {"Authorization": f"Bearer {token}", **language, **self.headers}
        found: dict[str, Any] = {"method": self.method, "url": self.path, "headers": headers}
        if self.params:
            found["params"] = self.params
        if self.body is not None:
            found["json"] = self.body
        return found

    def result(self, answer: httpx.Response) -> T:
        """What the answer holds. Raises `HubError`."""
        if not answer.is_success:
            raise error_of(answer)
        try:
            return self.read(answer)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            detail = f"{self.method} {self.path}: the answer is not from a notification hub ({error!r})"
            raise HubError("unexpected_answer", detail, answer.status_code) from error


def error_of(answer: httpx.Response) -> HubError:
    """The error that an answer means."""
    return error_of_answer(answer.status_code, answer.content, answer.headers.get("Retry-After"))


def wait_before_retry(call: Call[Any], answer: httpx.Response | None, attempt: int) -> float | None:
    """Seconds until the call may be sent again; None if it must not be, or that would not help.

    Args:
        call: The call that failed.
        answer: Its answer; None if there was none.
        attempt: How often it was sent before, from 0.
    """
    if not call.repeatable:
        return None
    most = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0**attempt)
    backoff = random.uniform(most / 2, most)  # noqa: S311
    if answer is None:
        return backoff
    asked = seconds(answer.headers.get("Retry-After"))
    if asked is not None and asked > LONGEST_RETRY_AFTER_SECONDS:
        return None
    if answer.status_code in _TRANSIENT or (answer.status_code in (202, 409) and asked is not None):
        return backoff if asked is None else asked + random.uniform(0, FIRST_WAIT_SECONDS)  # noqa: S311
    return None


def publish(event: PublicEvent | Json, idempotency_key: str | None) -> Call[SentEvent]:
    """POST /notifications. Without `event_id` and key it gets a key, so that it can be retried."""
    body = body_of(event)
    headers = _key(idempotency_key, needed=body.get("event_id") is None)
    return Call("POST", "/notifications", _reader(SentEvent.from_json), body=body, headers=headers)


def publish_many(events: Iterable[PublicEvent | Json], idempotency_key: str | None) -> Call[BulkResult]:
    """POST /notifications/bulk."""
    body = {"notifications": [body_of(each) for each in events]}
    headers = _key(idempotency_key, needed=True)
    return Call("POST", "/notifications/bulk", _reader(BulkResult.from_json), body=body, headers=headers)


def send_mail(mail: Mapping[str, str | None], idempotency_key: str | None) -> Call[SentEvent]:
    """POST /notify/email."""
    body = {name: value for name, value in mail.items() if value is not None}
    headers = _key(idempotency_key, needed=True)
    return Call("POST", "/notify/email", _reader(SentEvent.from_json), body=body, headers=headers)


def dry_run(event: PublicEvent | Json) -> Call[DryRun]:
    """POST /notifications/dry-run."""
    return Call("POST", "/notifications/dry-run", _reader(DryRun.from_json), body=body_of(event))


def status(event_id: str) -> Call[EventStatus]:
    """GET /notifications/{event_id}."""
    return Call("GET", f"/notifications/{quote(event_id, safe='')}", _reader(EventStatus.from_json))


def cancel(event_id: str) -> Call[EventStatus]:
    """DELETE /notifications/{event_id}. A repeated one would get a 409 for its own success."""
    path = f"/notifications/{quote(event_id, safe='')}"
    return Call("DELETE", path, _reader(EventStatus.from_json), repeatable=False)


def page(user_id: UUID | str, limit: int | None, before: int | None, unread: bool, view: View) -> Call[Page]:
    """GET /notifications/users/{user_id}."""
    params: dict[str, str | int] = {**_SESSION, **({"unread": "true"} if unread else {})}
    params |= {} if view == "inbox" else {view: "true"}
    params |= {name: value for name, value in (("limit", limit), ("before", before)) if value is not None}
    return Call("GET", _inbox(user_id), _read_page, params)


def page_at(path: str) -> Call[Page]:
    """The page that a `Link` header or a frame of the session protocol leads to.

    Raises:
        ValueError: if the path leads to another host.
    """
    if not path.startswith("/") or path.startswith("//"):
        raise ValueError(f"{path!r} is not a path of the hub")
    return Call("GET", path.removeprefix(PREFIX), _read_page)


def counters(user_id: UUID | str) -> Call[InboxCounters]:
    """GET /notifications/users/{user_id}/unread-count."""
    return Call("GET", f"{_inbox(user_id)}/unread-count", _read_counters)


def change(user_id: UUID | str, notification_id: int, what: Change) -> Call[Notification]:
    """PATCH /notifications/{id}/users/{user_id}/{what}."""
    path = f"{_notification(user_id, notification_id)}/{what}"
    return Call("PATCH", path, _reader(Notification.from_json), _SESSION)


def snooze(user_id: UUID | str, notification_id: int, until: datetime) -> Call[Notification]:
    """PATCH /notifications/{id}/users/{user_id}/snooze."""
    path = f"{_notification(user_id, notification_id)}/snooze"
    params = {**_SESSION, "until": to_json(until)}
    return Call("PATCH", path, _reader(Notification.from_json), params)


def mark_all_read(user_id: UUID | str, up_to: int | None) -> Call[AllMarkedRead]:
    """PATCH /notifications/users/{user_id}/read. Without `up_to` a repeated one would mark newer ones too."""
    params = {} if up_to is None else {"up_to": up_to}
    read = _reader(lambda data: AllMarkedRead(data["up_to"], data["unread"]))
    return Call("PATCH", f"{_inbox(user_id)}/read", read, params, repeatable=up_to is not None)


def change_all(user_id: UUID | str, what: ChangeAll, up_to: int | None) -> Call[AllChanged]:
    """POST …/seen, PATCH …/archive or DELETE. Without `up_to` a repeated one would change newer ones too."""
    method, path = _ALL[what]
    params = {} if up_to is None else {"up_to": up_to}
    return Call(method, _inbox(user_id) + path, _read_changed, params, repeatable=up_to is not None)


def delete(user_id: UUID | str, notification_id: int) -> Call[InboxCounters]:
    """DELETE /notifications/{id}/users/{user_id}. A repeated one would get a 404 for its own success."""
    path = _notification(user_id, notification_id)
    return Call("DELETE", path, _read_counters, repeatable=False)


def _inbox(user_id: UUID | str) -> str:
    return f"/notifications/users/{quote(str(user_id), safe='')}"


def _notification(user_id: UUID | str, notification_id: int) -> str:
    return f"/notifications/{notification_id}/users/{quote(str(user_id), safe='')}"


def _key(given: str | None, needed: bool) -> Mapping[str, str]:
    key = given or (str(uuid4()) if needed else None)
    return {"Idempotency-Key": key} if key else {}


def _reader(read: Callable[[Mapping[str, Any]], T]) -> Callable[[httpx.Response], T]:
    return lambda answer: read(_content(answer))


def _content(answer: httpx.Response) -> Any:
    """The answer's JSON, without the envelope of a hub with REST_ENVELOPE=jsend."""
    found = answer.json()
    enveloped = isinstance(found, dict) and found.keys() == {"status", "message", "data"}
    return found["data"] if enveloped else found


def _read_page(answer: httpx.Response) -> Page:
    found: Sequence[Mapping[str, Any]] = _content(answer)
    return Page([Notification.from_json(each) for each in found], answer.links.get("next", {}).get("url"))


def _read_changed(answer: httpx.Response) -> AllChanged:
    return AllChanged(_content(answer)["up_to"], _read_counters(answer))


def _read_counters(answer: httpx.Response) -> InboxCounters:
    return InboxCounters.from_header(answer.headers["Inbox-Count"])
