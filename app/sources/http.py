"""The HTTP source: events that a request carries, one or many; the answer waits for the commit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from app.errors import InvalidEvent, Unavailable
from app.pipeline import Message
from app.sources.intake import Intake
from handlers.accounts import AccountLoggedOut

SENT_BY_OTHERS = (AccountLoggedOut.event_type,)
"""Whoever may send notifications may not log people out."""


class Accepted(NamedTuple):
    """What became of one event: stored under its id, or refused."""

    event_id: str
    refused: InvalidEvent | None


class _Head(msgspec.Struct):
    event_id: str | None = None
    event_type: str | None = None


_head = msgspec.json.Decoder(_Head)


class HttpSource:
    """Takes events in requests. They share batches with all others that come while one is written."""

    def __init__(self, intake: Intake, within: float) -> None:
        """`within` is how many seconds a request waits for Postgres, or for a group to be known."""
        self._intake = intake
        self._within = within

    async def accept(self, events: Sequence[bytes], request_id: str) -> list[Accepted]:
        """Store the events, JSON each; what became of them, in their order.

        An event without an `event_id` gets one of `request_id`, so the same request again changes nothing.
        Raises `Unavailable` when some aren't stored in time: they may be later, and the request may be
        sent again.
        """
        heads = [_read(event) for event in events]
        ids = [
            head.event_id if head.event_id is not None else _id(request_id, number, len(events))
            for number, head in enumerate(heads)
        ]
        allowed = [
            Message("http", event_id, event, None)
            for event, head, event_id in zip(events, heads, ids, strict=True)
            if head.event_type not in SENT_BY_OTHERS
        ]
        outcomes = iter(self._intake.submit(allowed))
        accepted = []
        try:
            async with asyncio.timeout(self._within):
                for head, event_id in zip(heads, ids, strict=True):
                    refused = _not_by_http(head) or await next(outcomes)
                    accepted.append(Accepted(event_id, refused))
        except TimeoutError:
            raise Unavailable("hub", "the events weren't stored in time") from None
        return accepted


def _not_by_http(head: _Head) -> InvalidEvent | None:
    if head.event_type not in SENT_BY_OTHERS:
        return None
    return InvalidEvent("not_by_http", f"{head.event_type} isn't taken over HTTP")


def _read(event: bytes) -> _Head:
    """What the event says of itself, as far as it can be read; the pipeline says what is wrong with it."""
    try:
        return _head.decode(event)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Head()


def _id(request_id: str, number: int, count: int) -> str:
    """Of characters that stand in an address as they are."""
    return request_id if count == 1 else f"{request_id}.{number}"
