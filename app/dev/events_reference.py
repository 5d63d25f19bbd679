"""`python -m app.dev.events_reference` writes docs/reference/events.md from the classes in `handlers/`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from handlers.base import AUDIENCE, Audience, BaseMessageHandler, GroupEventHandler
from handlers.flat import PersonalEventHandler
from handlers.forms import EVENT_FIELDS, in_words, meaning, other_names, parts
from handlers.registry import ALIASES, HANDLERS

PATH = Path(__file__).parents[2] / "docs" / "reference" / "events.md"
_HEAD = """# Events: what is required, and what is used if it is there

<!-- Written by `python -m app.dev.events_reference` from the classes in `handlers/`. -->

Every event also takes `event_type` and `event_id`. `event_id` is a string of 1 to 200 characters, or a
number; without one that can be used, the deduplication key is that of the transport. Fields that are not
listed are kept in `raw_data`. The same as JSON Schema: the component `Event` of the OpenAPI document, and
[asyncapi.yml](../asyncapi.yml) for brokers. [Check events](../how-to/check-events.md) before you publish.

- **A required field** that is missing, `null`, empty or of the wrong form: the event is dead-lettered with
  the reason `bad_field`, and the error names the field. The required fields of flat events (bookings,
  payments, stock) may be numbers where text is expected; those of group events are taken as documented, and
  their texts may be empty.
- **An optional field** that is missing, `null`, empty, too long or of the wrong form is left out: texts and
  mails don't mention it. `null` equals absent. Whatever it holds, the rest of the event is used.
- **Other spellings** of optional fields are read: a number in a string (`"25.50"`, `"1e3"`, but not
  `"25,50"`, `"NaN"`, `"25 USD"`), a number where text is expected, one text or a text with commas for a
  list, `"true"`, `"yes"` or `1` for a flag. Items of a list that can't be used are left out. In flat events
  blanks around a text are dropped (line breaks are not), and `Card Declined` is the code `card_declined`.
- **`receivers`** decides who is notified, so it is never ignored: entries that can't be used are left out,
  but if none is left the event is dead-lettered. Nobody else is notified instead.
- **Ids of users** are UUIDs in any spelling (upper case, without hyphens, in braces, `urn:uuid:`), or
  [foreign ids](../how-to/foreign-user-ids.md).
- **A `message`** is a request to the hub, over HTTP as a rule. Its optional fields may be `null`. A wrong
  one is refused: left out, it could change what is sent and when.
"""
_NOTES: Mapping[str, str] = {
    "group_user_left": "The member who left is read from `leaver_id`, `user_id` or `requester_id`, in `data` "
    "or beside it.",
    "low_stock": "On its own channel and stream `event_type` may be missing. Without `receivers` it goes to "
    "`LOW_STOCK_RECEIVERS`; if that is not set, it is recorded as a suppressed delivery, with a warning in "
    "the log.",
    "message": "`event_type` may be missing.",
    "notification_updated": "Puts something newer in the place of notifications that the same publisher "
    "sent: of the event `original_event_id`, or the newest of `thread_key` of `user_id` or `receivers`. What "
    "isn't given stays; `actions: []` removes the buttons. [How to](../how-to/inbox.md).",
    "notification_retracted": "Takes back notifications that the same publisher sent: of the event "
    "`original_event_id`, or all of `thread_key` of `user_id` or `receivers`. [How to](../how-to/inbox.md).",
}


def text() -> str:
    """The page as it stands in docs/reference/events.md."""
    return _HEAD + "".join(f"\n{_section(event_type, each)}" for event_type, each in HANDLERS.items())


def _section(event_type: str, handler: BaseMessageHandler[Any]) -> str:
    aliases = [alias for alias, meant in ALIASES.items() if meant == event_type]
    lines = [f"## `{event_type}`", ""]
    lines += [f"Also as {', '.join(f'`{alias}`' for alias in aliases)}.", ""] if aliases else []
    lines += [_recipients(handler), ""] if _recipients(handler) else []
    lines += [_NOTES[event_type], ""] if event_type in _NOTES else []
    lines += ["| field | | form | what it is |", "|---|---|---|---|"]
    return "\n".join([*lines, *_rows(handler)]) + "\n"


def _recipients(handler: BaseMessageHandler[Any]) -> str:
    if isinstance(handler, PersonalEventHandler):
        return "For `user_email` by mail, and the inbox of `user_id`."
    if not isinstance(handler, GroupEventHandler):
        return ""
    if handler.audience is Audience.RECEIVERS:
        return "For `receivers`, which are required unless `receiver_is_head_chef` is true."
    return f"For `receivers`, else {handler.audience.value}."


def _rows(handler: BaseMessageHandler[Any]) -> Iterator[str]:
    for part in parts(handler):
        yield from _fields(part.form, part.prefix)
    if handler.addressed_by:
        instead = " or ".join(f"`{name}`" for name in handler.addressed_by)
        meant = f"an [audience](../how-to/broadcasts.md) in place of {instead}"
        yield f"| `{AUDIENCE}` | optional | object | {meant} |"


def _fields(form: Any, prefix: str = "") -> Iterator[str]:
    """The required ones first."""
    found = [each for each in msgspec.structs.fields(form) if each.name not in EVENT_FIELDS]
    others = other_names(form)
    for field in sorted(found, key=lambda each: not each.required):
        names = [
            f"`{prefix}{field.name}`",
            *(f"`{name}`" for name, meant in others.items() if meant == field.name),
        ]
        required = "required" if field.required else "optional"
        shape = in_words(inspect.type_info(field.type))
        yield f"| {' or '.join(names)} | {required} | {shape} | {meaning(field.name)} |"


if __name__ == "__main__":
    PATH.write_text(text(), "utf-8")
    print(f"Written: {PATH}", file=sys.stderr)
