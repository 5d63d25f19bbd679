"""The OpenAPI description of the REST calls: what they take and answer, in one place."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from app.domain.events import MAX_EVENT_ID_CHARS

Handler = TypeVar("Handler", bound=Callable[..., Any])

_USER = "456e7890-e89b-12d3-a456-426614174001"
_NULLABLE_UUID = {"type": "string", "format": "uuid", "nullable": True}
_NULLABLE_TIME = {"type": "string", "format": "date-time", "nullable": True}
_EVENT_ID = {
    "type": "string",
    "nullable": True,
    "minLength": 1,
    "maxLength": MAX_EVENT_ID_CHARS,
    "description": "makes a repeated send harmless; the hub chooses one where it is missing",
}

COMPONENTS: dict[str, dict[str, Any]] = {
    "Notification": {
        "type": "object",
        "description": "What one receiver is told.",
        "required": [
            *("id", "group_id", "group_name", "receiver", "created_at", "template_code"),
            *("raw_data", "is_read", "title", "content", "seq"),
        ],
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "group_id": _NULLABLE_UUID,
            "group_name": {"type": "string", "nullable": True, "example": "Family Group"},
            "receiver": {"type": "string", "format": "uuid", "example": _USER},
            "created_at": {"type": "string", "format": "date-time", "description": "UTC, ends in Z"},
            "template_code": {"type": "string", "example": "GROUP_USER_ADDED"},
            "raw_data": {
                "type": "object",
                "additionalProperties": True,
                "description": "the event's data",
                "example": {"requester_username": "john_doe"},
            },
            "is_read": {"type": "boolean"},
            "title": {"type": "string", "example": "Chào mừng bạn gia nhập nhóm Family Group!"},
            "content": {"type": "string"},
            "seq": {
                "type": "integer",
                "format": "int64",
                "minimum": 1,
                "description": "counts 1, 2, 3 … in the inbox",
            },
        },
    },
    "Problem": {
        "type": "object",
        "description": "An error (RFC 9457). `code` is stable and for programs, `detail` is for people.",
        "required": ["type", "title", "status", "detail", "instance", "code"],
        "properties": {
            "type": {
                "type": "string",
                "format": "uri",
                "example": "urn:notification-hub:problem:no_such_notification",
            },
            "title": {"type": "string", "example": "Not found"},
            "status": {"type": "integer", "example": 404},
            "detail": {
                "type": "string",
                "example": "There is no notification with this id in the inbox.",
            },
            "instance": {"type": "string", "description": "the path that was asked for"},
            "code": {"type": "string", "example": "no_such_notification"},
        },
    },
    "Delivery": {
        "type": "object",
        "description": "One message to one address over one channel, and what became of it.",
        "required": ["id", "event_id", "channel", "template", "address", "status", "attempts", "created_at"],
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "event_id": {"type": "string"},
            "user_id": _NULLABLE_UUID,
            "channel": {"type": "string", "example": "email"},
            "template": {"type": "string", "example": "otp_register"},
            "address": {"type": "string", "nullable": True, "example": "user@example.com"},
            "locale": {"type": "string", "example": "vi"},
            "status": {
                "type": "string",
                "enum": ["pending", "sending", "sent", "failed", "expired", "suppressed", "simulated"],
            },
            "reason": {"type": "string", "nullable": True, "description": "why it stands so, in words"},
            "attempts": {"type": "integer", "minimum": 0},
            "next_attempt_at": _NULLABLE_TIME,
            "error_code": {"type": "string", "nullable": True, "example": "smtp_451"},
            "error": {"type": "string", "nullable": True, "description": "the provider's own words"},
            "provider_id": {"type": "string", "nullable": True},
            "created_at": {"type": "string", "format": "date-time"},
            "expires_at": _NULLABLE_TIME,
            "finished_at": _NULLABLE_TIME,
            "tries": {
                "type": "array",
                "description": "each attempt (of a single delivery only)",
                "items": {
                    "type": "object",
                    "properties": {
                        "number": {"type": "integer"},
                        "started_at": {"type": "string", "format": "date-time"},
                        "seconds": {"type": "number"},
                        "outcome": {"type": "string"},
                        "error_code": {"type": "string", "nullable": True},
                        "error": {"type": "string", "nullable": True},
                        "provider_id": {"type": "string", "nullable": True},
                    },
                },
            },
        },
    },
    "Bulk": {
        "type": "object",
        "required": ["notifications"],
        "properties": {
            "notifications": {
                "type": "array",
                "minItems": 1,
                "maxItems": 10_000,
                "items": {"$ref": "#/components/schemas/MessageOrEvent"},
            }
        },
    },
    "MessageOrEvent": {
        "description": "A message to one person, or any event: what has an `event_type` is taken for one.",
        "anyOf": [
            {
                "allOf": [
                    {"$ref": "#/components/schemas/MessageRequest"},
                    {"type": "object", "properties": {"event_id": _EVENT_ID}},
                ]
            },
            {"$ref": "#/components/schemas/Event"},
        ],
    },
    "Event": {
        "type": "object",
        "description": "Something that happened, in the form it has on Kafka. What else it needs depends "
        "on its type: see the README. `account_logged_out` isn't taken here.",
        "required": ["event_type"],
        "properties": {
            "event_id": _EVENT_ID,
            "event_type": {"type": "string", "minLength": 1, "example": "group_user_added"},
        },
        "additionalProperties": True,
    },
    "Message": {
        "type": "object",
        "required": ["message"],
        "properties": {"message": {"type": "string"}},
    },
    "Readiness": {
        "type": "object",
        "required": ["status", "dependencies"],
        "properties": {
            "status": {"type": "string", "enum": ["ready", "not ready"]},
            "dependencies": {
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "required": ["status", "latency_ms"],
                    "properties": {
                        "status": {"type": "string", "enum": ["up", "down"]},
                        "latency_ms": {"type": "number"},
                        "error": {"type": "string"},
                    },
                },
            },
        },
    },
}


def _json(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def ref(name: str) -> dict[str, str]:
    """A reference to one of `COMPONENTS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def answer(words: str, name: str) -> tuple[str, dict[str, Any]]:
    """An answer whose body is one of `COMPONENTS`."""
    return words, _json(ref(name))


NOTIFICATION = ("The notification", _json(ref("Notification")))
NOTIFICATIONS = ("The notifications", _json({"type": "array", "items": ref("Notification")}))
DELIVERY = ("The delivery", _json(ref("Delivery")))
DELIVERIES = ("The deliveries", _json({"type": "array", "items": ref("Delivery")}))
_RESENT = {
    "type": "object",
    "required": ["id", "status"],
    "properties": {"id": {"type": "string", "format": "uuid"}, "status": {"type": "string"}},
}
RESENT = ("It will be sent again", _json(_RESENT))
MESSAGE = ("It is done", _json(ref("Message")))
_COUNT = {"type": "integer", "minimum": 0}
_UNREAD = {"type": "object", "required": ["unread"], "properties": {"unread": _COUNT}}
_ALL_READ = {
    "type": "object",
    "required": ["up_to", "unread"],
    "properties": {"up_to": {**_COUNT, "format": "int64"}, "unread": _COUNT},
}
UNREAD = ("The count", _json(_UNREAD))
ALL_READ = ("Up to which they are read, and how many are not", _json(_ALL_READ))
INBOX_COUNT = {
    "Inbox-Count": {
        "description": "how many are unread after it, as of which `last_seq` and `rev` (docs/protocol.md)",
        "schema": {"type": "string", "example": "unread=3, last_seq=41, rev=12"},
    }
}
ALIVE = ("The hub is alive", _json({"type": "object", "properties": {"status": {"type": "string"}}}))
READY = ("Every dependency answers", _json(ref("Readiness")))
NOT_READY = ("A dependency is missing", _json(ref("Readiness")))
UPGRADED: tuple[str, dict[str, Any]] = ("A WebSocket", {})
METRICS = ("Prometheus' text format", {"text/plain": {"schema": {"type": "string"}}})

_PROBLEM = {"application/problem+json": {"schema": ref("Problem")}}
_ERRORS = {
    400: "A parameter or the body is wrong",
    401: "No token, or one that doesn't hold",
    403: "Another user's path, or the scope is missing",
    404: "Not found, or not theirs",
    409: "Its state doesn't allow it",
    413: "The body is too large",
    422: "The Idempotency-Key belongs to another request",
    426: "Not a WebSocket handshake",
    429: "The WebSocket of this token was closed with 4429 a moment ago",
    503: "A dependency is down",
}

READ_QUERY: dict[str, dict[str, Any]] = {
    "up_to": {"type": "integer", "format": "int64", "minimum": 0, "description": "the last `seq` to mark"},
}
RESUME_QUERY: dict[str, dict[str, Any]] = {
    "after": {
        "type": "integer",
        "format": "int64",
        "minimum": 0,
        "description": "with `hub.v1`: the last `seq` the client has; what follows is sent first",
    },
}
DELIVERIES_QUERY: dict[str, dict[str, Any]] = {
    "user_id": {"type": "string", "format": "uuid"},
    "event_id": {"type": "string"},
    "status": {"type": "string", "enum": COMPONENTS["Delivery"]["properties"]["status"]["enum"]},
    "channel": {"type": "string"},
    "since": {"type": "string", "format": "date-time", "description": "made at this moment or later"},
    "until": {"type": "string", "format": "date-time", "description": "made before this moment"},
    "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "description": "at most so many (100)"},
    "before": {"type": "string", "format": "uuid", "description": "only those older than this delivery"},
}
LIST_QUERY: dict[str, dict[str, Any]] = {
    "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "description": "at most so many"},
    "before": {
        "type": "integer",
        "format": "int64",
        "minimum": 1,
        "description": "only those with a `seq` under this",
    },
    "unread": {"type": "boolean", "description": "only those not read yet"},
}


_UUID = {"type": "string", "format": "uuid"}
_TEXT_IDS: dict[str, dict[str, Any]] = {
    "event_id": {"type": "string", "minLength": 1, "maxLength": MAX_EVENT_ID_CHARS},
    "preference_id": {"type": "string", "minLength": 1, "example": "food.email"},
}
"""Of the ids in paths those that are no UUIDs."""
_KEY = {
    "type": "string",
    "minLength": 1,
    "maxLength": 255,
    "description": "a text of your choice, such as a UUID; the same request with it again changes nothing",
}
_LANGUAGE = {"type": "string", "description": "the language of texts: vi, en or ru", "example": "en"}

_MESSAGE = {"type": "inapp", "user_id": _USER, "title": "Your kitchen", "message": "Three plans are done."}
EXAMPLES: dict[str, dict[str, Any]] = {
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
    "Bulk": {"two": {"summary": "Two messages", "value": {"notifications": [_MESSAGE, _MESSAGE]}}},
}
"""Bodies to start from, by the name of their type."""


def described(
    summary: str,
    description: str,
    answers: Mapping[int, tuple[str, dict[str, Any]]],
    *,
    errors: Sequence[int] = (),
    query: Mapping[str, Mapping[str, Any]] | None = None,
    body: str | None = None,
    idempotent: bool = False,
    headers: Mapping[str, Any] | None = None,
) -> Callable[[Handler], Handler]:
    """Describe a REST call, for app/api/docs.py; one that can answer 401 is marked as needing a token.

    `body` is the name of the type of its JSON body; `idempotent` says that it takes an Idempotency-Key;
    `headers` are those of its answers that aren't errors.
    """
    problems = {*errors, *([413] if body else [])}
    responses = {
        status: {"description": words, "content": content, **({"headers": headers} if headers else {})}
        for status, (words, content) in answers.items()
    }
    responses |= {
        status: {"description": _ERRORS[status], "content": _PROBLEM} for status in sorted(problems)
    }
    operation: dict[str, Any] = {
        "summary": summary,
        "description": description,
        "responses": {str(status): response for status, response in responses.items()},
    }
    parameters = [_parameter(name, "query", schema) for name, schema in (query or {}).items()]
    if idempotent:
        parameters.append(_parameter("Idempotency-Key", "header", _KEY))
    if 401 in errors:
        operation["security"] = [{"token": []}]
        parameters.append(_parameter("Accept-Language", "header", _LANGUAGE))
    if body is not None:
        content = {"schema": ref(body)} | ({"examples": EXAMPLES[body]} if body in EXAMPLES else {})
        operation["requestBody"] = {"required": True, "content": {"application/json": content}}

    def describe(handler: Handler) -> Handler:
        ids = [name for name in inspect.signature(handler).parameters if name.endswith("_id")]
        in_path = [_parameter(name, "path", _TEXT_IDS.get(name, _UUID)) for name in ids]
        handler.operation = operation | {"parameters": in_path + parameters}  # type: ignore[attr-defined]
        return handler

    return describe


def _parameter(name: str, place: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    kept = dict(schema)
    words = {"description": kept.pop("description")} if "description" in kept else {}
    return {"name": name, "in": place, "required": place == "path", **words, "schema": kept}
