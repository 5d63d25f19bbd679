"""Reading messages that aren't in the documented form: what can't be used never costs the rest.

A message in the documented form is converted at once. Only one that isn't is looked at field by field: a
value is read in another spelling where it has one (a number in a text, a text in a number), and an optional
field that still can't be used is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from functools import cache
from itertools import chain
from types import MappingProxyType, UnionType
from typing import Annotated, Any, NamedTuple, TypeVar, Union, get_args, get_origin
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from app.domain.user_ids import UUIDS_ONLY, UserIds, decimal, parse_uuid

USER = {"id_of": "user"}
"""The `extra` in the `Meta` of a UUID that is a user's, and so may be a foreign id."""
DECISIVE = {"decisive": True}
"""The `extra` in the `Meta` of an optional field that decides who is notified: one that is given and can't
be used is refused, so that nobody else is notified instead."""
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
MAX_NUMBER_CHARS = 50
_FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

_BLANKS = " \t\N{NO-BREAK SPACE}"  # no line breaks: what has one where none belongs isn't repaired
S = TypeVar("S", bound=Struct)


class _Field(NamedTuple):
    """One field of a form, or the items of one that is a list."""

    name: str
    required: bool
    of: Any
    """The type without `Annotated` and None."""
    extras: tuple[Any, ...]
    """Those of its `Meta`: see `USER` and `DECISIVE`."""
    item: Any
    """Of a list: the `_Field` of its items."""
    others: tuple[str, ...]
    """The names that it is also met under."""
    check: type[Struct]
    """A form with a field `value` of the same type: msgspec keeps what it knows of those."""

    def takes(self, value: Any) -> bool:
        """Whether the value has the form of the field."""
        try:
            msgspec.convert({"value": value}, self.check)
        except msgspec.ValidationError:
            return False
        return True


def read(
    fields: Mapping[str, Any], form: type[S], user_ids: UserIds = UUIDS_ONLY, *, required_too: bool = False
) -> S:
    """The fields of a message that `form` has.

    The class attribute `other_names` of `form` lists other names of its fields; a value under such a name
    counts first. With `required_too` required fields are read in other spellings as well.

    Raises `msgspec.ValidationError`, naming the field, if a required one is missing or can't be used.
    """
    others = getattr(form, "other_names", None)
    if others is None or others.keys().isdisjoint(fields):
        try:
            return msgspec.convert(fields, form)
        except msgspec.ValidationError:
            pass
    return msgspec.convert(_usable(fields, form, user_ids, required_too), form)


def _other_names(form: Any) -> Mapping[str, str]:
    """The field that each other name stands for."""
    names: Mapping[str, str] = getattr(form, "other_names", _NO_NAMES)
    return names


_NO_NAMES: Mapping[str, str] = MappingProxyType({})
_UNUSABLE = object()


def _usable(fields: Any, form: Any, user_ids: UserIds, required_too: bool) -> Any:
    """The fields in the spelling of `form`, without optional ones that can't be used."""
    if not isinstance(fields, Mapping):
        return fields
    found = {}
    for field in _fields(form):
        names = (*field.others, field.name)
        values = [fields[name] for name in names if fields.get(name) not in (None, "")]
        usable = (_usable_value(value, field, user_ids, required_too) for value in values)
        first = next((value for value in usable if value is not _UNUSABLE), _UNUSABLE)
        if first is not _UNUSABLE:
            found[field.name] = first
        elif (field.name in fields and field.required) or (values and DECISIVE in field.extras):
            found[field.name] = fields[field.name]  # the error names it
    return found


class Unused(NamedTuple):
    """A value that `read` leaves out: its path below the message, as in JSONPath (`.seats[1]`)."""

    path: str
    field: str
    """The field that it was given for."""
    instead: str = ""
    """The name whose value is used in its place."""


def unused(
    fields: Mapping[str, Any], form: Any, user_ids: UserIds = UUIDS_ONLY, *, required_too: bool = False
) -> Iterator[Unused]:
    """What `read` leaves out of a message that it accepts, and of a part of one that it refuses."""
    for field in _fields(form):
        used = ""
        for name in (*field.others, field.name):
            value = fields.get(name)
            if value in (None, ""):
                continue
            if used:
                yield Unused(f".{name}", field.name, used)
            elif _usable_value(value, field, user_ids, required_too) is not _UNUSABLE:
                used = name
                yield from _unused_within(value, name, field, user_ids, required_too)
            elif not field.required and DECISIVE not in field.extras:
                yield Unused(f".{name}", field.name)


def _unused_within(
    value: Any, name: str, field: _Field, user_ids: UserIds, required_too: bool
) -> Iterator[Unused]:
    """What is left out of a value that is used."""
    if _is_form(field.of) and isinstance(value, Mapping):
        for each in unused(value, field.of, user_ids, required_too=required_too):
            yield each._replace(path=f".{name}{each.path}")
    elif isinstance(value, list) and field.item is not None and not field.takes(value):
        for index, item in enumerate(value):
            if not _usable_items([item], field.item, user_ids):
                yield Unused(f".{name}[{index}]", field.name)


def _usable_value(value: Any, field: _Field, user_ids: UserIds, required_too: bool) -> Any:
    if _is_form(field.of):
        if field.required or isinstance(value, Mapping):
            return _usable(value, field.of, user_ids, required_too)
        return _UNUSABLE
    others = _spellings(value, field, user_ids, required_too or not field.required)
    return next((each for each in chain((value,), others) if field.takes(each)), _UNUSABLE)


def _spellings(value: Any, field: _Field, user_ids: UserIds, loose: bool) -> Iterator[Any]:
    """Other spellings of a value that may be meant. Ids always have them; others where `loose`."""
    if field.of is UUID:
        found = user_ids.read(value) if USER in field.extras else parse_uuid(value)
        if found is not None:
            yield str(found)
    elif field.of is int and isinstance(value, (float, Decimal)) and value == int(value):
        yield int(value)  # to JSON, 7 and 7.0 are one number
    elif not loose:
        return
    elif isinstance(value, str):
        yield from _of_text(value.strip(_BLANKS), field)
    elif isinstance(value, list) and field.item is not None:
        if kept := _usable_items(value, field.item, user_ids):
            yield kept
    elif (text := decimal(value)) is not None:
        yield from (text, [text])
        if field.of is bool and value in (0, 1):
            yield bool(value)


def _usable_items(values: Iterable[Any], item: _Field, user_ids: UserIds) -> list[Any]:
    if item.of is UUID:  # there may be thousands
        return [each for value in values for each in _spellings(value, item, user_ids, loose=False)]
    usable = (_usable_value(value, item, user_ids, required_too=True) for value in values)
    return [each for each in usable if each is not _UNUSABLE]


def _of_text(text: str, field: _Field) -> Iterator[Any]:
    if field.of is float and len(text) <= MAX_NUMBER_CHARS and _NUMBER.fullmatch(text):
        yield float(text)
    elif field.of is bool:
        yield _FLAGS.get(text.lower())
    elif field.of is str:
        yield text
    elif field.of is list and field.item.of is str:
        yield [part for part in map(str.strip, text.split(",")) if part]


@cache
def _fields(form: Any) -> tuple[_Field, ...]:
    return tuple(
        _field(
            each.encode_name,
            each.required,
            each.type,
            tuple(other for other, meant in _other_names(form).items() if meant == each.encode_name),
        )
        for each in msgspec.structs.fields(form)
    )


def _field(name: str, required: bool, annotated: Any, others: tuple[str, ...] = ()) -> _Field:
    check = msgspec.defstruct("Check", [("value", annotated)])
    extras: list[Any] = []
    item = None
    while (origin := get_origin(annotated)) in (Annotated, Union, UnionType, list):
        if origin is Annotated:
            annotated, *metas = get_args(annotated)
            extras += [each.extra for each in metas if isinstance(each, Meta)]
        elif origin is list:
            item, annotated = _field(name, True, get_args(annotated)[0]), list
        else:
            annotated = next(each for each in get_args(annotated) if each is not type(None))
    return _Field(name, required, annotated, tuple(extras), item, others, check)


def _is_form(of: Any) -> bool:
    of = get_origin(of) or of
    return isinstance(of, type) and issubclass(of, Struct)
