"""What one node sends another, packed into one message (MessagePack)."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

import msgspec


class Push(NamedTuple):
    """A frame on its way to a user's connections."""

    receiver: UUID
    seq: int
    """The notification's; 0 for a frame of the session protocol."""
    frame: bytes
    again: bool = False
    """Whether the event came before: whoever handled it then may have died before telling anyone."""


class Publication(msgspec.Struct, array_like=True):
    """Fields are added at the end only, and those of `Push` never change: nodes of two versions run side by
    side during an update.
    """

    pushes: list[Push] = []
    """In rising `seq` for each receiver."""
    logged_out: list[tuple[UUID, float]] = []
    """Users, and how many seconds ago they logged out."""
    reconcile: bool = False
    """The sender couldn't publish for a while: what came meanwhile stands in Postgres."""


_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")
_decoder = msgspec.msgpack.Decoder(Publication)


def pack(publication: Publication) -> bytes:
    return _encoder.encode(publication)


def unpack(data: bytes) -> Publication:
    """Raises `msgspec.MsgspecError` for what no node sends."""
    return _decoder.decode(data)
