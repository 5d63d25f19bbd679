"""What the documents promise, checked as strictly as the clients do it that were written by them."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

Check = Callable[[Any], bool]


def integer(value: Any) -> bool:
    """A number that JavaScript and others keep exactly; never a bool or a text."""
    return type(value) is int and 0 < value < 2**53


def boolean(value: Any) -> bool:
    return type(value) is bool


def text(value: Any) -> bool:
    return type(value) is str


def filled(value: Any) -> bool:
    return type(value) is str and bool(value.strip())


def an_object(value: Any) -> bool:
    return type(value) is dict


def a_uuid(value: Any) -> bool:
    """In its canonical form: clients compare ids as texts."""
    return type(value) is str and str(uuid.UUID(value)) == value


def moment(value: Any) -> bool:
    """ISO 8601 in UTC with Z."""
    if type(value) is not str or not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", value):
        return False
    return datetime.fromisoformat(value).utcoffset() is not None


def or_null(check: Check) -> Check:
    return lambda value: value is None or check(value)


NOTIFICATION: Mapping[str, Check] = {
    "id": integer,
    "group_id": or_null(a_uuid),
    "group_name": or_null(text),
    "receiver": a_uuid,
    "created_at": moment,
    "template_code": filled,
    "raw_data": an_object,
    "is_read": boolean,
    "title": filled,
    "content": text,
}
"""The documented fields of a notification. Clients read others, such as `seq`, over."""


def conforms(body: Any, fields: Mapping[str, Check], *, others: bool = True) -> dict[str, Any]:
    """Return the object, which has each of the fields in its form, and others only if these are allowed."""
    assert type(body) is dict, body
    assert not fields.keys() - body.keys(), f"missing {fields.keys() - body.keys()} in {body}"
    wrong = {name: body[name] for name, check in fields.items() if not check(body[name])}
    assert not wrong, f"{wrong} in {body}"
    assert others or body.keys() == fields.keys(), f"not documented: {body.keys() - fields.keys()}"
    return body


def notification(body: Any) -> dict[str, Any]:
    return conforms(body, NOTIFICATION)


def frame(message: Any) -> dict[str, Any]:
    """The notification in a frame, which has the two documented fields and no other."""
    assert type(message) is str, "a text frame"
    body = conforms(
        json.loads(message),
        {"event_type": filled, "data": lambda data: bool(notification(data))},
        others=False,
    )
    data: dict[str, Any] = body["data"]
    assert body["event_type"].upper() == data["template_code"], body
    return body
