"""Checks an event before it is published: whether the hub would dead-letter it, and what it would leave out.

`Preparer` decides, as it does for events that arrive. This module only asks it, and puts its answer in words.
What depends on other events or services can't be known here: a group that doesn't exist or is empty, an
`event_id` that was used for another event.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from app.domain import exact_json
from app.domain.effects import Effects
from app.domain.errors import InvalidEvent
from app.domain.events import BOM, MESSAGE, decode, usable_event_id
from app.domain.notifications import Group
from app.ingest.batch import SourceMessage
from app.ingest.prepare import Preparer
from app.sources.broker import EventInput
from app.sources.check_fields import (
    accepted,
    left_out,
    left_out_details,
    located,
    nearest_field,
    nearest_type,
    replaced,
    unknown,
    without_index,
)
from app.sources.http import refused_over_http
from app.sources.problems import UNUSED, EventProblem
from handlers.base import BaseMessageHandler
from handlers.messages import MessageRequested
from handlers.otp import OtpRequested

MAX_PROBLEMS_COUNT = 50
UNKNOWN = "unknown_field"
"""The code of a field that a request must not have: without it (null is as good) the next problem shows."""
_FIELD = re.compile(r"`([^`]+)`")
_PATHS = {
    "no_event_type": "$.event_type",
    "unknown_event_type": "$.event_type",
    "wrong_way": "$.event_type",
    "wrong_action": "$.action",
    "no_receivers": "$.receivers",
    "bad_event_id": "$.event_id",
}
"""Where the problem is, by the reason of the dead letter; others say it, or are about the whole message."""
_FILLERS: Sequence[Any] = (
    *("text", "user@example.com", "01/01/2030", "0000", 1, "00000000-0000-4000-8000-000000000000"),
    *([], ["text"], ["00000000-0000-4000-8000-000000000000"], {}, True, "+84912345678"),
    *("2030-01-01T00:00:00Z", "en", "inapp", "messages", "plain"),
)
"""One of these can be used in nearly every field: with it in place of a bad value, the next problem shows."""
_USER = UUID("00000000-0000-4000-8000-000000000000")


class _EveryGroup(Mapping[UUID, Group | None]):
    """Stands in for the user service: every group exists, has a name, a member and a head chef."""

    _group = Group("group", (_USER,), (_USER,))

    def __getitem__(self, group_id: UUID) -> Group:
        return self._group

    def __contains__(self, group_id: object) -> bool:
        return True

    def __iter__(self) -> Iterator[UUID]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def remembered(self, group_id: UUID) -> Group:
        return self._group


_GROUPS = _EveryGroup()


class EventChecker:
    """Says what the hub would do with events that are read from an input."""

    def __init__(self, handlers: Mapping[str, BaseMessageHandler[Any]], locale: str) -> None:
        """`handlers` are those of the hub: `handlers.registry.handlers`."""
        self._handlers = handlers
        self._preparer = Preparer(handlers, _GROUPS, locale)
        message = handlers.get(MESSAGE)
        self._image_hosts = message.image_hosts if isinstance(message, MessageRequested) else ()

    def refusal(self, value: bytes, place: EventInput) -> InvalidEvent | None:
        """Why the hub would dead-letter the message; None if it would process it."""
        return self._prepare(value, place)[0]

    def check(self, value: bytes, place: EventInput) -> list[EventProblem]:
        """All that is wrong with the message: what it would be dead-lettered for, then what isn't used."""
        problems: list[EventProblem] = []
        error, effects = self._prepare(value, place)
        body = _object(value)
        while error is not None:
            problem = self._problem(error, body, place)
            problems.append(problem)
            if body is None or len(problems) == MAX_PROBLEMS_COUNT:
                break
            found = self._without(problem, problems, body, place)
            if found is None:
                break
            body, error = found
        original = _object(value)
        if original is None:
            return problems
        named = {problem.path for problem in problems}
        unused = [each for each in self._unused(original, place, effects) if each.path not in named]
        return [*problems, *unused]

    def input_of(self, value: bytes, inputs: Sequence[EventInput]) -> EventInput:
        """The input that a message of this form is for: the first, if none is for its form alone."""
        body = _object(value) or {}
        if "event_type" in body or "type" in body:
            return inputs[0]
        for place in inputs:
            handler = self._handlers.get(place.event_type or "")
            if isinstance(handler, OtpRequested) and body.get("action") == handler.action:
                return place
            if place.default_type is not None and not place.default_type.fields.isdisjoint(body):
                return place
        return inputs[0]

    def _prepare(self, value: bytes, place: EventInput) -> tuple[InvalidEvent | None, Effects | None]:
        if place.source == HTTP.source and (error := refused_over_http(value, self._image_hosts)) is not None:
            return error, None
        message = SourceMessage(
            place.source, "check", value, None, place.event_type, default_type=place.default_type
        )
        batch = self._preparer.prepare([message], _GROUPS)
        if batch.rejected:
            return batch.rejected[0].error, None
        return None, batch.ready[0].effects

    def _without(
        self, problem: EventProblem, problems: Sequence[EventProblem], body: dict[str, Any], place: EventInput
    ) -> tuple[dict[str, Any], InvalidEvent | None] | None:
        """The message without this problem, and why it would still be dead-lettered; None if no other
        problem can be found.
        """
        known = {without_index(each.path) for each in problems}
        for filler in (None,) if problem.code == UNKNOWN else _FILLERS:
            changed = replaced(body, without_index(problem.path), filler)
            if changed is None:
                return None
            error, _ = self._prepare(exact_json.encode(changed), place)
            if error is None or without_index(self._problem(error, changed, place).path) not in known:
                return changed, error
        return None

    def _problem(self, error: InvalidEvent, body: dict[str, Any] | None, place: EventInput) -> EventProblem:
        handler = self._handler(body, place)
        text = str(error)
        if handler is not None:
            text = text.removeprefix(f"{handler.event_type}: ")
        path = _PATHS.get(error.reason, "")
        if not path and body is not None:
            path, text = located(text, handler)
        if error.reason == UNKNOWN and (field := _FIELD.search(text)):
            path = f"$.{field[1]}"
        path = path or "$"
        if error.reason == "unknown_event_type" and body is not None:
            nearest = nearest_type(str(body.get("event_type")), self._handlers)
            known = ", ".join(sorted(self._handlers))
            given = str(body.get("event_type"))[:100]
            return EventProblem(
                error.reason, path, (f"{given!r} is not an event type"), f"one of {known}", nearest
            )
        nearest = nearest_field(body, path, handler)
        return EventProblem(error.reason, path, text, accepted(handler, path), nearest)

    def _handler(self, body: Mapping[str, Any] | None, place: EventInput) -> BaseMessageHandler[Any] | None:
        if body is None:
            return None
        try:
            event = decode(exact_json.encode(body), "check", place.event_type, place.default_type)
        except InvalidEvent:
            return None
        return self._handlers.get(event.event_type)

    def _unused(
        self, body: dict[str, Any], place: EventInput, effects: Effects | None
    ) -> Iterator[EventProblem]:
        if body.get("event_id") not in (None, "") and usable_event_id(body["event_id"]) is None:
            text = "is invalid; the deduplication key is then the transport's"
            yield EventProblem(UNUSED, "$.event_id", text, "1 to 200 characters, or a number")
        handler = self._handler(body, place)
        if handler is None:
            return
        if isinstance(handler, MessageRequested):
            yield from left_out_details(handler, body)
        else:
            yield from left_out(handler, body)
        yield from unknown(handler, body, effects)
        if effects is not None and effects.reaches_nobody is not None:
            yield EventProblem(UNUSED, "$", f"nobody is notified: {effects.reaches_nobody}")


HTTP = EventInput("http", "request", "http", "")
"""POST /notifications."""


def is_json(value: bytes) -> bool:
    """Whether the whole text is JSON, as events are decoded."""
    try:
        exact_json.decode(value.removeprefix(BOM))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _object(value: bytes) -> dict[str, Any] | None:
    """The message, if it is a JSON object."""
    try:
        body = exact_json.decode(value.removeprefix(BOM))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return body if isinstance(body, dict) else None
