"""The dry run: the outcomes that an event would have, without storing or sending anything."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from app.domain.channels import INAPP
from app.domain.deliveries import masked
from app.domain.errors import Unavailable
from app.domain.identity import Relation, scoped_id
from app.domain.planning import Plan, PlannedDelivery
from app.domain.preferences import Decision, Verdict
from app.ingest.batch import PreparedEvent, SourceMessage
from app.ingest.identify import conflict
from app.ingest.pages import with_receivers
from app.ingest.pipeline import Pipeline
from app.store.ports import Audiences, ProcessedEvents, Suppressions
from app.store.suppressions import suppressed_because
from app.store.topics import FIRST
from handlers.details import LATEST

SIMULATE = "simulate"
IN_INBOX = "it is on"
"""Why a notification is in the inbox."""
MAX_PEOPLE_SHOWN = 100
"""Of an audience, whose outcomes are listed."""


class Outcome(msgspec.Struct):
    """The outcome on one channel for one receiver, and the reason. Addresses are masked."""

    channel: str
    verdict: str
    """send, wait (until `until`), suppress, or simulate (the channel isn't configured)."""
    reason: str
    user_id: UUID | None = None
    address: str | None = None
    until: Annotated[datetime, Meta(tz=True)] | None = None


class DryRunResult(msgspec.Struct):
    """`already_processed`: an event with this id was processed before, so this one would have no effect. With
    `send_at`, the outcomes are those of the present, not of that time. Of an event for an audience: how many
    `people` are in it, and the outcomes for the first of them.
    """

    event_id: str
    already_processed: bool
    send_at: Annotated[datetime, Meta(tz=True)] | None
    outcomes: list[Outcome]
    people: int | None = None


class DryRun:
    """Uses the pipeline that processes events."""

    def __init__(
        self,
        pipeline: Pipeline,
        store: ProcessedEvents,
        suppressions: Suppressions,
        simulated: Collection[str],
        within: float,
        audiences: Audiences,
    ) -> None:
        """`simulated` are the channels that aren't configured; `within` is the time limit in seconds for
        resolving a group.
        """
        self._pipeline = pipeline
        self._store = store
        self._suppressions = suppressions
        self._simulated = simulated
        self._within = within
        self._audiences = audiences

    async def of(self, event: bytes, event_id: str, sender: str | None = None) -> DryRunResult:
        """Its outcomes, if `sender` sent it. `event_id` is its id where it has none.

        Raises `InvalidEvent` or `Unavailable`.
        """
        batch = self._pipeline.prepare([SourceMessage("dry_run", event_id, event, None, sender=sender)])
        if batch.parked:
            try:
                async with asyncio.timeout(self._within):
                    batch = await self._pipeline.resolve(batch.parked)
            except TimeoutError:
                raise Unavailable("user service", "the group was not resolved in time") from None
        for refused in batch.rejected:
            raise refused.error
        (ready,) = batch.ready
        known, people, shown = await self._is_known(ready), None, ready
        if ready.audience is not None:
            people = await self._audiences.count(ready.audience, LATEST)
            first = await self._audiences.page(ready.audience, LATEST, FIRST, MAX_PEOPLE_SHOWN)
            shown = with_receivers(ready, first.users)
        (plan,) = await self._pipeline.plan([shown])
        plan = await self._without_suppressed(plan, ready.request.category)
        outcomes = list(self._outcomes(plan))
        return DryRunResult(ready.event.event_id, known, ready.effects.send_at, outcomes, people)

    async def _is_known(self, item: PreparedEvent) -> bool:
        """Whether the event was processed before. Raises `InvalidEvent` if another one has its id."""
        names = [item.event.event_id]
        if item.identity.sender is not None:
            names.append(scoped_id(names[0], item.identity.sender))
        found = await self._store.identities(names)
        for name in reversed(names):  # its own id first
            relation = item.identity.relation_to(found[name]) if name in found else Relation.FOREIGN
            if relation is Relation.OTHER:
                raise conflict(item.event.event_id)
            if relation is Relation.SAME:
                return True
        return False

    async def _without_suppressed(self, plan: Plan, category: str) -> Plan:
        """The plan with what the suppression list holds back: a worker asks it when it sends."""
        wanted = [(draft.channel, draft.address or "", category) for draft, *_ in plan.deliveries]
        reasons = await self._suppressions.reasons(wanted)
        deliveries = [
            each
            if why is None or each.decision.verdict is Verdict.SUPPRESS or each.draft.replaces is not None
            else PlannedDelivery(each.draft, Decision(Verdict.SUPPRESS, suppressed_because(why)))
            for each, why in zip(plan.deliveries, reasons, strict=True)
        ]
        return msgspec.structs.replace(plan, deliveries=deliveries)

    def _outcomes(self, plan: Plan) -> Iterator[Outcome]:
        for draft in plan.notifications:
            for receiver in draft.receivers:
                yield Outcome(INAPP, Verdict.SEND.value, IN_INBOX, receiver)
        for receiver, decision in plan.not_notified:
            yield Outcome(INAPP, decision.verdict.value, decision.reason, receiver)
        for delivery, decision, *_ in (*plan.deliveries, *plan.declined):
            verdict, reason, until = self._simulation(delivery.channel, decision)
            address = masked(delivery.address) if delivery.address else None
            yield Outcome(delivery.channel, verdict, reason, delivery.user_id, address, until)

    def _simulation(self, channel: str, decision: Decision) -> tuple[str, str, datetime | None]:
        if channel in self._simulated and decision.verdict is not Verdict.SUPPRESS:
            return SIMULATE, f"{channel} isn't configured", decision.until
        return decision.verdict.value, decision.reason, decision.until
