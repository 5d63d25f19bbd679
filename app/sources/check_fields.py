"""The fields that the problems of an event are about: where, what is accepted, which name is near."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import msgspec
from msgspec import inspect

from app.domain.channels import INAPP
from app.domain.effects import Effects
from app.domain.errors import InvalidEvent
from app.domain.identity import TRANSPORT_FIELDS
from app.sources.problems import UNUSED, EventProblem
from handlers.base import AUDIENCE, BaseMessageHandler, GroupEventHandler
from handlers.details import GIVEN_FIELDS, faults
from handlers.forms import EVENT_FIELDS, MEANINGS, in_words, other_names, parts
from handlers.groups import LEAVER_FIELDS, GroupUserLeft
from handlers.messages import MessageRequested
from handlers.tolerant import unused

_PATH = re.compile(r" - at `([^`]+)`$")
_MISSING = re.compile(r"Object missing required field `([^`]+)`")
_NAMED = re.compile(r"^(\w+): |`(\w+)`")
_LEFT_OUT = "is invalid; the hub ignores it"


def located(text: str, handler: BaseMessageHandler[Any] | None) -> tuple[str, str]:
    """The place that an error names, and its text without it."""
    path = "$"
    if found := _PATH.search(text):
        path, text = found[1].replace("[...]", ""), text[: found.start()]
    if missing := _MISSING.match(text):
        return f"{path}.{missing[1]}", "required, but missing"
    if path.endswith(".event_type"):
        return path, text
    names = {*_names(handler), AUDIENCE}
    prefix = path.removeprefix("$").removeprefix(".")
    prefix = f"{prefix}." if prefix else ""
    for found in _NAMED.finditer(text):
        name = found[1] or found[2]
        if f"{prefix}{name}" in names:
            return f"$.{prefix}{name}", text
    return path, text


def _names(handler: BaseMessageHandler[Any] | None) -> dict[str, Any]:
    """The fields of an event type, `data.` before those in `data`, each with its `msgspec.inspect` type."""
    if handler is None:
        return {}
    return {
        f"{part.prefix}{name}": inspect.type_info(field.type)
        for part in parts(handler)
        for field in msgspec.structs.fields(part.form)
        for name in (field.name, *(o for o, meant in other_names(part.form).items() if meant == field.name))
    }


def without_index(path: str) -> str:
    """The path of the list, of that of an item."""
    return re.sub(r"\[\d+\].*$", "", path)


def accepted(handler: BaseMessageHandler[Any] | None, path: str) -> str:
    """What a field accepts, as text for a problem; empty if the field is unknown."""
    name = without_index(path).removeprefix("$.")
    if name == AUDIENCE:
        return "an object with `topic` or `everyone`, and perhaps `filter`"
    info = _names(handler).get(name)
    if info is None:
        return "text" if path == "$.event_type" else ""
    last = name.rpartition(".")[2]
    meaning = None if last == "data" else MEANINGS.get(last)
    return in_words(info) + (f" ({meaning})" if meaning else "")


def nearest_field(body: dict[str, Any] | None, path: str, handler: BaseMessageHandler[Any] | None) -> str:
    """A field of the event, beside the missing one, whose name is nearly the same and that is no other's."""
    place, _, name = path.rpartition(".")
    there = _at(body, place)
    if not isinstance(there, dict) or name in there or not name:
        return ""
    prefix = f"{place.removeprefix('$').removeprefix('.')}." if place != "$" else ""
    names = _names(handler)
    return _nearest(name, [each for each in there if f"{prefix}{each}" not in names])


def _nearest(name: str, among: Sequence[str]) -> str:
    by_letters = {_letters(each): each for each in reversed(among)}
    found = get_close_matches(_letters(name), by_letters, 1, 0.7)
    return by_letters[found[0]] if found else ""


def nearest_type(name: str, among: Mapping[str, object]) -> str:
    """The known event type that is spelt most like `name`; empty if none is similar."""
    return _nearest(name[:100], [*among])


def _letters(name: str) -> str:
    """userName, user-name and USER_NAME are nearly user_name."""
    return re.sub(r"[^0-9a-z]", "", name.lower())


def _at(body: Any, path: str) -> Any:
    for name in path.split(".")[1:]:
        body = body.get(name) if isinstance(body, dict) else None
    return body


def replaced(body: dict[str, Any], path: str, value: Any) -> dict[str, Any] | None:
    """A copy with this value at the place; None if there is no such place."""
    name, _, rest = path.removeprefix("$.").partition(".")
    if not path.startswith("$.") or not name:
        return None
    if not rest:
        return {**body, name: value}
    inner = body.get(name)
    changed = replaced(inner if isinstance(inner, dict) else {}, f"$.{rest}", value)
    return None if changed is None else {**body, name: changed}


def left_out(handler: BaseMessageHandler[Any], body: Mapping[str, Any]) -> Iterator[EventProblem]:
    """Values that can't be used."""
    seen = set()
    for part in parts(handler):
        if part.prefix:
            continue  # the fields of `data` are found in the envelope's
        for each in unused(
            body, part.form, handler.user_ids, required_too=handler.required_in_other_spellings
        ):
            if each.path in seen:
                continue
            seen.add(each.path)
            text = (
                f"is ignored, because `{each.instead}` is present"
                if each.instead
                else "is invalid; the hub ignores it"
            )
            yield EventProblem(
                UNUSED, f"${each.path}", text, "" if each.instead else accepted(handler, f"${each.path}")
            )
    yield from _emptied(handler, body, seen)


def left_out_details(handler: MessageRequested, body: Mapping[str, Any]) -> Iterator[EventProblem]:
    """Details of a message that can't be used: the rest of it is."""
    if body.get("type") == INAPP:
        found: Iterable[tuple[str, str]] = faults(body, handler.image_hosts)
    else:
        given = sorted(name for name in GIVEN_FIELDS & body.keys() if body[name] is not None)
        found = ((name, "not used, as the message isn't an in-app one") for name in given)
    for name, why in found:
        yield EventProblem(UNUSED, f"$.{name}", why, accepted(handler, f"$.{name}"))


def _emptied(
    handler: BaseMessageHandler[Any], body: Mapping[str, Any], seen: set[str]
) -> Iterator[EventProblem]:
    """Optional values that have the right type, and that the form itself drops."""
    try:
        parsed = handler.parse(body)
    except InvalidEvent:
        return
    flat = [getattr(parsed, name) for name in ("envelope", "data") if hasattr(parsed, name)]
    for form in flat:
        for name in getattr(form, "__struct_fields__", ()):
            given = body.get(name) not in (None, "")
            if given and getattr(form, name) is None and f".{name}" not in seen:
                yield EventProblem(
                    UNUSED, f"$.{name}", "is invalid; the hub ignores it", accepted(handler, f"$.{name}")
                )


def unknown(
    handler: BaseMessageHandler[Any], body: Mapping[str, Any], effects: Effects | None
) -> Iterator[EventProblem]:
    """Fields that the event type doesn't have."""
    names = {*_names(handler), *EVENT_FIELDS}
    if handler.addressed_by and isinstance(body.get(AUDIENCE), dict):
        names.add(AUDIENCE)
    if isinstance(handler, GroupUserLeft):
        names |= {f"{place}{name}" for place in ("", "data.") for group in LEAVER_FIELDS for name in group}
    places = [("", body)]
    if isinstance(handler, GroupEventHandler) and isinstance(body.get("data"), dict):
        places.append(("data.", body["data"]))
    kept = effects is None or effects.notification is not None
    stays = "kept in raw_data only" if kept and not isinstance(handler, MessageRequested) else "not used"
    for prefix, fields in places:
        known = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
        known = [name for name in known if "." not in name]
        for name in fields:
            if f"{prefix}{name}" not in names and not (prefix == "" and _is_transport_field(name)):
                missing = [each for each in known if each not in fields]
                text = f"unknown field of {handler.event_type}; it is {stays}"
                yield EventProblem(UNUSED, f"$.{prefix}{name}", text, nearest=_nearest(name, sorted(missing)))


def _is_transport_field(name: str) -> bool:
    return name in TRANSPORT_FIELDS or name.startswith("_")
