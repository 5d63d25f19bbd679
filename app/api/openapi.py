"""msgspec's JSON schemas in the dialect and under the names that the OpenAPI document publishes."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import msgspec

REF_TEMPLATE = "#/components/schemas/{name}"
COMPONENT_NAMES = {
    "AnyMessage": "MessageRequest",
    "Confirmation": "Message",
    "PreferenceChoice": "Choice",
    "ProblemDetails": "Problem",
}
"""The public names of types whose class has another name: generated clients use them."""


def schema_of(body_type: Any) -> dict[str, Any]:
    """The schema of a type, in which each Struct is a reference to a component."""
    (schema,), _ = msgspec.json.schema_components((body_type,), ref_template=REF_TEMPLATE)
    return converted(schema)


def components(types: Iterable[Any]) -> dict[str, Any]:
    """The components of these types and of all that they refer to, by their public names."""
    _, schemas = msgspec.json.schema_components(types, ref_template=REF_TEMPLATE)
    return {_public(name): converted(schema) for name, schema in schemas.items()}


def _public(name: str) -> str:
    return COMPONENT_NAMES.get(name, name)


def converted(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema in the older dialect of OpenAPI 3.0, which has `nullable` and `example`."""
    kept: dict[str, Any] = {}
    for keyword, value in schema.items():
        match keyword, value:
            case "$ref", str():
                kept["$ref"] = REF_TEMPLATE.format(name=_public(value.rpartition("/")[2]))
            case "title", str():
                kept["title"] = _public(value)
            case "description", str():
                kept["description"] = inspect.cleandoc(value)
            case "properties", dict():
                kept["properties"] = {name: converted(each) for name, each in value.items()}
            case (("items" | "additionalProperties"), dict()):
                kept[keyword] = converted(value)
            case "anyOf", list():
                kept |= _choice([converted(each) for each in value])
            case "examples", [example, *_]:
                kept["example"] = example
            case "contentEncoding", "base64":
                kept["format"] = "byte"
            case "required", []:
                pass
            case _:
                kept[keyword] = value
    if kept.get("nullable") and "enum" in kept:
        kept["enum"] = [*kept["enum"], None]
    return kept


def _choice(choices: list[dict[str, Any]]) -> dict[str, Any]:
    """One of these; null among them is written as `nullable`, beside a `type` where there is one."""
    others = [each for each in choices if each != {"type": "null"}]
    if len(others) == len(choices):
        return {"anyOf": others}
    if len(others) == 1 and "$ref" not in others[0]:
        return {**others[0], "nullable": True}
    typed = next((number for number, each in enumerate(others) if "type" in each), None)
    if typed is None:
        return {"anyOf": others, "nullable": True}
    others[typed] = {**others[typed], "nullable": True}
    return {"anyOf": others}
