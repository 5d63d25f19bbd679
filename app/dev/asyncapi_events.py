"""The inputs of events for docs/asyncapi.yml: Kafka topics, RabbitMQ queues, Redis stream and channel."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from app.dev import samples
from app.settings import load_events
from app.sources import BROKERS, EventInput
from app.sources.dead_letters import SUFFIX
from handlers.base import BaseMessageHandler
from handlers.otp import OtpRequested
from handlers.registry import HANDLERS
from handlers.schemas import component_name, event_schema, one_of

_SCHEMAS = "#/components/schemas/{name}"
_DLQ = f"What can't be processed goes to the one with this name and `{SUFFIX}`."
_NOTES: Mapping[str, str] = {
    "topic": f"The value of a record is one event. Events with the same key keep their order. {_DLQ}",
    "queue": "The body of a message is one event. Publish to the default exchange with the queue's name as "
    "routing key, or bind the queue to an exchange. " + _DLQ,
    "stream": "The event is the value of the field `event`, or an entry's fields are the event's. " + _DLQ,
    "channel": "A message is one event. Pub/Sub keeps nothing: what must not be lost goes to the stream. "
    f"What can't be processed goes to the stream's `{SUFFIX}`.",
}


@cache
def _inputs() -> list[EventInput]:
    """With the defaults of the settings, whatever the environment says."""
    defaults = load_events(_env_file="", _aliases=False)
    return [place for broker in BROKERS for place in broker.inputs(defaults)]


def _name(place: EventInput) -> str:
    """The channel's name in the document: `notificationTopic` of NOTIFICATION_TOPIC."""
    first, *others = place.setting.lower().split("_")
    return first + "".join(word.capitalize() for word in others)


def _handlers(place: EventInput) -> list[BaseMessageHandler[Any]]:
    """The event types that are accepted there."""
    if place.event_type is not None:
        return [HANDLERS[place.event_type]]
    return [
        handler
        for handler in HANDLERS.values()
        if handler.only_from in (None, place.source) and not isinstance(handler, OtpRequested)
    ]


def _message_name(handler: BaseMessageHandler[Any], place: EventInput) -> str:
    name = component_name(handler.event_type)
    untyped = place.default_type is not None and place.default_type.event_type == handler.event_type
    return f"{name}OfItsChannel" if untyped else name


def _bindings(place: EventInput) -> dict[str, Any]:
    match place.kind:
        case "topic":
            return {"kafka": {"topic": place.name}}
        case "queue":
            return {"amqp": {"is": "queue", "queue": {"name": place.name, "durable": True}}}
    return {"redis": {}}


def channels() -> dict[str, Any]:
    """Each input, with the messages it takes."""
    return {
        _name(place): {
            "address": place.name,
            "title": f"{place.kind.capitalize()} {place.name} ({place.setting})",
            "description": f"{_NOTES[place.kind]} The setting {place.setting} names it.",
            "bindings": _bindings(place),
            "messages": {
                name: {"$ref": f"#/components/messages/{name}"}
                for name in (_message_name(handler, place) for handler in _handlers(place))
            },
        }
        for place in _inputs()
    }


def operations() -> dict[str, Any]:
    """The hub receives what services publish."""
    return {
        f"receiveFrom{_name(place)[0].upper()}{_name(place)[1:]}": {
            "action": "receive",
            "summary": f"Events of the {place.kind} {place.name}.",
            "channel": {"$ref": f"#/channels/{_name(place)}"},
            "messages": [
                {"$ref": f"#/channels/{_name(place)}/messages/{_message_name(handler, place)}"}
                for handler in _handlers(place)
            ],
        }
        for place in _inputs()
    }


def messages() -> dict[str, Any]:
    """A message of each event type, with a sample."""
    return {
        _message_name(handler, place): {
            "name": handler.event_type,
            "payload": {"$ref": _SCHEMAS.format(name=_message_name(handler, place))},
            "examples": [{"payload": samples.load(handler.event_type).message}],
        }
        for place in _inputs()
        for handler in _handlers(place)
    }


def schemas() -> dict[str, Any]:
    """The schema of each event type, and of any event."""
    typed = [handler for handler in HANDLERS.values() if not isinstance(handler, OtpRequested)]
    found = {
        _message_name(handler, place): event_schema(
            handler,
            typed=place.event_type is None
            and _message_name(handler, place) == component_name(handler.event_type),
        )
        for place in _inputs()
        for handler in _handlers(place)
    }
    any_event = one_of(typed, _SCHEMAS)
    any_event["discriminator"] = any_event["discriminator"]["propertyName"]  # all that AsyncAPI has of it
    return {**found, "Event": any_event}
