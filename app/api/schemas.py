"""The OpenAPI description of the REST calls: what they take and answer, in one place."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

from sanic_ext import openapi
from sanic_ext.extensions.openapi.types import Schema

Handler = TypeVar("Handler", bound=Callable[..., Any])

_USER = "456e7890-e89b-12d3-a456-426614174001"
_NULLABLE_UUID = {"type": "string", "format": "uuid", "nullable": True}

_NULLABLE_TIME = {"type": "string", "format": "date-time", "nullable": True}

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
            "type": {"type": "string", "format": "uri"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "instance": {"type": "string"},
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
            "address": {"type": "string", "example": "user@example.com"},
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
                "items": {"$ref": "#/components/schemas/MessageRequest"},
            }
        },
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
ALIVE = ("The hub is alive", _json({"type": "object", "properties": {"status": {"type": "string"}}}))
READY = ("Every dependency answers", _json(ref("Readiness")))
NOT_READY = ("A dependency is missing", _json(ref("Readiness")))
UPGRADED: tuple[str, dict[str, Any]] = ("A WebSocket", {})
METRICS = ("Prometheus' text format", {"text/plain": {"schema": {"type": "string"}}})

_PROBLEM = {"application/problem+json": {"schema": ref("Problem")}}
_ERRORS = {
    400: "A parameter is wrong",
    401: "No token, or one that doesn't hold",
    403: "Another user's path, or the scope is missing",
    404: "Not found, or not theirs",
    409: "Its state doesn't allow it",
    413: "The body is too large",
    422: "The Idempotency-Key belongs to another request",
    426: "Not a WebSocket handshake",
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


_TEXT_IDS = {"event_id": str, "preference_id": str}
"""Of the ids in paths those that are no UUIDs."""


def described(
    summary: str,
    description: str,
    answers: Mapping[int, tuple[str, dict[str, Any]]],
    *,
    errors: Sequence[int] = (),
    query: Mapping[str, Mapping[str, Any]] | None = None,
    body: str | None = None,
    idempotent: bool = False,
) -> Callable[[Handler], Handler]:
    """Describe a REST call; one that can answer 401 is marked as needing a token. `body` is the name of the
    type of its JSON body; `idempotent` says that it takes an Idempotency-Key.
    """

    def describe(handler: Handler) -> Handler:
        openapi.summary(summary)(handler)
        openapi.description(description)(handler)
        for status, (words, content) in answers.items():
            openapi.response(status, content, words)(handler)
        for status in errors:
            openapi.response(status, _PROBLEM, _ERRORS[status])(handler)
        for name, schema in (query or {}).items():
            parameter = Schema(**schema)  # type: ignore[no-untyped-call]
            openapi.parameter(name, parameter, "query")(handler)
        if body is not None:
            openapi.body(_json(ref(body)), required=True)(handler)
        for name in (name for name in inspect.signature(handler).parameters if name.endswith("_id")):
            openapi.parameter(name, _TEXT_IDS.get(name, UUID), "path", required=True)(handler)
        if idempotent:
            words = "a text of your choice, such as a UUID; the same request with it again changes nothing"
            openapi.parameter("Idempotency-Key", str, "header", description=words)(handler)
        if 401 in errors:
            openapi.secured("token")(handler)
            openapi.parameter(
                "Accept-Language", str, "header", description="the language of texts: vi, en or ru"
            )(handler)
        return handler

    return describe
