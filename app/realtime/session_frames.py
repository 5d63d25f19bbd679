"""The frames of the session protocol `hub.v1` (docs/reference/protocol.md), from clients and from the hub."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from app.domain.amendments import Place
from app.domain.notifications import NotificationId
from app.realtime.protocol import text_frame

Seq = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Shown = Annotated[msgspec.Raw, Meta(extra_json_schema={"$ref": "#/components/schemas/Notification"})]
"""A notification as it is after the change."""


class Resume(Struct, tag="resume"):
    """Send what came after the `seq` `after`."""

    after: Seq


class Read(Struct, tag="read"):
    """Mark a notification as read."""

    id: NotificationId


class Seen(Struct, tag="seen"):
    """The user sees a list of all up to this `seq`, or of all there are."""

    up_to: Seq | None = None


class Language(Struct, tag="language"):
    """From now on texts are in this language; if it is none of the hub's, each as it is stored."""

    lang: Annotated[str, Meta(max_length=100)]


class Token(Struct, tag="token"):
    """Replace the token before it expires."""

    jwt: str


class Ping(Struct, tag="ping"):
    """Checks that the hub is alive. Browsers can neither send nor see a ping of RFC 6455."""


class Connected(Struct, tag="connected"):
    """The first frame: this node, and the counters of the inbox.

    It is sent again (resync) when the node was cut off from the others and may have missed changes of other
    devices.
    """

    node: str
    last_seq: int
    unread: int
    rev: int
    unseen: int
    seen_up_to: int


class Resumed(Struct, tag="resumed", omit_defaults=True):
    """All after `from`, up to and with `to`, were sent if `complete`; else read them over REST."""

    after: int = msgspec.field(name="from")
    until: int = msgspec.field(name="to")
    complete: bool
    read_on: str | None = None


class _OfOne(Struct):
    id: NotificationId
    unread: int
    last_seq: int
    rev: int
    unseen: int
    seen_up_to: int


class _Shown(_OfOne):
    data: Shown


class _All(Struct):
    """All of the inbox up to and with this `seq`."""

    up_to: int
    unread: int
    last_seq: int
    rev: int
    unseen: int
    seen_up_to: int


class NotificationRead(_OfOne, tag="notification_read"):
    """A notification was marked as read, on this or another device."""


class NotificationDeleted(_OfOne, tag="notification_deleted"):
    """A notification was deleted, or has expired."""


class NotificationUnread(_Shown, tag="notification_unread"):
    """A notification was marked as unread."""


class NotificationArchived(_Shown, tag="notification_archived"):
    """It is in the archive, no more in the inbox, nor snoozed."""


class NotificationUnarchived(_Shown, tag="notification_unarchived"):
    """It is in the inbox again, with the `seq` that it had."""


class NotificationSnoozed(_Shown, tag="notification_snoozed"):
    """It is neither in the inbox nor in the archive; at `snoozed_until` it comes as a new one."""


class NotificationUpdated(_Shown, tag="notification_updated"):
    """Its publisher put something newer in its place; `place` is where it is."""

    place: Place


class NotificationRetracted(_OfOne, tag="notification_retracted"):
    """Its publisher withdrew it: it is in no inbox and no archive any more."""


class AllRead(_All, tag="all_read"):
    """All were marked as read."""


class AllArchived(_All, tag="all_archived"):
    """All of the inbox; what is snoozed stays so."""


class AllDeleted(_All, tag="all_deleted"):
    """The archive stays as it is."""


class AllSeen(_All, tag="all_seen"):
    """A list was opened that shows them."""


class TokenRenewed(Struct, tag="token_renewed"):
    """The new token is in force."""

    expires_at: int


class Pong(Struct, tag="pong"):
    """The answer to a ping."""


class Failed(Struct, tag="error"):
    """A message of the client could not be processed; the connection stays open."""

    code: str
    detail: str


ClientMessage = Resume | Read | Seen | Language | Token | Ping
Moved = NotificationUnread | NotificationArchived | NotificationUnarchived | NotificationSnoozed
OfAll = AllRead | AllSeen | AllArchived | AllDeleted
ServerMessage = (
    Connected
    | Resumed
    | NotificationRead
    | NotificationDeleted
    | Moved
    | NotificationUpdated
    | NotificationRetracted
    | OfAll
    | TokenRenewed
    | Pong
    | Failed
)

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[ClientMessage] = msgspec.json.Decoder(ClientMessage)


def session_frame(message: ServerMessage) -> bytes:
    """Encode a message of the hub."""
    return text_frame(_encoder.encode(message))


def decode_message(text: bytes) -> ClientMessage:
    """Decode a client's message. Raises `msgspec.MsgspecError`, `UnicodeDecodeError` or `RecursionError`."""
    return _decoder.decode(text)
