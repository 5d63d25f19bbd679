"""The texts of the session protocol `hub.v1` (docs/protocol.md): what clients say, and what they are told."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from app.realtime.protocol import text_frame

Seq = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Resume(Struct, tag="resume"):
    after: Seq


class Read(Struct, tag="read"):
    id: UUID


class Token(Struct, tag="token"):
    jwt: str


class Ping(Struct, tag="ping"):
    """Are you there? Browsers can't send a ping of RFC 6455, nor see one."""


class Connected(Struct, tag="connected"):
    """The first frame: this node, and how the inbox stands.

    It comes again when the node had lost touch with the others and may have missed what other devices did.
    """

    node: str
    last_seq: int
    unread: int
    rev: int


class Resumed(Struct, tag="resumed", omit_defaults=True):
    """The missed ones from `from` (not with it) to `to` were sent, if `complete`; else read on over REST."""

    after: int = msgspec.field(name="from")
    until: int = msgspec.field(name="to")
    complete: bool
    read_on: str | None = None


class NotificationRead(Struct, tag="notification_read"):
    id: UUID
    unread: int
    last_seq: int
    rev: int


class NotificationDeleted(Struct, tag="notification_deleted"):
    id: UUID
    unread: int
    last_seq: int
    rev: int


class AllRead(Struct, tag="all_read"):
    up_to: int
    unread: int
    last_seq: int
    rev: int


class TokenRenewed(Struct, tag="token_renewed"):
    expires_at: int


class Pong(Struct, tag="pong"):
    """The answer to a ping."""


class Failed(Struct, tag="error"):
    """What the client said can't be done; the connection stays."""

    code: str
    detail: str


Said = Resume | Read | Token | Ping
Told = Connected | Resumed | NotificationRead | NotificationDeleted | AllRead | TokenRenewed | Pong | Failed

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Said] = msgspec.json.Decoder(Said)


def session_frame(told: Told) -> bytes:
    """A frame of the session protocol."""
    return text_frame(_encoder.encode(told))


def heard(text: bytes) -> Said:
    """What a client said. Raises `msgspec.MsgspecError`, `UnicodeDecodeError` or `RecursionError`."""
    return _decoder.decode(text)
