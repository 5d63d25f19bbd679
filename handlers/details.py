"""What publishers say that a notification carries beside its texts: checked over HTTP, filtered elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec

from app.domain.details import (
    DETAIL_FIELDS,
    ICONS,
    MAX_ACTIONS_COUNT,
    MAX_ACTOR_CHARS,
    SEVERITIES,
    Action,
    Actor,
    Details,
)
from app.domain.errors import InvalidEvent
from app.domain.fields import unknown_field
from app.domain.user_ids import decimal
from app.texts.hygiene import has_unwanted, is_visible, single_line
from app.texts.links import is_link, is_path
from app.texts.shortening import shortened

EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)
"""The times that a message may name."""
GIVEN_FIELDS = DETAIL_FIELDS - {"category"}
"""The fields of a message that are details. Its category is one of every message's fields."""
_NESTED = {"actions": Action, "actor": Actor}
_ACTION_ID = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def check(fields: Mapping[str, Any], image_hosts: Collection[str]) -> None:
    """Refuse details that can't be used. `image_hosts` are the hosts that images may come from.

    Raises:
        InvalidEvent: `bad_field` or `unknown_field`, naming the field and what it takes.
    """
    for name in sorted(GIVEN_FIELDS & fields.keys()):
        for item in _objects(fields[name]):
            if name in _NESTED and (why := unknown_field(item, _NESTED[name].__struct_fields__)):
                raise InvalidEvent("unknown_field", f"{name}: {why}")
    for _, why in faults(fields, image_hosts):
        raise InvalidEvent("bad_field", f"message: {why}")


def faults(fields: Mapping[str, Any], image_hosts: Collection[str]) -> Iterator[tuple[str, str]]:
    """Each detail that can't be used as it is, and why."""
    for name in sorted(GIVEN_FIELDS & fields.keys()):
        if fields[name] is not None and isinstance(why := _read(name, fields[name], image_hosts), str):
            yield name, why


def usable(fields: Mapping[str, Any], image_hosts: Collection[str]) -> dict[str, Any]:
    """The details among these fields, without what can't be used: of a list the items, of an actor the
    avatar.
    """
    found: dict[str, Any] = {}
    for name in GIVEN_FIELDS & fields.keys():
        for value in _attempts(name, fields[name], image_hosts):
            read = _read(name, value, image_hosts)
            if not isinstance(read, str):
                found[name] = read.value
                break
    return found


class _Value(msgspec.Struct):
    value: Any


def _read(name: str, value: Any, image_hosts: Collection[str]) -> _Value | str:
    """The value in its type, or what is wrong with it."""
    try:
        details = msgspec.convert({name: value}, Details)
    except msgspec.ValidationError as error:
        if name == "severity":
            return f"`severity` must be one of {', '.join(SEVERITIES)}"
        return f"`{name}`: {error}"
    typed = getattr(details, name)
    if name == "expires_at":
        if not EARLIEST < typed < LATEST:
            return f"`expires_at` must be between {EARLIEST.date()} and {LATEST.date()}"
        typed = typed.astimezone(UTC)
    fault = _FAULTS[name](name, typed, image_hosts) if name in _FAULTS else None
    return _Value(typed) if fault is None else fault


def _attempts(name: str, value: Any, image_hosts: Collection[str]) -> Iterator[Any]:
    """The value, and what remains of it without the parts that can't be used."""
    yield value
    if name == "severity" and isinstance(value, str):
        yield value.strip().lower()
    elif name == "thread_key" and (number := decimal(value)) is not None:
        yield number
    elif name == "actions" and isinstance(value, Sequence) and not isinstance(value, str):
        good = [each for each in value if not isinstance(_read(name, [each], image_hosts), str)]
        if good:
            yield good[:MAX_ACTIONS_COUNT]
    elif name == "actor" and isinstance(value, Mapping):
        yield {key: each for key, each in value.items() if key != "avatar"}


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    for each in value if isinstance(value, list) else (value,):
        if isinstance(each, Mapping):
            yield each


def _url(name: str, url: str, _: Collection[str]) -> str | None:
    if is_link(url) or is_path(url):
        return None
    return f"`{name}` must be an http(s) URL without user information, or a path that begins with one `/`"


def _image(name: str, url: str, hosts: Collection[str]) -> str | None:
    if is_path(url):
        return None
    if not is_link(url) or urlsplit(url).scheme != "https":
        return f"`{name}` must be an https URL, or a path that begins with one `/`"
    if hosts and not _is_of(url, hosts):
        return f"`{name}` is of a host that IMAGE_HOSTS doesn't name"
    return None


def _icon(name: str, icon: str, hosts: Collection[str]) -> str | None:
    if icon in ICONS:
        return None
    if _image(name, icon, ()) is not None:
        return f"`{name}` must be one of {', '.join(ICONS)}, or the https URL of an image"
    if is_path(icon) or _is_of(icon, hosts):
        return None
    return f"`{name}` is an image of a host that IMAGE_HOSTS doesn't name"


def _is_of(url: str, hosts: Collection[str]) -> bool:
    """Whether the host is one of these; `*.example.com` stands for all below it."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    return any(
        host.endswith(each[1:].lower()) if each.startswith("*.") else host == each.lower() for each in hosts
    )


def _actions(name: str, actions: Sequence[Action], hosts: Collection[str]) -> str | None:
    for action in actions:
        if not _ACTION_ID.issuperset(action.id):
            return f"the `id` of one of `{name}` must be letters, digits, `.`, `_` and `-`"
        if fault := _shown(f"label` of one of `{name}", action.label, hosts):
            return fault
        if action.url is not None and (fault := _url(f"url` of one of `{name}", action.url, hosts)):
            return fault
    ids = [action.id for action in actions]
    return None if len(set(ids)) == len(ids) else f"the ids of `{name}` must differ"


def _actor(name: str, actor: Actor, hosts: Collection[str]) -> str | None:
    if fault := _shown(f"name` of `{name}", actor.name, hosts):
        return fault
    return None if actor.avatar is None else _image(f"avatar` of `{name}", actor.avatar, hosts)


def _shown(name: str, text: str, _: Collection[str]) -> str | None:
    """A text in one line that a reader sees, and that turns nothing around it."""
    one_line = len(text.splitlines()) == 1 and "\t" not in text
    if one_line and is_visible(text) and not has_unwanted(text):
        return None
    return f"`{name}` must be one line of visible text without control characters"


_FAULTS: Mapping[str, Callable[[str, Any, Collection[str]], str | None]] = {
    "url": _url,
    "image": _image,
    "icon": _icon,
    "actions": _actions,
    "actor": _actor,
    "thread_key": _shown,
}


def actor_named(name: object) -> Actor | None:
    """The person that an event names, if a reader can see the name."""
    if not isinstance(name, str):
        return None
    line = single_line(name)
    return Actor(shortened(line, MAX_ACTOR_CHARS)) if is_visible(line) else None


def usable_url(url: object) -> str | None:
    """The URL, if a notification may lead there."""
    url = url.strip() if isinstance(url, str) else None
    return url if is_link(url) or is_path(url) else None
