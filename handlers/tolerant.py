"""Reading messages that aren't in the documented form: what can't be used never costs the rest.

A message in the documented form is converted at once. Only one that isn't is looked at field by field: a
value is read in another spelling where it has one (a number in a text, a text in a number), and an optional
field that still can't be used is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from types import UnionType
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

S = TypeVar("S", bound=Struct)


class _Kind(NamedTuple):
    """What a field's type accepts, as far as other spellings depend on it."""

    of: Any
    """The type without `Annotated` and None."""
    item: Any
    """Of a list: the annotated type of its items."""
    extras: tuple[Any, ...]
    """Those of its `Meta`: see `USER` and `DECISIVE`."""


def read(
    fields: Mapping[str, Any], form: type[S], user_ids: UserIds = UUIDS_ONLY, *, required_too: bool = False
) -> S:
    """The fields of a message that `form` has.

    The class attribute `other_names` of `form` lists for a field the names that it is also met under, the one
    that counts first. With `required_too` required fields are read in other spellings as well.

    Raises `msgspec.ValidationError`, naming the field, if a required one is missing or can't be used.
    """
    if _other_names(form).keys().isdisjoint(fields):
        try:
            return msgspec.convert(fields, form)
        except msgspec.ValidationError:
            pass
    return msgspec.convert(_usable(fields, form, user_ids, required_too), form)


def _other_names(form: Any) -> Mapping[str, str]:
    """The field that each other name stands for."""
    names: Mapping[str, str] = getattr(form, "other_names", {})
    return names


def _usable(fields: Any, form: Any, user_ids: UserIds, required_too: bool) -> Any:
    """The fields in the spelling of `form`, without optional ones that can't be used."""
    if not isinstance(fields, Mapping):
        return fields
    found = {}
    for field in msgspec.structs.fields(form):
        name, kind = field.encode_name, _kind(field.type)
        others = [other for other, meant in _other_names(form).items() if meant == name]
        values = [fields[each] for each in (*others, name) if fields.get(each) not in (None, "")]
        for value in values:
            usable = _usable_value(value, field, kind, user_ids, required_too)
            if usable is not _UNUSABLE:
                found[name] = usable
                break
        else:
            if (name in fields and field.required) or (values and DECISIVE in kind.extras):
                found[name] = fields[name]  # the error names it
    return found


_UNUSABLE = object()


def _usable_value(
    value: Any, field: msgspec.structs.FieldInfo, kind: _Kind, user_ids: UserIds, required_too: bool
) -> Any:
    if issubclass(get_origin(kind.of) or kind.of, Struct):
        return _usable(value, kind.of, user_ids, required_too)
    others = _spellings(value, kind, user_ids, required_too or not field.required)
    return next((each for each in (value, *others) if _converts(each, field.type)), _UNUSABLE)


def _converts(value: Any, to: Any) -> bool:
    try:
        msgspec.convert(value, to)
    except msgspec.ValidationError:
        return False
    return True


def _spellings(value: Any, kind: _Kind, user_ids: UserIds, loose: bool) -> Iterator[Any]:
    """Other spellings of a value that may be meant. Ids always have them; others where `loose`."""
    if kind.of is UUID:
        found = user_ids.read(value) if USER in kind.extras else parse_uuid(value)
        if found is not None:
            yield str(found)
    elif not loose:
        return
    elif isinstance(value, str):
        yield from _of_text(value.strip(), kind)
    elif isinstance(value, list):
        if usable := _usable_items(value, kind, user_ids):
            yield usable
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from (decimal(value), [decimal(value)])
        if kind.of is bool and value in (0, 1):
            yield bool(value)


def _of_text(text: str, kind: _Kind) -> Iterator[Any]:
    if kind.of is float and len(text) <= MAX_NUMBER_CHARS and _NUMBER.fullmatch(text):
        yield float(text)
    elif kind.of is bool:
        yield _FLAGS.get(text.lower())
    elif kind.of is list and _kind(kind.item).of is str:
        yield [part for part in map(str.strip, text.split(",")) if part]


def _usable_items(values: Iterable[Any], kind: _Kind, user_ids: UserIds) -> list[Any]:
    item = _kind(kind.item)
    spellings = ((value, *_spellings(value, item, user_ids, loose=True)) for value in values)
    found = (
        next((each for each in each_way if _converts(each, kind.item)), _UNUSABLE) for each_way in spellings
    )
    return [each for each in found if each is not _UNUSABLE]


def _kind(annotated: Any) -> _Kind:
    extras: list[Any] = []
    while True:
        origin = get_origin(annotated)
        if origin is Annotated:
            annotated, *metas = get_args(annotated)
            extras += [each.extra for each in metas if isinstance(each, Meta)]
        elif origin in (Union, UnionType):
            annotated = next(each for each in get_args(annotated) if each is not type(None))
        elif origin is list:
            return _Kind(list, get_args(annotated)[0], tuple(extras))
        else:
            return _Kind(annotated, None, tuple(extras))
