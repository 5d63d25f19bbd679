"""`python -m app.dev.asyncapi` writes docs/asyncapi.yml from the types of events and of the protocol."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from app import __version__
from app.dev import asyncapi_events, asyncapi_webhooks
from app.domain.notifications import notification_form
from app.realtime import session_frames
from app.realtime.event_format import Closing
from app.realtime.protocol import CloseCode

PATH = Path(__file__).parent.parent.parent / "docs" / "asyncapi.yml"
FROM_CLIENT = (
    session_frames.Resume,
    session_frames.Read,
    session_frames.Seen,
    session_frames.Language,
    session_frames.Token,
    session_frames.Ping,
)
TO_CLIENT = (
    session_frames.Connected,
    session_frames.Resumed,
    session_frames.NotificationRead,
    session_frames.NotificationDeleted,
    session_frames.NotificationUnread,
    session_frames.NotificationArchived,
    session_frames.NotificationUnarchived,
    session_frames.NotificationSnoozed,
    session_frames.NotificationUpdated,
    session_frames.NotificationRetracted,
    session_frames.AllRead,
    session_frames.AllSeen,
    session_frames.AllArchived,
    session_frames.AllDeleted,
    session_frames.TokenRenewed,
    session_frames.Pong,
    session_frames.Failed,
)
ANSWERS = (session_frames.TokenRenewed, session_frames.Pong, session_frames.Failed)
"""What only a client that can send gets."""


def document() -> dict[str, Any]:
    """The inputs of events and the live interfaces as AsyncAPI 3.0.

    See asyncapi.com/docs/reference/specification/v3.0.0.
    """
    schemas = _schemas()
    from_client = [kind.__name__ for kind in FROM_CLIENT]
    to_client = ["NotificationFrame", *(kind.__name__ for kind in TO_CLIENT)]
    streamed = ["NotificationFrame", "Closing", *(kind.__name__ for kind in TO_CLIENT if kind not in ANSWERS)]
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Notification hub", "version": __version__, "description": _description()},
        "defaultContentType": "application/json",
        "channels": {
            "inbox": _channel(
                "/ws/v2/notification-service/notifications/users/{user_id}",
                (*to_client, *from_client),
                {"bindings": {"ws": {"query": _QUERY}}},
            ),
            "events": _channel("/api/v2/notification-service/notifications/users/{user_id}/events", streamed),
            **asyncapi_events.channels() | asyncapi_webhooks.channels(),
        },
        "operations": {
            "stream": _operation("send", "The same as Server-Sent Events.", streamed, channel="events"),
            "notify": _operation(
                "send", "What the hub sends; a plain client gets NotificationFrame only.", to_client
            ),
            "command": _operation("receive", "What a client of hub.v1 may send.", from_client),
            **asyncapi_events.operations() | asyncapi_webhooks.operations(),
        },
        "components": {
            "messages": {
                name: {"payload": {"$ref": f"#/components/schemas/{name}"}}
                for name in (*to_client, "Closing", *from_client)
            }
            | asyncapi_events.messages()
            | asyncapi_webhooks.messages(),
            "schemas": schemas | asyncapi_events.schemas() | asyncapi_webhooks.schemas(),
        },
    }


def _description() -> str:
    codes = ", ".join(f"{code.value} {code.name.lower()}" for code in CloseCode)
    return (
        "Events that services publish (docs/reference/events.md), and what a user's clients get: a "
        f"WebSocket or an event stream (docs/reference/protocol.md).\n\nClose codes: {codes}"
    )


def _schemas() -> dict[str, Any]:
    _, schemas = msgspec.json.schema_components(
        (*FROM_CLIENT, *TO_CLIENT, Closing, notification_form()), ref_template="#/components/schemas/{name}"
    )
    schemas["NotificationFrame"] = {
        "type": "object",
        "required": ["event_type", "data"],
        "properties": {
            "event_type": {"type": "string"},
            "data": {"$ref": "#/components/schemas/Notification"},
        },
        "additionalProperties": False,
    }
    return schemas


_QUERY = {
    "type": "object",
    "properties": {
        "jwt": {
            "type": "string",
            "description": "the token, if neither header nor subprotocol brings it",
        },
        "after": {"type": "integer", "minimum": 0, "description": "with hub.v1: resume after this seq"},
        "lang": {"type": "string", "description": "the language of texts; else that of Accept-Language"},
    },
}


def _operation(action: str, summary: str, names: list[str], channel: str = "inbox") -> dict[str, Any]:
    return {
        "action": action,
        "summary": summary,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in names],
    }


def _channel(address: str, names: Iterable[str], more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {
        "address": address,
        "parameters": {"user_id": {"description": "a UUID; the token's own user"}},
        **(more or {}),
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
    }


def text() -> str:
    """The document as it stands in docs/asyncapi.yml."""
    head = "# Written by `make asyncapi` from the types of events and of the protocol.\n"
    plain = msgspec.json.decode(msgspec.json.encode(document()))  # nothing twice, so YAML needs no anchors
    return head + yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=110)


if __name__ == "__main__":
    PATH.write_text(text(), "utf-8")
    print(f"Written: {PATH}", file=sys.stderr)
