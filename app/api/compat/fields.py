"""Fields of old bodies that can't be left out in silence: they say to whom, when or what else is sent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from sanic import Request

from app.api.bodies import bad_body
from app.domain.events import BOM
from app.domain.fields import described

_DECISIVE = frozenset(
    (
        *("cc", "bcc", "replyto", "attachments", "attachment", "files"),
        *("sendat", "scheduledat", "scheduledfor", "schedule", "deliverat", "sendlater", "delay"),
    )
)


def refuse_decisive(request: Request, known: Iterable[str]) -> None:
    """Raise `Problem` if a body, or a body of its list, has such a field with a value.

    The services that are replaced ignored fields that they didn't know, so their clients' other fields are
    left out.
    """
    try:
        body = msgspec.json.decode(request.body.removeprefix(BOM))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return  # whoever reads it next says what is wrong with it
    fields = frozenset(known)
    for each in _bodies(body):
        for name, value in each.items():
            if value and name not in fields and "".join(filter(str.isalnum, name.lower())) in _DECISIVE:
                raise bad_body(described(name, fields))


def _bodies(body: Any) -> Iterable[dict[str, Any]]:
    listed = body if isinstance(body, list) else []
    if isinstance(body, dict):
        yield body
        listed = next(
            (body[name] for name in ("notifications", "emails") if isinstance(body.get(name), list)), []
        )
    yield from (each for each in listed if isinstance(each, dict))
