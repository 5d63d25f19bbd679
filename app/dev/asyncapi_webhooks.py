"""The outbound webhooks for docs/asyncapi.yml: a message for each kind."""

from __future__ import annotations

from typing import Any

import msgspec

from app.domain.webhooks import DATA

_SCHEMAS = "#/components/schemas/{name}"
CHANNEL = "webhooks"


def _name(kind: str) -> str:
    """The name of the message: `delivery.sent` is `DeliverySentWebhook`."""
    return "".join(word.capitalize() for word in kind.split(".")) + "Webhook"


def channels() -> dict[str, Any]:
    """The endpoints that `run.py webhooks add` names."""
    return {
        CHANNEL: {
            "address": None,
            "title": "Webhook endpoints (run.py webhooks)",
            "description": "A POST request for each message, signed as Standard Webhooks describes: "
            "docs/how-to/webhooks.md. A message can arrive more than once, with the same `webhook-id`.",
            "bindings": {"http": {}},
            "messages": {_name(kind): {"$ref": f"#/components/messages/{_name(kind)}"} for kind in DATA},
        }
    }


def operations() -> dict[str, Any]:
    """The hub sends them."""
    return {
        "sendWebhook": {
            "action": "send",
            "summary": "What became of deliveries, notifications and people.",
            "channel": {"$ref": f"#/channels/{CHANNEL}"},
            "messages": [{"$ref": f"#/channels/{CHANNEL}/messages/{_name(kind)}"} for kind in DATA],
        }
    }


def messages() -> dict[str, Any]:
    """A message of each kind, with its headers."""
    text = {"type": "string"}
    headers = {"webhook-id": text, "webhook-timestamp": text, "webhook-signature": text}
    described = {"type": "object", "required": [*headers], "properties": headers}
    return {
        _name(kind): {
            "name": kind,
            "headers": described,
            "payload": {"$ref": _SCHEMAS.format(name=_name(kind))},
        }
        for kind in DATA
    }


def schemas() -> dict[str, Any]:
    """The body of each kind, told apart by `type`, and what `data` may be."""
    _, data = msgspec.json.schema_components([*dict.fromkeys(DATA.values())], ref_template=_SCHEMAS)
    bodies = {
        _name(kind): {
            "type": "object",
            "required": ["type", "timestamp", "data"],
            "properties": {
                "type": {"type": "string", "enum": [kind]},
                "timestamp": {"type": "string", "format": "date-time"},
                "data": {"$ref": _SCHEMAS.format(name=form.__name__)},
            },
        }
        for kind, form in DATA.items()
    }
    return {**data, **bodies}
