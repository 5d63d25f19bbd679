"""The fields of each event type in words: where they are, what they hold, what they are for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import Struct, inspect

from app.domain.errors import ConfigurationError
from handlers.base import BaseMessageHandler, GroupEventHandler
from handlers.flat import FlatEventHandler

MEANINGS: Mapping[str, str] = {
    "access_token_id": "the `jti` of the token that was logged out",
    "action": "the action of the Kafka topic",
    "actions": "up to two buttons: `id`, `label`, `url`; without `url` the page handles it",
    "actor": "who did it: `name`, `avatar`",
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
    "expires_at": "RFC 3339 with an offset: when it vanishes from the inbox",
    "group_id": "the group",
    "group_name": "if missing, the user service is asked",
    "html": "the HTML of a mail",
    "icon": "a name, or the https URL of an image of a host in IMAGE_HOSTS",
    "image": "the https URL of an image, or a path of the page",
    "locale": "the language of the mail: vi, en or ru",
    "lunch": "dishes; may be empty",
    "message": "the text",
    "movie_title": "the movie",
    "new_head_chef_username": "the new head chef",
    "original_event_id": "the `event_id` of the event whose notifications change",
    "otp_code": "the code: 4 to 64 letters, digits and hyphens",
    "payment_method": "a code such as `credit_card`, or any text",
    "plan_id": "the plan",
    "product_name": "named in subject and title",
    "reason": "a code such as `card_declined`, or any text",
    "receiver_is_head_chef": "without `receivers`: only the head chef is notified",
    "receivers": "who is notified",
    "reply_to": "mail address that answers go to, instead of `MAIL_REPLY_TO`",
    "requester_username": "who did it",
    "retry_url": "an absolute http(s) URL; the mail has a button for it",
    "seats": "1 to 100 seats",
    "send_at": "RFC 3339 with an offset; then it is sent at that time",
    "severity": "how grave it is; info if it isn't said",
    "showtime": "shown as it is; an ISO 8601 timestamp or unix seconds in the reader's format",
    "storage_name": "where the food is",
    "template_code": "a template instead of `message`",
    "thread_key": "what it is about: the same in all that belong together",
    "threshold": "the stock at which it is low",
    "timestamp": "when it happened",
    "title": "the title; the subject of a mail",
    "to": "the address, or in-app the user",
    "total_amount": "of money",
    "transaction_id": "of the payment; of a refund, its own",
    "type": "the channel",
    "unit_name": "the food",
    "unread": "whether it is unread again",
    "urgent": "whether it is sent in quiet hours too",
    "url": "where it leads: an http(s) URL, or a path of the page that begins with one `/`",
    "user_email": "the address that it is mailed to",
    "user_id": "the user: the inbox too, and their preferences",
}
EVENT_FIELDS = frozenset(("event_id", "event_type"))
"""The fields of every event."""


def meaning(name: str) -> str:
    """What a field is. Raises `ConfigurationError` if nobody has described it."""
    if name not in MEANINGS:
        raise ConfigurationError(f"Describe the field {name!r} in MEANINGS in handlers/forms.py.")
    return MEANINGS[name]


class FormPart(NamedTuple):
    """A place in a message, and the form of the fields that are there."""

    prefix: str
    """Empty, or `data.`"""
    form: type[Struct]


def parts(handler: BaseMessageHandler[Any]) -> Sequence[FormPart]:
    """The forms of a message of this type."""
    if isinstance(handler, GroupEventHandler):
        return FormPart("", handler.message_type), FormPart("data.", handler.data_type)
    if isinstance(handler, FlatEventHandler):
        return FormPart("", handler.envelope_type), FormPart("", handler.data_type)
    return (FormPart("", handler.message_type),)


def other_names(form: Any) -> Mapping[str, str]:
    """The field that each other name stands for."""
    found: Mapping[str, str] = getattr(form, "other_names", {})
    return found


def in_words(info: Any) -> str:
    """What a field of this type (`msgspec.inspect`) holds."""
    match info:
        case inspect.Metadata():
            return in_words(info.type)
        case inspect.UnionType():
            shapes = [in_words(each) for each in info.types if not isinstance(each, inspect.NoneType)]
            return " or ".join(dict.fromkeys(shapes))
        case inspect.StrType():
            longest = f", at most {info.max_length} characters" if info.max_length else ""
            return f"text{longest}"
        case inspect.FloatType():
            return "number from 0" if info.ge == 0 else "number"
        case inspect.IntType():
            return "integer"
        case inspect.ListType() | inspect.VarTupleType():
            return f"list of at most {info.max_length:,}: {in_words(info.item_type)}"
        case inspect.LiteralType():
            return f"one of {', '.join(map(str, info.values))}"
        case inspect.DateTimeType():
            return "timestamp"
        case inspect.StructType() | inspect.DictType():
            return "object"
    return {inspect.UUIDType: "UUID", inspect.BoolType: "flag", inspect.AnyType: "any"}[type(info)]
