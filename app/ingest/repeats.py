"""Completes, on redelivery, what a node that died may not have done after its commit."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

from app.auth.tokens import LEEWAY_SECONDS
from app.domain.effects import TokenBound
from app.domain.errors import Unavailable
from app.domain.notifications import Notification
from app.domain.time import Now
from app.ingest.batch import PreparedEvent
from app.realtime.bus import Bus
from app.store.ports import ProcessedEvents

log = logging.getLogger("hub.pipeline")

# A redelivered event is pushed again if it is this young: the node may have died between commit and push.
# Older ones come from an offset that was reset; users must not get old pushes again.
PUSH_AGAIN_WITHIN_SECONDS = 3600.0


class Repeats:
    """Pushes and logouts of events that are stored already."""

    def __init__(self, processed: ProcessedEvents, bus: Bus, now: Now) -> None:
        self._processed = processed
        self._bus = bus
        self._now = now

    async def possibly_unpushed(self, redelivered: Collection[PreparedEvent]) -> list[Notification]:
        """The notifications of repeated events that a dead node may not have pushed."""
        receivers = {
            item.event.event_id: item.effects.notification.receivers
            for item in redelivered
            if item.effects.notification
        }
        if not receivers:
            return []
        try:
            ages = await self._processed.processed(receivers)
            young = {
                event_id: receivers[event_id] for event_id, age in ages if age < PUSH_AGAIN_WITHIN_SECONDS
            }
            return await self._processed.find(young)
        except Unavailable as error:
            log.error("redelivered_not_pushed", extra={"events": len(redelivered), "why": str(error)})
            return []

    async def repeat_logouts(self, redelivered: Mapping[str, PreparedEvent]) -> None:
        """End connections of logged-out users that a dead node may have left open. Newer ones stay open."""
        users = {
            event_id: (item.effects.disconnect, item)
            for event_id, item in redelivered.items()
            if item.effects.disconnect
        }
        if not users:
            return
        try:
            for event_id, seconds_ago in await self._processed.processed(users):
                user, item = users[event_id]
                self._bus.disconnect(user, seconds_ago, token_bound(item, self._now() - seconds_ago))
        except Unavailable as error:
            log.error("logouts_not_repeated", extra={"events": len(users), "why": str(error)})


def token_bound(item: PreparedEvent, processed_at: float) -> TokenBound:
    """The tokens that a logout ends: none issued since it was processed (unix seconds)."""
    return item.effects.logged_out.at_most(processed_at + LEEWAY_SECONDS)
