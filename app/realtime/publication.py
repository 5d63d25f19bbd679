"""Publications: what one node sends another, one message (MessagePack) each."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

import msgspec


class Push(NamedTuple):
    """A frame for a user's connections."""

    receiver: UUID
    seq: int
    """The notification's; 0 for a frame of the session protocol."""
    frame: bytes
    redelivered: bool = False
    """Whether the event was processed before, by a node that may have died before it pushed anything."""


class Publication(msgspec.Struct, array_like=True):
    """Fields are added at the end only, and those of `Push` never change: nodes of two versions run side by
    side during an update.
    """

    pushes: list[Push] = []
    """In rising `seq` for each receiver."""
    logged_out: list[tuple[UUID, float]] = []
    """Users, and how many seconds ago they logged out."""
    reconcile: bool = False
    """The sender could not publish for a while: what was committed meanwhile is in Postgres only."""
    bounds: list[tuple[UUID, float, list[str]]] = []
    """Of users in `logged_out`, which tokens that ends: those issued until then (unix seconds), those ids."""
    details: list[tuple[bytes, list[int]]] = []
    """What the notifications of `pushes` carry beside the fields in their frames: JSON without braces, with
    the places of those that carry the same.
    """


_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")
_decoder = msgspec.msgpack.Decoder(Publication)


def pack(publication: Publication) -> bytes:
    return _encoder.encode(publication)


def unpack(data: bytes) -> Publication:
    """Decode a publication. Raises `msgspec.MsgspecError` if it is malformed."""
    return _decoder.decode(data)
