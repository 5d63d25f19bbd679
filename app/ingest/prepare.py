"""Turns messages into prepared events, or into the reason for a rejection. No I/O."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any, NoReturn, Protocol
from uuid import UUID

from app.domain import exact_json
from app.domain.errors import InvalidEvent
from app.domain.events import MAX_EVENT_BYTES, Event
from app.domain.identity import EventIdentity
from app.domain.notifications import Group
from app.domain.planning import PlanRequest
from app.domain.time import Now, moment
from app.ingest.batch import Batch, ParkedEvent, PreparedEvent, Rejected, SourceMessage
from app.ingest.identify import identify
from app.runtime.metrics import EVENTS, REJECTED
from app.store.records import ScheduledEvent
from handlers.audiences import audience_of
from handlers.base import AUDIENCE, BaseMessageHandler

log = logging.getLogger("hub.pipeline")

NOBODY = UUID(int=0)
"""Stands for each person in the audience of an event that is prepared for one."""


class RememberedGroups(Protocol):
    """Returns cached groups without I/O."""

    def remembered(self, group_id: UUID) -> Group | None:
        """The group, if its answer is cached. Never waits."""


class Preparer:
    """Decodes and handles messages.

    It decides which events become dead letters; `run.py check` uses it too.
    """

    def __init__(
        self,
        handlers: Mapping[str, BaseMessageHandler[Any]],
        groups: RememberedGroups,
        locale: str,
        now: Now = time.time,
    ) -> None:
        """`locale` is the language that notifications are stored in."""
        self._handlers = handlers
        self._groups = groups
        self._locale = locale
        self._now = now

    def prepare(
        self, messages: Iterable[SourceMessage], groups: Mapping[UUID, Group | None] = MappingProxyType({})
    ) -> Batch:
        """Decode and handle all messages that need no answer, or only a cached one from `groups`. For events
        whose answer is optional, `groups` may return None.

        Never raises for a bad message.
        """
        batch = Batch([], [])
        for message in messages:
            event: Event | None = None
            try:
                event, identity = identify(message)
                item = self._item(message, event, identity, groups)
                if isinstance(item, PreparedEvent):
                    if item.effects.reaches_nobody is not None:
                        _warn(item)
                    if self.is_to_come(item.effects.send_at):
                        scheduled(item)  # rejected now, because it would be rejected when it is due
                batch.events.append(item)
            except InvalidEvent as error:
                batch.rejected.append(reject_message(message, error))
            except Exception:
                known = {} if event is None else {"event_id": event.event_id}
                log.exception("handler_failed", extra={"dedup_key": message.dedup_key, **known})
                why = InvalidEvent("handler_failed", "the handler failed; the hub's log has the traceback")
                batch.rejected.append(reject_message(message, why))
        return batch

    def _item(
        self,
        message: SourceMessage,
        event: Event,
        identity: EventIdentity,
        groups: Mapping[UUID, Group | None],
    ) -> PreparedEvent | ParkedEvent:
        """The event, prepared unless the user service has to be asked. Raises `InvalidEvent`."""
        handler = self._handlers.get(event.event_type) or self._unknown(event)
        if handler.only_from is not None and message.source != handler.only_from:
            raise InvalidEvent("wrong_way", f"{event.event_type} is accepted from {handler.only_from} only")
        if isinstance(given := event.body.get(AUDIENCE), dict):
            return self._for_audience(message, event, identity, handler, given)
        parsed = handler.parse(event.body)
        group_id = handler.group_needed(parsed)
        found, group = self._group(handler, parsed, group_id, groups) if group_id else (True, None)
        if group_id and not found:
            return _parked(message, event, group_id, handler, parsed, identity)
        request = self._request(handler, parsed, event.body, group)
        needed = None if group_id is None or handler.can_do_without_group(parsed) else group_id
        return PreparedEvent(message, event, request, needed, identity)

    def _for_audience(
        self,
        message: SourceMessage,
        event: Event,
        identity: EventIdentity,
        handler: BaseMessageHandler[Any],
        given: Mapping[str, Any],
    ) -> PreparedEvent:
        """The event as it is for one person: it is sent to each of its audience later."""
        body = handler.for_one(event.body, NOBODY)
        try:
            audience = audience_of(given)
        except ValueError as error:
            raise InvalidEvent("bad_field", f"{handler.event_type}: {error}") from None
        parsed = handler.parse(body)
        if handler.group_needed(parsed) is not None and not handler.can_do_without_group(parsed):
            raise InvalidEvent(
                "bad_field", f"{handler.event_type}: `data.group_name` is required with an `audience`"
            )
        request = self._request(handler, parsed, body, None)
        return PreparedEvent(message, event, request, None, identity, audience=audience)

    def _request(
        self, handler: BaseMessageHandler[Any], parsed: Any, body: Mapping[str, Any], group: Group | None
    ) -> PlanRequest:
        effects = handler.handle(parsed, body, group, self._locale)
        category = handler.category if effects.category is None else effects.category
        urgent = handler.urgent if effects.urgent is None else effects.urgent
        in_locale = partial(handler.handle, parsed, body, group)
        return PlanRequest(effects, category, urgent, in_locale, handler.offers)

    def _group(
        self,
        handler: BaseMessageHandler[Any],
        parsed: Any,
        group_id: UUID,
        answers: Mapping[UUID, Group | None],
    ) -> tuple[bool, Group | None]:
        """Whether everything that the handler needs is known, and the group."""
        if group_id in answers:
            return True, answers[group_id]
        group = None if handler.needs_fresh_group(parsed) else self._groups.remembered(group_id)
        return group is not None, group

    def _unknown(self, event: Event) -> NoReturn:
        known = ", ".join(sorted(self._handlers))
        raise InvalidEvent("unknown_event_type", f"{event.event_type[:100]!r} is not one of {known}")

    def is_to_come(self, send_at: datetime | None) -> bool:
        """Whether an event with this `send_at` is to be processed later."""
        return send_at is not None and send_at > moment(self._now())


def _parked(
    message: SourceMessage,
    event: Event,
    group_id: UUID,
    handler: BaseMessageHandler[Any],
    parsed: Any,
    identity: EventIdentity,
) -> ParkedEvent:
    fresh, optional = handler.needs_fresh_group(parsed), handler.can_do_without_group(parsed)
    return ParkedEvent(message, event, group_id, fresh, optional, identity)


def _warn(item: PreparedEvent) -> None:
    why = item.effects.reaches_nobody
    log.warning("event_reaches_nobody", extra={"event_id": item.event.event_id, "why": why})


def scheduled(item: PreparedEvent) -> ScheduledEvent:
    """The event without its `send_at`, so that it is processed at once when due, even if clocks differ.

    Raises `InvalidEvent` (too_large) if it would be rejected then: numbers may be longer after re-encoding.
    """
    assert item.effects.send_at is not None
    body = {name: value for name, value in item.event.body.items() if name != "send_at"}
    body["event_id"] = item.event.event_id
    encoded = exact_json.encode(body)
    if len(encoded) > MAX_EVENT_BYTES:
        raise InvalidEvent(
            "too_large",
            (f"{len(encoded)} bytes with its id; the limit of a scheduled event is {MAX_EVENT_BYTES}"),
        )
    return ScheduledEvent(item.effects.send_at, encoded, item.message.sender)


def reject_message(message: SourceMessage, error: InvalidEvent) -> Rejected:
    """Count a message that can never be handled."""
    EVENTS.labels(message.source, "rejected").inc()
    REJECTED.labels(message.source, error.reason).inc()
    return Rejected(message, error)
