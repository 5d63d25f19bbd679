"""The HTTP source: events that a request carries, one or many; the answer waits for the commit."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import msgspec

from app.domain.channels import INAPP
from app.domain.deliveries import GivenAttachment
from app.domain.errors import InvalidEvent, Unavailable
from app.domain.events import BOM, MESSAGE, usable_event_id
from app.domain.fields import unknown_field
from app.domain.identity import TRANSPORT_FIELDS
from app.ingest.batch import SourceMessage
from app.ingest.batcher import Batcher, Outcome
from handlers.base import AUDIENCE
from handlers.details import GIVEN_FIELDS
from handlers.details import check as check_details
from handlers.messages import MessageRequest

MAX_BACKLOG_EVENTS = 20_000
"""Events that wait to be stored; past that, requests are rejected immediately."""
RESERVED_IDS = frozenset(("test", "bulk", "dry-run", ".", ".."))
"""Ids that an event can't have: its URL would be that of another resource."""


class Accepted(NamedTuple):
    """The outcome of one event: stored under its id, rejected, or unknown in time; then it may be stored
    later.
    """

    event_id: str
    refused: InvalidEvent | None = None
    known: bool = True


class _Head(msgspec.Struct):
    event_id: Any = None


_head = msgspec.json.Decoder(_Head)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NULL = b"null"
_INAPP = msgspec.json.encode(INAPP)
_MESSAGE_FIELDS = frozenset((*MessageRequest.__struct_fields__, AUDIENCE, "event_id", "event_type"))
_ATTACHMENT_FIELDS = frozenset(GivenAttachment.__struct_fields__)


def check_fields(event: bytes, image_hosts: Collection[str] = ()) -> None:
    """Refuse a message with a field that the hub would ignore: its sender gets the answer at once.

    An event's own fields are its publisher's; those that a transport adds change nothing. What isn't JSON is
    reported by the pipeline. Details are those of an in-app message; its images may come from `image_hosts`.

    Raises:
        InvalidEvent: `unknown_field`, naming the field and the nearest known one; `bad_field` for details.
    """
    try:
        fields = _fields.decode(event.removeprefix(BOM))
        if "event_type" in fields and msgspec.json.decode(fields["event_type"]) not in (None, "", MESSAGE):
            return
        attached = (
            msgspec.json.decode(fields.get("attachments", _NULL), type=list[dict[str, Any]] | None) or ()
        )
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return
    given = [name for name, value in fields.items() if bytes(value) != _NULL and not _is_transports(name)]
    in_app = bytes(fields.get("type", _NULL)) == _INAPP
    if why := unknown_field(given, _MESSAGE_FIELDS if in_app else _MESSAGE_FIELDS - GIVEN_FIELDS):
        raise InvalidEvent("unknown_field", f"message: {why}")
    details = {name: msgspec.json.decode(fields[name]) for name in GIVEN_FIELDS & fields.keys()}
    if in_app and details:
        check_details(details, image_hosts)
    for each in attached:
        if why := unknown_field(each, _ATTACHMENT_FIELDS):
            raise InvalidEvent("unknown_field", f"attachments: {why}")


def _is_transports(name: str) -> bool:
    return name in TRANSPORT_FIELDS or name.startswith("_")


class HttpSource:
    """Accepts the events of requests. They share batches with all others that arrive while one is written."""

    def __init__(self, batcher: Batcher, within: float, image_hosts: Collection[str] = ()) -> None:
        """`within` is how many seconds a request waits for Postgres, or for a group to be known;
        `image_hosts` are those that the images of a message may come from.
        """
        self._batcher = batcher
        self._within = within
        self._image_hosts = image_hosts

    def check(self, event: bytes) -> None:
        """`check_fields` with the hosts of this source."""
        check_fields(event, self._image_hosts)

    async def accept(self, events: Sequence[bytes], request_id: str, sender: str) -> list[Accepted]:
        """Store the events, JSON each, of the service `sender`; what became of them, in their order.

        An event without an `event_id` gets one of `request_id`, so the same request again changes nothing.
        Raises `Unavailable`, and takes none of them, while too many wait already. Raises `StoreFailed` if
        none could be stored in time because an operator has to act; they are stored after that.
        """
        if self._batcher.backlog + len(events) > max(MAX_BACKLOG_EVENTS, len(events)):
            raise Unavailable("postgres", "too many events are waiting to be stored")
        ids = [
            given if given is not None else _id(request_id, number, len(events))
            for number, given in enumerate(map(_event_id, events))
        ]
        faults = [
            _fault(event_id, event, self._image_hosts) for event_id, event in zip(ids, events, strict=True)
        ]
        submitted = [each is None for each in faults]
        outcomes = iter(
            self._batcher.submit(
                SourceMessage("http", event_id, event, None, sender=sender)
                for event, event_id, taken in zip(events, ids, submitted, strict=True)
                if taken
            )
        )
        waited_for = [next(outcomes) if taken else None for taken in submitted]
        if any(submitted):
            done, _ = await asyncio.wait(
                [each for each in waited_for if each is not None], timeout=self._within
            )
            if not done and self._batcher.failure is not None:
                raise self._batcher.failure
        return [_accepted(*each) for each in zip(ids, waited_for, faults, strict=True)]


def _fault(event_id: str, event: bytes, image_hosts: Collection[str]) -> InvalidEvent | None:
    """Why an event isn't taken over HTTP, though the pipeline would take it."""
    if event_id in RESERVED_IDS:
        return InvalidEvent("bad_event_id", f"{event_id} is reserved and cannot be an event id")
    try:
        check_fields(event, image_hosts)
    except InvalidEvent as error:
        return error
    return None


def _accepted(event_id: str, outcome: Outcome | None, fault: InvalidEvent | None) -> Accepted:
    if outcome is None:
        return Accepted(event_id, fault)
    if not outcome.done() or outcome.cancelled() or outcome.exception() is not None:
        return Accepted(event_id, known=False)
    return Accepted(event_id, outcome.result())


def refused_over_http(event: bytes, image_hosts: Collection[str] = ()) -> InvalidEvent | None:
    """Why an event isn't taken over HTTP, though the pipeline would take it; None if it is."""
    return _fault(_event_id(event) or "", event, image_hosts)


def _event_id(event: bytes) -> str | None:
    """The event's id, if it can be read; the pipeline reports what is wrong with the event."""
    try:
        return usable_event_id(_head.decode(event.removeprefix(BOM)).event_id)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _id(request_id: str, number: int, count: int) -> str:
    return request_id if count == 1 else f"{request_id}.{number}"
