"""`python -m app.dev.events_reference` writes docs/reference/events.md from the classes in `handlers/`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from app.domain.errors import ConfigurationError
from handlers.base import Audience, BaseMessageHandler, GroupEventHandler
from handlers.flat import FlatEventHandler, PersonalEventHandler
from handlers.registry import ALIASES, HANDLERS

PATH = Path(__file__).parents[2] / "docs" / "reference" / "events.md"
_HEAD = """# Events: what is required, and what is used if it is there

<!-- Written by `python -m app.dev.events_reference` from the classes in `handlers/`. -->

Every event also takes `event_type` and `event_id`. `event_id` is a string of 1 to 200 characters, or a
number; without one that can be used, the deduplication key is that of the transport. Fields that are not
listed are kept in `raw_data`.

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
MEANINGS: Mapping[str, str] = {
    "access_token_id": "the `jti` of the token that was logged out",
    "action": "the action of the Kafka topic",
    "amount": "of money; of a refund, what was given back",
    "assignee_username": "who is to carry the plan out",
    "attachments": "files of a mail: docs/how-to/sending.md",
    "booking_id": "named in subject and title",
    "breakfast": "dishes; may be empty",
    "category": "the category of its preferences",
    "current_stock": "how much is left",
    "data": "of group events the fields below; of a `message` what fills its template",
    "deadline": "shown as it is",
    "dinner": "dishes; may be empty",
    "email": "the address that the code is mailed to",
    "expiration_date": "dd/mm/yyyy",
    "group_id": "the group",
    "group_name": "if missing, the user service is asked",
    "html": "the HTML of a mail",
    "locale": "the language of the mail: vi, en or ru",
    "lunch": "dishes; may be empty",
    "message": "the text",
    "movie_title": "the movie",
    "new_head_chef_username": "the new head chef",
    "otp_code": "the code: 4 to 64 letters, digits and hyphens",
    "payment_method": "a code such as `credit_card`, or any text",
    "plan_id": "the plan",
    "product_name": "named in subject and title",
    "reason": "a code such as `card_declined`, or any text",
    "receiver_is_head_chef": "without `receivers`: only the head chef is notified",
    "receivers": "who is notified",
    "requester_username": "who did it",
    "retry_url": "an absolute http(s) URL; the mail has a button for it",
    "seats": "1 to 100 seats",
    "send_at": "RFC 3339 with an offset; then it is sent at that time",
    "showtime": "shown as it is; an ISO 8601 timestamp or unix seconds in the reader's format",
    "storage_name": "where the food is",
    "template_code": "a template instead of `message`",
    "threshold": "the stock at which it is low",
    "timestamp": "when it happened",
    "title": "the title; the subject of a mail",
    "to": "the address, or in-app the user",
    "total_amount": "of money",
    "transaction_id": "of the payment; of a refund, its own",
    "type": "the channel",
    "unit_name": "the food",
    "urgent": "whether it is sent in quiet hours too",
    "user_email": "the address that it is mailed to",
    "user_id": "the user: the inbox too, and their preferences",
}
_NOTES: Mapping[str, str] = {
    "group_user_left": "The member who left is read from `leaver_id`, `user_id` or `requester_id`, in `data` "
    "or beside it.",
    "low_stock": "On its own channel and stream `event_type` may be missing. Without `receivers` it goes to "
    "`LOW_STOCK_RECEIVERS`; if that is not set, it is recorded as a suppressed delivery, with a warning in "
    "the log.",
    "message": "`event_type` may be missing.",
}
NO_FIELDS = frozenset(("event_id", "event_type"))


def meaning(name: str) -> str:
    """What a field is. Raises `ConfigurationError` if nobody has described it."""
    if name not in MEANINGS:
        raise ConfigurationError(f"Describe the field {name!r} in MEANINGS in app/dev/events_reference.py.")
    return MEANINGS[name]


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
    if isinstance(handler, GroupEventHandler):
        yield from _fields(handler.message_type)
        yield from _fields(handler.data_type, "data.")
    elif isinstance(handler, FlatEventHandler):
        yield from _fields(handler.envelope_type)
        yield from _fields(handler.data_type)
    else:
        yield from _fields(handler.message_type)


def _fields(form: Any, prefix: str = "") -> Iterator[str]:
    """The required ones first."""
    found = [each for each in msgspec.structs.fields(form) if each.name not in NO_FIELDS]
    others: Mapping[str, str] = getattr(form, "other_names", {})
    for field in sorted(found, key=lambda each: not each.required):
        names = [
            f"`{prefix}{field.name}`",
            *(f"`{name}`" for name, meant in others.items() if meant == field.name),
        ]
        required = "required" if field.required else "optional"
        shape = _form(inspect.type_info(field.type))
        yield f"| {' or '.join(names)} | {required} | {shape} | {meaning(field.name)} |"


def _form(info: Any) -> str:
    match info:
        case inspect.Metadata():
            return _form(info.type)
        case inspect.UnionType():
            shapes = [_form(each) for each in info.types if not isinstance(each, inspect.NoneType)]
            return " or ".join(dict.fromkeys(shapes))
        case inspect.StrType():
            longest = f", at most {info.max_length} characters" if info.max_length else ""
            return f"text{longest}"
        case inspect.FloatType():
            return "number from 0" if info.ge == 0 else "number"
        case inspect.IntType():
            return "integer"
        case inspect.ListType() | inspect.VarTupleType():
            return f"list of at most {info.max_length:,}: {_form(info.item_type)}"
        case inspect.DateTimeType():
            return "timestamp"
        case inspect.StructType() | inspect.DictType():
            return "object"
    return {inspect.UUIDType: "UUID", inspect.BoolType: "flag", inspect.AnyType: "any"}[type(info)]


if __name__ == "__main__":
    PATH.write_text(text(), "utf-8")
    print(f"Written: {PATH}", file=sys.stderr)
