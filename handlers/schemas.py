"""JSON Schemas of events, made of the forms that handlers read.

They describe what is used of an event. A valid message is accepted, but for what JSON Schema can't say: that
a day exists, that a mail address is one. A message that is not valid at a required field is refused. One that
is not valid at an optional field is accepted without it (decision 029), except a `message`.
The dialect is the part that JSON Schema 2020-12 and OpenAPI share; null is written as `{"type": "null"}`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct, inspect

from app.domain.events import MAX_EVENT_ID_CHARS
from handlers.amendments import RetractionRequested, UpdateRequested
from handlers.audiences import AUDIENCE_SCHEMA
from handlers.base import AUDIENCE, Audience, BaseMessageHandler, GroupEventHandler
from handlers.forms import EVENT_FIELDS, MEANINGS, other_names, parts
from handlers.messages import MessageRequested
from handlers.otp import OtpRequested
from handlers.registry import ALIASES

Schema = dict[str, Any]

NULL: Schema = {"type": "null"}
_EMPTY: Schema = {"type": "string", "maxLength": 0}
"""As good as null in optional fields, but for those of a `message`."""
_HEX = "[0-9a-fA-F]"
_UUID = f"{_HEX}{{8}}-?{_HEX}{{4}}-?{_HEX}{{4}}-?{_HEX}{{4}}-?{_HEX}{{12}}"
UUID_PATTERN = f"^([Uu][Rr][Nn]:[Uu][Uu][Ii][Dd]:)?({_UUID}|\\{{{_UUID}\\}})$"
"""All spellings of a UUID that are read."""
_NUMBER_PATTERN = r"^[ \t]*\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?[ \t]*$"
_FLAGS = ("true", "True", "yes", "1", "false", "False", "no", "0", 1, 0)
_EVENT_ID: Schema = {
    "description": "the deduplication key; an invalid value counts as missing",
    "anyOf": [
        {"type": "string", "minLength": 1, "maxLength": MAX_EVENT_ID_CHARS},
        {"type": "number"},
        NULL,
    ],
}


def names_of(handler: BaseMessageHandler[Any]) -> list[str]:
    """The values of `event_type` that an event may have, the documented one first."""
    return [handler.event_type, *(alias for alias, meant in ALIASES.items() if meant == handler.event_type)]


def component_name(event_type: str) -> str:
    """The name of its schema: `booking.confirmed` is `BookingConfirmedEvent`."""
    words = event_type.replace(".", "_").split("_")
    return "".join(word.capitalize() for word in words) + "Event"


def event_schema(handler: BaseMessageHandler[Any], *, typed: bool = True) -> Schema:
    """The schema of one event type. Not `typed`: where the type may be left to the transport."""
    if isinstance(handler, MessageRequested | UpdateRequested | RetractionRequested):
        return _message(handler, typed)
    schema: Schema = {
        "title": component_name(handler.event_type),
        "type": "object",
        "required": [*(["event_type"] if typed else []), *_required(handler)],
        "properties": {
            "event_id": _EVENT_ID,
            "event_type": {"type": "string", "enum": names_of(handler)},
            **_properties(handler),
            **_audience(handler),
        },
    }
    return schema | _recipients(handler)


def _message(handler: BaseMessageHandler[Any], typed: bool) -> Schema:
    """Nothing of a message is left out; null is as good as absent."""
    _, components = msgspec.json.schema_components([handler.message_type], ref_template="{name}")
    fields = components.pop(handler.message_type.__name__)
    properties = {
        name: schema if name in fields.get("required", ()) else _nullable(_inlined(schema, components))
        for name, schema in fields["properties"].items()
    }
    return {
        "title": component_name(handler.event_type),
        "type": "object",
        "required": [*(["event_type"] if typed else []), *fields.get("required", ())],
        "properties": {
            "event_id": _EVENT_ID,
            "event_type": {"type": "string", "enum": names_of(handler)},
            **{name: _described(name, schema) for name, schema in properties.items()},
            **_audience(handler),
        },
    }


def _audience(handler: BaseMessageHandler[Any]) -> Schema:
    """The field for an audience in place of receivers. What is no object counts as missing."""
    return {AUDIENCE: _nullable(AUDIENCE_SCHEMA)} if handler.addressed_by else {}


def _inlined(schema: Schema, components: Mapping[str, Schema]) -> Schema:
    """Without references: the few forms within a message are parts of its schema."""
    inlined = {key: value for key, value in schema.items() if key != "default"}
    if "$ref" in inlined:
        return _inlined(components[str(inlined["$ref"])], components)
    if isinstance(inlined.get("items"), dict):
        inlined["items"] = _inlined(inlined["items"], components)
    if "anyOf" in inlined:
        inlined["anyOf"] = [_inlined(each, components) for each in inlined["anyOf"]]
    if "properties" in inlined:
        inlined["properties"] = {
            name: _inlined(each, components) for name, each in inlined["properties"].items()
        }
    return inlined


def _required(handler: BaseMessageHandler[Any]) -> Iterator[str]:
    for part in parts(handler):
        if not part.prefix:
            yield from (field.name for field in msgspec.structs.fields(part.form) if field.required)


def _properties(handler: BaseMessageHandler[Any]) -> Schema:
    found: Schema = {}
    for part in parts(handler):
        if part.prefix:
            continue
        found |= _fields(part.form, handler)
    if isinstance(handler, OtpRequested):
        found["action"] = {"type": "string", "enum": [handler.action]}
    return found


def _fields(form: type[Struct], handler: BaseMessageHandler[Any]) -> Schema:
    others = other_names(form)
    found: Schema = {}
    for field in msgspec.structs.fields(form):
        if field.name in EVENT_FIELDS:
            continue
        loose = not field.required or handler.required_in_other_spellings
        schema = _value(inspect.type_info(field.type), loose, handler)
        schema = schema if field.required else _nullable(schema, _EMPTY)
        for name in (field.name, *(other for other, meant in others.items() if meant == field.name)):
            found[name] = _described(field.name, schema)
    return found


def _described(name: str, schema: Schema) -> Schema:
    return {"description": MEANINGS[name], **schema} if name in MEANINGS and name != "data" else schema


def _nullable(schema: Schema, *more: Schema) -> Schema:
    choices = schema["anyOf"] if schema.keys() == {"anyOf"} else [schema]
    return {"anyOf": [*(each for each in choices if each != NULL), *more, NULL]} if schema else schema


def _value(info: Any, loose: bool, handler: BaseMessageHandler[Any]) -> Schema:
    """What a field takes; in `loose` ones numbers and texts may stand for each other."""
    match info:
        case inspect.Metadata():
            extra = info.extra_json_schema or {}
            return {**_value(info.type, loose, handler), **extra}
        case inspect.UnionType():
            (one,) = (each for each in info.types if not isinstance(each, inspect.NoneType))
            return _value(one, loose, handler)
        case inspect.StrType():
            return _text(info, loose)
        case inspect.FloatType():
            number = {"type": "number", **_bounds(info)}
            return _any(number, {"type": "string", "pattern": _NUMBER_PATTERN, "maxLength": 50}, loose)
        case inspect.IntType():
            return {"type": "integer"}
        case inspect.BoolType():
            return _any({"type": "boolean"}, {"enum": [*_FLAGS]}, loose)
        case inspect.UUIDType():
            return {"type": "string", "pattern": UUID_PATTERN}
        case inspect.ListType():
            return _list(info, loose, handler)
        case inspect.StructType():
            fields = msgspec.structs.fields(info.cls)
            required = [field.name for field in fields if field.required]
            return {
                "type": "object",
                **({"required": required} if required else {}),
                "properties": _fields(info.cls, handler),
            }
    return {}


def _text(info: inspect.StrType, loose: bool) -> Schema:
    pattern = None if info.pattern is None else info.pattern.replace(r"$(?!\n)", "$")
    found = {"minLength": info.min_length, "maxLength": info.max_length, "pattern": pattern}
    text = {"type": "string", **{key: value for key, value in found.items() if value is not None}}
    numeric = loose and pattern in (None, r"\S")  # no number is a mail address
    return _any(text, {"type": "number"}, numeric)


def _list(info: inspect.ListType, loose: bool, handler: BaseMessageHandler[Any]) -> Schema:
    bounds = {"minItems": info.min_length, "maxItems": info.max_length}
    items = _value(info.item_type, loose, handler)
    found = {"type": "array", **{key: value for key, value in bounds.items() if value}, "items": items}
    one = _any({"type": "string", "pattern": r"[^\s,]"}, {"type": "number"}, loose=True)
    texts = isinstance(info.item_type, inspect.Metadata | inspect.StrType) and "UUID" not in repr(
        info.item_type
    )
    return {"anyOf": [found, *one["anyOf"]]} if loose and texts else found


def _bounds(info: inspect.FloatType) -> Schema:
    bounds = {"minimum": info.ge, "maximum": info.le}
    return {key: value for key, value in bounds.items() if value is not None}


def _any(one: Schema, other: Schema, loose: bool) -> Schema:
    return {"anyOf": [one, other]} if loose else one


def _recipients(handler: BaseMessageHandler[Any]) -> Schema:
    """A group event names its receivers, or says that the head chef is meant, if its audience is no other."""
    if not isinstance(handler, GroupEventHandler) or handler.audience is not Audience.RECEIVERS:
        return {}
    flag = {"enum": [True, *(flag for flag in _FLAGS if str(flag).lower() in ("true", "yes", "1"))]}
    return {
        "anyOf": [
            {"required": ["receivers"], "properties": {"receivers": {"type": "array", "minItems": 1}}},
            {"required": ["receiver_is_head_chef"], "properties": {"receiver_is_head_chef": flag}},
            {"required": [AUDIENCE], "properties": {AUDIENCE: {"type": "object"}}},
        ]
    }


def event_schemas(handlers: Iterable[BaseMessageHandler[Any]]) -> dict[str, Schema]:
    """The schemas of these event types, by component."""
    return {component_name(handler.event_type): event_schema(handler) for handler in handlers}


def one_of(handlers: Iterable[BaseMessageHandler[Any]], ref_template: str) -> Schema:
    """Any event of these types, told apart by `event_type`; `ref_template` leads to the components."""
    mapping = {
        name: ref_template.format(name=component_name(handler.event_type))
        for handler in handlers
        for name in names_of(handler)
    }
    return {
        "oneOf": [{"$ref": ref} for ref in dict.fromkeys(mapping.values())],
        "discriminator": {"propertyName": "event_type", "mapping": mapping},
    }
