"""Writes the event classes of the Python client from the classes in `handlers/`: `make generated`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect

from app.domain.details import Action, Actor
from handlers.base import BaseMessageHandler, GroupEventHandler
from handlers.flat import FlatEventHandler
from handlers.forms import EVENT_FIELDS, meaning
from handlers.otp import OtpRequested
from handlers.registry import HANDLERS

PATH = Path(__file__).parents[2] / "client-python" / "src" / "notification_hub_client" / "events.py"
_HEAD = '''"""A class for each event type. Written by `make generated` from the hub's `handlers/`."""

# fmt: off
# ruff: noqa: E501
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal
from uuid import UUID

from notification_hub_client.event import Action, Actor, Attachment, Event, PublicEvent
'''
_TOPICS: Mapping[str, str] = {
    "account_logged_out": "logouts",
    "otp_register": "registration",
    "otp_reset_password": "reset_password",
    "otp_change_email": "email_change",
}
_NO_ARGUMENT: Mapping[str, frozenset[str]] = {"otp": frozenset({"action"})}


class _ClientField(NamedTuple):
    name: str
    kind: str
    required: bool


def text() -> str:
    """The module."""
    classes = {_class_name(event_type): each for event_type, each in HANDLERS.items()}
    listed = "".join(f'    "{name}",\n' for name in sorted(classes))
    return (
        "\n\n".join([f"{_HEAD}\n__all__ = [\n{listed}]", *(_class(*each) for each in classes.items())]) + "\n"
    )


def _class_name(event_type: str) -> str:
    return "".join(part.capitalize() for part in event_type.replace(".", "_").split("_"))


def _class(name: str, handler: BaseMessageHandler[Any]) -> str:
    envelope, data = _fields_of(handler)
    base = "PublicEvent" if handler.only_from is None else "Event"
    lines = [
        "@dataclass(frozen=True, kw_only=True)",
        f"class {name}({base}):",
        f'    """{_summary(handler)}"""',
        "",
    ]
    lines += [f"    {line}" for line in _constants(handler, data)]
    lines.append("")
    for each in sorted((*envelope, *data), key=lambda each: not each.required):
        default = "" if each.required else " | None = None"
        lines += [f"    {each.name}: {each.kind}{default}", f'    """{_meaning(each.name)}"""']
    return "\n".join(lines)


def _summary(handler: BaseMessageHandler[Any]) -> str:
    if isinstance(handler, OtpRequested):
        return f"A one-time code for the action `{handler.action}`."
    if handler.event_type == "message":
        return "A message that its publisher writes, or a template with data, to one person over one channel."
    return f"The event `{handler.event_type}`."


def _constants(handler: BaseMessageHandler[Any], data: list[_ClientField]) -> Iterator[str]:
    if isinstance(handler, OtpRequested):
        yield "event_type: ClassVar[str | None] = None"
        yield f'constants: ClassVar[Mapping[str, Any]] = {{"action": "{handler.action}"}}'
    else:
        yield f'event_type: ClassVar[str | None] = "{handler.event_type}"'
    if topic := _TOPICS.get(handler.event_type):
        yield f'topic: ClassVar[str] = "{topic}"'
    if isinstance(handler, GroupEventHandler):
        names = "".join(f'"{each.name}", ' for each in data).removesuffix(", ")
        yield f"data_fields: ClassVar[frozenset[str]] = frozenset({{{names}}})"
        yield "has_data: ClassVar[bool] = True"


def _fields_of(handler: BaseMessageHandler[Any]) -> tuple[list[_ClientField], list[_ClientField]]:
    """Those at the top of the event, and those in `data`. No name is in both."""
    if isinstance(handler, GroupEventHandler):
        envelope = [each for each in _fields(handler.message_type) if each.name != "data"]
        return envelope, list(_fields(handler.data_type))
    if isinstance(handler, FlatEventHandler):
        return [*_fields(handler.envelope_type), *_fields(handler.data_type)], []
    fixed = _NO_ARGUMENT["otp"] if isinstance(handler, OtpRequested) else frozenset()
    return [each for each in _fields(handler.message_type) if each.name not in fixed], []


def _fields(form: Any) -> Iterator[_ClientField]:
    for field in msgspec.structs.fields(form):
        if field.name not in EVENT_FIELDS:
            kind = _BY_NAME.get(field.name) or _kind(inspect.type_info(field.type))
            yield _ClientField(field.name, kind, field.required)


def _kind(info: Any, choices: tuple[str, ...] = ()) -> str:
    match info:
        case inspect.Metadata():
            return _kind(info.type, tuple((info.extra_json_schema or {}).get("enum", ())))
        case inspect.UnionType():
            kinds = [_kind(each) for each in info.types if not isinstance(each, inspect.NoneType)]
            return " | ".join(dict.fromkeys(kinds))
        case inspect.StrType() if choices:
            return _literal(choices)
        case inspect.ListType() | inspect.VarTupleType():
            return f"Sequence[{_kind(info.item_type)}]"
        case inspect.LiteralType():
            return _literal(info.values)
        case inspect.StructType():
            return _STRUCTS.get(info.cls, "Attachment")
    return _KINDS[type(info)]


def _literal(choices: Iterable[object]) -> str:
    return f"Literal[{', '.join(f'{choice!r}' for choice in choices)}]".replace("'", '"')


_STRUCTS: Mapping[type, str] = {Action: "Action", Actor: "Actor"}
_KINDS: Mapping[type, str] = {
    inspect.StrType: "str",
    inspect.FloatType: "float",
    inspect.IntType: "int",
    inspect.BoolType: "bool",
    inspect.UUIDType: "UUID | str",
    inspect.DateTimeType: "datetime",
    inspect.DictType: "Mapping[str, Any]",
}
_BY_NAME: Mapping[str, str] = {
    "access_token_id": "str",
    "receivers": "Sequence[UUID | str]",
    "timestamp": "datetime | str | float",
    "to": "UUID | str",
    "user_id": "UUID | str | int",
}
"""Types that say more than those of the handlers, which also read other spellings."""


def _meaning(name: str) -> str:
    text = meaning(name)
    return f"{text[0].upper()}{text[1:]}."


if __name__ == "__main__":
    PATH.write_text(text(), "utf-8")
