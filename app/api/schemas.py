"""The OpenAPI description of the REST calls: parameters, bodies and answers.

Bodies are described by the types that they are decoded into and encoded from; a call names these types.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from app.api.errors import PROBLEM, ProblemDetails
from app.api.openapi import REF_TEMPLATE, converted, schema_of
from app.domain.deliveries import Status
from app.domain.details import SEVERITIES
from app.domain.events import MAX_EVENT_ID_CHARS
from app.domain.notifications import NotificationId, notification_form
from app.domain.preferences import CATEGORIES
from app.domain.topics import MAX_TOPIC_KEY_CHARS, TOPIC_KEY_PATTERN
from handlers.audiences import AUDIENCE_SCHEMA
from handlers.messages import MessageRequest
from handlers.registry import HANDLERS
from handlers.schemas import event_schemas, one_of

Handler = TypeVar("Handler", bound=Callable[..., Any])

_USER = "456e7890-e89b-12d3-a456-426614174001"
EventId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_EVENT_ID_CHARS,
        description="the deduplication key; the hub generates one if it is missing",
    ),
]
Count = Annotated[int, Meta(ge=0)]
Seq = Annotated[int, Meta(ge=0, extra_json_schema={"format": "int64"})]


class AnyMessage(MessageRequest, kw_only=True):
    """A message that a service writes itself. With `event_id` it is processed once.

    `to` is an address, a phone number (E.164) or, in-app, a user id; without it the message goes to the
    address in the profile of `user_id`. It has `message` (and `title`, `html` for mail), or `template_code`
    names a template, which `data` fills: a mail template, or in-app an event type.
    """

    event_id: EventId | None = None
    audience: Annotated[dict[str, Any], Meta(extra_json_schema=AUDIENCE_SCHEMA)] | None = None


MessageOrEvent = Annotated[
    msgspec.Raw, Meta(extra_json_schema={"$ref": REF_TEMPLATE.format(name="MessageOrEvent")})
]
OVER_HTTP = [handler for handler in HANDLERS.values() if handler.only_from is None]
EVENT_COMPONENTS = {
    **{name: converted(schema) for name, schema in event_schemas(OVER_HTTP).items()},
    "Event": {
        "description": (
            "An event, in the same form as on every transport. Optional fields with invalid values "
            "are ignored: docs/reference/events.md."
        ),
        **one_of(OVER_HTTP, REF_TEMPLATE),
    },
    "MessageOrEvent": {
        "description": "A message to one person, or an event. A body with an `event_type` is an event.",
        "anyOf": [schema_of(AnyMessage), {"$ref": REF_TEMPLATE.format(name="Event")}],
    },
}
"""The components that no type describes: events, and what `MessageOrEvent` refers to."""
TYPES = (AnyMessage, ProblemDetails)
"""The types that no call names directly."""


ListedNotification = notification_form()


class Confirmation(msgspec.Struct):
    """A success without other content."""

    message: str


class Answer(NamedTuple):
    """An answer that is not an error: `body` is its type."""

    description: str
    body: Any = None
    content_type: str = "application/json"
    types: tuple[Any, ...] = ()
    """The types that `body` refers to by name only."""


class Operation(NamedTuple):
    """The description of a call, and the types that it refers to."""

    document: dict[str, Any]
    types: tuple[Any, ...]


INBOX_COUNT = {
    "Inbox-Count": {
        "description": (
            "the numbers of unread and unseen notifications after the call, and as of when "
            "(docs/reference/protocol.md)"
        ),
        "schema": {"type": "string", "example": "unread=3, last_seq=41, rev=12, unseen=1, seen_up_to=38"},
    }
}
UPGRADED = Answer("A WebSocket")

_ERRORS = {
    400: "A parameter or the body is invalid",
    401: "The token is missing or invalid",
    403: "The path belongs to another user, or the token lacks the scope",
    404: "Not found, or owned by another user",
    409: "Not possible in the current state",
    413: "The body is too large",
    422: "The Idempotency-Key was used for a different request",
    426: "Not a WebSocket handshake",
    429: "The WebSocket of this token was closed with 4429 recently",
    503: "A dependency is down",
}

READ_QUERY: dict[str, dict[str, Any]] = {
    "up_to": {
        "type": "integer",
        "format": "int64",
        "minimum": 0,
        "description": "the last `seq` that it concerns",
    },
}
RESEND_QUERY: dict[str, dict[str, Any]] = {
    "force": {"type": "boolean", "description": "also what was sent before"},
}
BOUNCES_QUERY: dict[str, dict[str, Any]] = {
    "recipient": {"type": "string", "description": "the address that the mail came to, from its envelope"},
}
LANGUAGE_QUERY: dict[str, dict[str, Any]] = {
    "lang": {
        "type": "string",
        "maxLength": 100,
        "description": "the language of texts: vi, en or ru. Else that of Accept-Language",
        "example": "en",
    },
}
RESUME_QUERY: dict[str, dict[str, Any]] = {
    **LANGUAGE_QUERY,
    "after": {
        "type": "integer",
        "format": "int64",
        "minimum": 0,
        "description": (
            "with `hub.v1`: the last `seq` the client has; the notifications after it are sent first"
        ),
    },
}
EVENTS_QUERY: dict[str, dict[str, Any]] = {
    **LANGUAGE_QUERY,
    "after": {
        "type": "integer",
        "format": "int64",
        "minimum": 0,
        "description": (
            "the last `seq` the client has; the notifications after it are sent first. The header "
            "`Last-Event-ID` overrides it. `last_event_id` is the same"
        ),
    },
    "protocol": {
        "type": "string",
        "enum": ["hub.v1"],
        "description": "also send the frames of the session protocol, as named events",
    },
}
DELIVERIES_QUERY: dict[str, dict[str, Any]] = {
    "user_id": {
        "type": "string",
        "minLength": 1,
        "maxLength": 200,
        "description": "a UUID, or the user's id in another system",
    },
    "event_id": {"type": "string"},
    "status": {"type": "string", "enum": [status.value for status in Status]},
    "channel": {"type": "string"},
    "since": {"type": "string", "format": "date-time", "description": "created at this time or later"},
    "until": {"type": "string", "format": "date-time", "description": "created before this time"},
    "limit": {
        "type": "integer",
        "minimum": 1,
        "maximum": 1000,
        "description": "page size (100)",
    },
    "before": {"type": "string", "format": "uuid", "description": "only deliveries older than this one"},
}
TOPICS_QUERY: dict[str, dict[str, Any]] = {
    "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "description": "page size (1000)"},
    "after": {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_TOPIC_KEY_CHARS,
        "description": "only topics whose keys come after this one",
    },
}
BROADCASTS_QUERY: dict[str, dict[str, Any]] = {
    "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "description": "page size (100)"},
    "before": {"type": "string", "description": "only broadcasts that are older than this one"},
}
FOLLOWERS_QUERY: dict[str, dict[str, Any]] = {
    "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "description": "page size (1000)"},
    "after": {"type": "string", "format": "uuid", "description": "only users whose ids come after this one"},
}
EXPLAIN_QUERY: dict[str, dict[str, Any]] = {
    "user_id": {"type": "string", "format": "uuid", "description": "only what concerns this user"},
}
AMENDING_QUERY: dict[str, dict[str, Any]] = {
    "event_id": {"type": "string", "description": "the id of the event that you published"},
    "thread_key": {
        "type": "string",
        "description": "the thread that you published it in; with `user_id`",
        "example": "order-7",
    },
    "user_id": {
        "type": "array",
        "items": {"type": "string"},
        "example": ["456e7890-e89b-12d3-a456-426614174001"],
        "description": "whose notifications; for several users several times. Without it all of the event's",
    },
}
PROTOCOL_QUERY: dict[str, dict[str, Any]] = {
    "protocol": {
        "type": "string",
        "enum": ["hub.v1"],
        "description": "with all that notifications carry, as the frames of the session protocol show them",
    },
}
CLICK_QUERY: dict[str, dict[str, Any]] = {
    "action": {
        "type": "string",
        "minLength": 1,
        "maxLength": 64,
        "description": "the `id` of the action; without it the notification's own link",
    },
}
SNOOZE_QUERY: dict[str, dict[str, Any]] = {
    "until": {
        "type": "string",
        "format": "date-time",
        "description": "required: when it comes back; within a year",
        "example": "2026-12-01T08:00:00Z",
    },
    **PROTOCOL_QUERY,
}
FILTER_QUERY: dict[str, dict[str, Any]] = {
    "category": {
        "type": "array",
        "items": {"type": "string", "enum": list(CATEGORIES)},
        "description": "only those of these categories; several times, or with commas",
    },
    "severity": {
        "type": "array",
        "items": {"type": "string", "enum": list(SEVERITIES)},
        "description": "only those of these severities; several times, or with commas",
    },
}
LIST_QUERY: dict[str, dict[str, Any]] = {
    "limit": {
        "type": "integer",
        "minimum": 1,
        "maximum": 1000,
        "description": "page size",
    },
    "before": {
        "type": "integer",
        "format": "int64",
        "minimum": 1,
        "description": "only notifications with a lower `seq`",
    },
    "unread": {"type": "boolean", "description": "only unread notifications"},
    "archived": {"type": "boolean", "description": "the archive in place of the inbox"},
    "snoozed": {"type": "boolean", "description": "what is snoozed, in place of the inbox"},
    **FILTER_QUERY,
    **LANGUAGE_QUERY,
    **PROTOCOL_QUERY,
}


_UUID = {"type": "string", "format": "uuid"}
_OTHER_IDS: dict[str, dict[str, Any]] = {
    "token": {"type": "string", "maxLength": 1000, "description": "of an unsubscribe link"},
    "image": {"type": "string", "maxLength": 100, "description": "the signed name in the mail"},
    "notification_id": schema_of(NotificationId),
    "event_id": {"type": "string", "minLength": 1, "maxLength": MAX_EVENT_ID_CHARS},
    "broadcast_id": {"type": "string", "minLength": 1, "description": "the id of its event"},
    "topic_key": {"type": "string", "pattern": TOPIC_KEY_PATTERN, "example": "release-notes"},
    "preference_id": {"type": "string", "minLength": 1, "example": "food.email"},
    "old_user_id": {"type": "string", "minLength": 1, "example": "1"},
}
"""The ids in paths that are not UUIDs."""
_KEY = {
    "type": "string",
    "minLength": 1,
    "maxLength": 255,
    "description": "any string, such as a UUID; a retry with the same key gets the stored answer",
}
_LANGUAGE = {"type": "string", "description": "the language of texts: vi, en or ru", "example": "en"}

_MESSAGE = {"type": "inapp", "user_id": _USER, "title": "Your kitchen", "message": "Three plans are done."}
EXAMPLES: dict[str, dict[str, Any]] = {
    "NotificationUpdate": {
        "arrived": {
            "summary": "Newer texts, without buttons, unread again",
            "value": {
                "title": "Order 7 has arrived",
                "message": "At your door.",
                "actions": [],
                "unread": True,
            },
        },
    },
    "MessageOrEvent": {
        "inapp": {"summary": "A message in the inbox", "value": _MESSAGE},
        "mail": {
            "summary": "A mail, tomorrow",
            "value": {
                "type": "email",
                "to": "user@example.com",
                "title": "Your kitchen",
                "message": "Three plans are done.",
                "send_at": "2030-01-01T07:00:00Z",
            },
        },
        "template": {
            "summary": "An SMS from a template",
            "value": {
                "type": "sms",
                "to": "+84912345678",
                "template_code": "low_stock",
                "data": {"product_name": "Espresso beans", "current_stock": 3, "threshold": 10},
            },
        },
        "event": {
            "summary": "An event",
            "value": {
                "event_type": "group_user_added",
                "group_id": "123e4567-e89b-12d3-a456-426614174000",
                "receivers": [_USER],
                "data": {"group_name": "Family Group", "requester_username": "john_doe"},
            },
        },
    },
    "NotifyEmail": {
        "mail": {
            "summary": "A mail",
            "value": {
                "email": "user@example.com",
                "subject": "Your kitchen",
                "text": "Three plans are done.",
            },
        }
    },
    "Bulk": {"two": {"summary": "Two messages", "value": {"notifications": [_MESSAGE, _MESSAGE]}}},
}
"""Example bodies by component."""


def described(
    summary: str,
    description: str,
    answers: Mapping[int, Answer],
    *,
    errors: Sequence[int] = (),
    query: Mapping[str, Mapping[str, Any]] | None = None,
    body: Any = None,
    media_type: str = "application/json",
    idempotent: bool = False,
    headers: Mapping[str, Any] | None = None,
) -> Callable[[Handler], Handler]:
    """Describe a REST call for app/api/docs.py. A call that can answer 401 is marked as needing a token.

    Args:
        summary: the title of the call.
        description: what it does, for clients.
        answers: the answers by status, without errors.
        errors: the statuses of errors.
        query: the schemas of query parameters by name.
        body: the type of the body; None if there is none.
        media_type: how the body is encoded.
        idempotent: whether the call accepts an Idempotency-Key.
        headers: the headers of `answers`.
    """
    responses = _responses(answers, headers or {}, {*errors, *([413] if body else [])})
    document: dict[str, Any] = {"summary": summary, "description": description, "responses": responses}
    if 401 in errors:
        document["security"] = [{"token": []}]
    if body is not None:
        document["requestBody"] = _request_body(body, media_type)
    types = _types([*(type_ for each in answers.values() for type_ in (each.body, *each.types)), body])

    def describe(handler: Handler) -> Handler:
        asked = _parameters(query or {}, idempotent, localised=401 in errors)
        document["parameters"] = _path_parameters(handler) + asked
        handler.operation = Operation(document, types)  # type: ignore[attr-defined]
        return handler

    return describe


def _parameters(
    query: Mapping[str, Mapping[str, Any]], idempotent: bool, localised: bool
) -> list[dict[str, Any]]:
    """All parameters but those of the path."""
    headers: dict[str, Mapping[str, Any]] = {"Idempotency-Key": _KEY} if idempotent else {}
    headers |= {"Accept-Language": _LANGUAGE} if localised else {}
    return [
        *(_parameter(name, "query", schema) for name, schema in query.items()),
        *(_parameter(name, "header", schema) for name, schema in headers.items()),
    ]


def _types(bodies: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(body for body in bodies if body is not None)


def _path_parameters(handler: Callable[..., Any]) -> list[dict[str, Any]]:
    """The ids, and tokens, in the path are the handler's parameters."""
    parameters = inspect.signature(handler).parameters
    ids = [name for name in parameters if name.endswith("_id") or name in _OTHER_IDS]
    return [_parameter(name, "path", _OTHER_IDS.get(name, _UUID)) for name in ids]


def _responses(
    answers: Mapping[int, Answer], headers: Mapping[str, Any], errors: set[int]
) -> dict[str, dict[str, Any]]:
    responses = {
        str(status): {
            "description": answer.description,
            "content": _content(answer),
            **({"headers": headers} if headers else {}),
        }
        for status, answer in answers.items()
    }
    problem = {PROBLEM: {"schema": schema_of(ProblemDetails)}}
    return responses | {
        str(status): {"description": _ERRORS[status], "content": problem} for status in sorted(errors)
    }


def _content(answer: Answer) -> dict[str, Any]:
    return {} if answer.body is None else {answer.content_type: {"schema": schema_of(answer.body)}}


def _request_body(body: Any, media_type: str) -> dict[str, Any]:
    schema = schema_of(body)
    examples = EXAMPLES.get(schema.get("$ref", "").rpartition("/")[2])
    content = {"schema": schema} | ({"examples": examples} if examples else {})
    return {"required": True, "content": {media_type: content}}


def _parameter(name: str, place: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    kept = dict(schema)
    text = {"description": kept.pop("description")} if "description" in kept else {}
    return {"name": name, "in": place, "required": place == "path", **text, "schema": kept}
