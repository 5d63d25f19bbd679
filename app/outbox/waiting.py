"""What waited is decided again when it is due: digests, and steps of an escalation.

The states are drawn in docs/how-to/digests.md and docs/how-to/escalation.md.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec

from app.domain.channels import SMS
from app.domain.deliveries import Status
from app.domain.digests import DIGEST_TEMPLATE
from app.domain.errors import HubError
from app.domain.notifications import MAX_TITLE_CHARS
from app.domain.planning import MAX_PUSH_CHARS, URGENT, People
from app.domain.preferences import NOBODY_KNOWN, Evaluator, Verdict
from app.domain.time import Now, moment
from app.domain.waiting import absolute
from app.outbox.channel import (
    Channel,
    Confirm,
    DeliveryCancelled,
    NotYet,
    Outdated,
    Outgoing,
    Receipt,
    wanted,
)
from app.runtime.metrics import DIGEST_ITEMS, DIGESTS, WAITS_CANCELLED
from app.store.waiting import HeldDelivery, WaitingStore
from app.texts.rendering import lines_of_text
from app.texts.shortening import shortened

log = logging.getLogger("hub.outbox")

_STILL = {"unread": ("unseen", "seen"), "unseen": ("unseen",)}
"""In which states of its notification a step is sent."""
EMPTY = "nothing is left of the digest: all was read, deleted or archived"


class WaitingChannel:
    """A channel that is asked for what waited only if it is still wanted. All else it takes as it is."""

    def __init__(
        self,
        channel: Channel,
        waiting: WaitingStore,
        people: People,
        evaluator: Evaluator,
        now: Now,
        base_url: str | None = None,
    ) -> None:
        """`people` and `evaluator` decide again: preferences and quiet hours may have changed. `base_url` is
        where paths lead, and the mail of a digest.
        """
        self._channel = channel
        self._waiting = waiting
        self._people = people
        self._evaluator = evaluator
        self._now = now
        self._base_url = base_url

    @property
    def name(self) -> str:
        """That of the channel."""
        return self._channel.name

    @property
    def simulated(self) -> bool:
        """See `Channel.simulated`."""
        return self._channel.simulated

    @property
    def at_once(self) -> int:
        """See `Channel.at_once`."""
        return self._channel.at_once

    async def send(self, outgoing: Outgoing, confirm: Confirm = wanted) -> Receipt:
        """As `Channel.send`. Raises `DeliveryCancelled` too if nothing is left to send, and `NotYet`."""
        if not outgoing.digest and outgoing.only_if is None:
            return await self._channel.send(outgoing, confirm)
        try:
            await self._decide(outgoing)
            if not outgoing.digest:
                return await self._channel.send(outgoing, partial(self._confirm, outgoing, confirm))
            return await self._send_digest(outgoing, confirm)
        except DeliveryCancelled:
            WAITS_CANCELLED.labels(self.name, "digest" if outgoing.digest else "step").inc()
            raise

    async def close(self) -> None:
        """See `Channel.close`."""
        await self._channel.close()

    async def _send_digest(self, outgoing: Outgoing, confirm: Confirm) -> Receipt:
        """Compose it, and again if something leaves it while the provider lets it wait."""
        while True:
            data, items = await self._content(outgoing)
            digest = msgspec.structs.replace(outgoing, data=data)
            try:
                receipt = await self._channel.send(digest, partial(self._confirm_digest, outgoing, confirm))
            except Outdated:
                continue
            DIGESTS.labels(self.name).inc()
            DIGEST_ITEMS.labels(self.name).inc(items)
            return receipt

    async def _confirm_digest(self, outgoing: Outgoing, confirm: Confirm) -> None:
        await confirm()
        left = await self._waiting.leave(outgoing.id)
        if left:
            WAITS_CANCELLED.labels(self.name, "item").inc(left)
            raise Outdated

    async def _confirm(self, outgoing: Outgoing, confirm: Confirm) -> None:
        """Look again right before a step is sent: its provider may have let it wait."""
        await confirm()
        _check(outgoing.only_if, await self._waiting.state_of_notification(outgoing.id))

    async def _decide(self, outgoing: Outgoing) -> None:
        """Raises `DeliveryCancelled` or `NotYet` if it isn't to be sent now."""
        _check(outgoing.only_if, outgoing.notification)
        if outgoing.user_id is None or outgoing.category is None:
            return
        known = await self._people.people([outgoing.user_id])
        now = moment(self._now())
        person = known.get(outgoing.user_id, NOBODY_KNOWN)
        urgent = bool(outgoing.data.get(URGENT))
        decision = self._evaluator.decide(person, outgoing.category, self.name, now, urgent=urgent)
        if decision.verdict is Verdict.SUPPRESS:
            raise DeliveryCancelled(Status.SUPPRESSED, decision.reason)
        if decision.until is not None:
            raise NotYet(decision.reason, (decision.until - now) / timedelta(seconds=1))

    async def _content(self, outgoing: Outgoing) -> tuple[Mapping[str, Any], int]:
        """What the digest's message shows, and how many are in it."""
        content = await self._waiting.content(outgoing.id)
        if content.left:
            WAITS_CANCELLED.labels(self.name, "item").inc(content.left)
        if not content.newest:
            raise DeliveryCancelled(Status.SUPPRESSED, EMPTY)
        data: dict[str, Any] = {
            "entries": [entry_of(each, self._base_url) for each in content.newest],
            "count": content.total,
            "url": self._base_url,
            "group_name": outgoing.data.get("group_name"),
        }
        return {name: value for name, value in data.items() if value is not None}, content.total


def entry_of(held: HeldDelivery, base_url: str | None = None) -> dict[str, Any]:
    """What a digest shows of a message: its title, its text, and where it leads."""
    entries = held.data.get("entries")
    if held.template == DIGEST_TEMPLATE and isinstance(entries, list):  # a step of an escalation
        entry: dict[str, Any] = entries[0]
        return entry
    try:
        title, *text = lines_of_text(SMS, held.template, held.locale, held.data).splitlines() or [""]
    except HubError as error:  # the others are sent all the same
        log.warning("not_in_digest", extra={"template": held.template, "why": str(error)})
        title, text = held.template, []
    if text and text[0] == title:  # a message without a title has its first line as one
        del text[0]
    entry = {
        "title": shortened(title, MAX_TITLE_CHARS),
        "text": shortened("\n".join(text), MAX_PUSH_CHARS),
    }
    url = None if held.url is None else absolute(held.url, base_url)
    return entry if url is None else entry | {"url": url}


def _check(only_if: str | None, notification: str | None) -> None:
    """Raises `DeliveryCancelled` for a step of a notification that isn't as it has to be any more."""
    if only_if is not None and notification not in _STILL[only_if]:
        raise _cancelled(notification)


def _cancelled(notification: str | None) -> DeliveryCancelled:
    match notification:
        case "read" | "seen":
            return DeliveryCancelled(Status.SUPPRESSED, f"the notification was {notification}")
        case "expired":
            return DeliveryCancelled(Status.EXPIRED, "it expired")
    return DeliveryCancelled(Status.SUPPRESSED, "the notification was deleted or archived")
