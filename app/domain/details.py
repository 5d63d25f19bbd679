"""What a notification carries beside its texts: where it leads, how grave it is, who did it.

Clients of `hub.v1` and of REST get these fields; a plain WebSocket gets the documented ones only (038).
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

Severity = Literal["info", "success", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "success", "warning", "critical")
ICONS = (
    *("alert", "bell", "box", "calendar", "card", "check", "clock", "file", "food", "gift", "info", "lock"),
    *("message", "star", "ticket", "user", "users"),
)
"""The names of icons that the bell draws itself."""
MAX_URL_CHARS = 2000
MAX_ACTIONS_COUNT = 2
MAX_ACTION_ID_CHARS = 50
MAX_LABEL_CHARS = 40
MAX_ACTOR_CHARS = 100
MAX_THREAD_KEY_CHARS = 200

_Url = Annotated[str, Meta(min_length=1, max_length=MAX_URL_CHARS)]
DetailUrl = Annotated[_Url, Meta(description="an http(s) URL, or a path that begins with one `/`")]
Image = Annotated[_Url, Meta(description="an https URL, or a path that begins with one `/`")]
Icon = Annotated[
    _Url, Meta(description=f"an image of a host in IMAGE_HOSTS, as `image`; or one of {', '.join(ICONS)}")
]
ThreadKey = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_THREAD_KEY_CHARS,
        description="what it is about, such as `order-7`: the same in all that belong together",
    ),
]


class Action(Struct, frozen=True, omit_defaults=True):
    """A button of a notification. Without `url` the page that shows it handles it, by `id`."""

    id: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=MAX_ACTION_ID_CHARS,
            description="letters, digits, `.`, `_` and `-`",
            extra_json_schema={"pattern": "^[A-Za-z0-9._-]+$"},
        ),
    ]
    label: Annotated[str, Meta(min_length=1, max_length=MAX_LABEL_CHARS)]
    url: DetailUrl | None = None


class Actor(Struct, frozen=True, omit_defaults=True):
    """Who did what the notification is about."""

    name: Annotated[str, Meta(min_length=1, max_length=MAX_ACTOR_CHARS)]
    avatar: Image | None = None


Actions = Annotated[tuple[Action, ...], Meta(max_length=MAX_ACTIONS_COUNT)]


class Details(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a notification carries beside the documented fields. What is not set is left out."""

    category: Annotated[str, Meta(description="the category of its preferences")] | None = None
    severity: Severity | None = None
    url: DetailUrl | None = None
    actions: Actions = ()
    icon: Icon | None = None
    image: Image | None = None
    actor: Actor | None = None
    thread_key: ThreadKey | None = None
    expires_at: Annotated[datetime, Meta(tz=True, description="when it vanishes")] | None = None

    def expired(self, now: datetime) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and self.expires_at <= now


DETAIL_FIELDS = frozenset(Details.__struct_fields__)
NOTHING = Details()


def over(base: Details, given: Details | None) -> Details:
    """`base` with the fields that `given` sets in place of those it has."""
    if given is None:
        return base
    fields = msgspec.structs.asdict(given)
    return msgspec.structs.replace(
        base, **{name: value for name, value in fields.items() if value not in (None, ())}
    )


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Details)


def to_column(details: Details, sender: str | None = None) -> str | None:
    """Encode them as in `notifications.details`: without those that have separate columns. With a thread
    its `sender` is stored too, as only that one may change what is in it; no client gets it.
    """
    kept = msgspec.structs.replace(details, thread_key=None, expires_at=None)
    if sender is not None and details.thread_key is not None:
        return _encoder.encode({**msgspec.to_builtins(kept), "sender": sender}).decode()
    return None if kept == NOTHING else _encoder.encode(kept).decode()


def from_columns(details: str | None, thread_key: str | None, expires_at: datetime | None) -> Details | None:
    """What a row holds; None if that is nothing. What a later release stored in another form is left out."""
    if details is None and thread_key is None and expires_at is None:
        return None
    try:
        found = NOTHING if details is None else _decoder.decode(details)
    except msgspec.ValidationError:
        found = NOTHING
    return msgspec.structs.replace(found, thread_key=thread_key, expires_at=expires_at)


def fields_json(details: Details) -> bytes:
    """The fields as they stand in a JSON object, without its braces."""
    return _encoder.encode(details)[1:-1]
