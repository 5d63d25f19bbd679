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
    more: dict[str, msgspec.Raw] = {}
    """Fields by name; a node skips those that it doesn't know. `details`: a list of `CarriedDetails`."""

    @property
    def details(self) -> list[CarriedDetails]:
        """What the notifications of `pushes` carry beside the fields in their frames."""
        packed = self.more.get(DETAILS)
        return [] if packed is None else _details_decoder.decode(packed)


class CarriedDetails(NamedTuple):
    """What some notifications carry beside the documented fields."""

    fields: bytes
    """JSON without braces."""
    published: bool
    """Whether their publisher set any of it, so that also clients that don't ask for it see it."""
    places: list[int]
    """Which of the pushes carry it."""


DETAILS = "details"


_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")
_decoder = msgspec.msgpack.Decoder(Publication)
_details_decoder = msgspec.msgpack.Decoder(list[CarriedDetails])


def with_details(pushes: list[Push], details: list[CarriedDetails]) -> Publication:
    """A publication of these pushes."""
    return Publication(pushes, more={DETAILS: msgspec.Raw(_encoder.encode(details))} if details else {})


def pack(publication: Publication) -> bytes:
    """A publication as bytes for another node (MessagePack)."""
    return _encoder.encode(publication)


def unpack(data: bytes) -> Publication:
    """Decode a publication. Raises `msgspec.MsgspecError` if it is malformed."""
    return _decoder.decode(data)
