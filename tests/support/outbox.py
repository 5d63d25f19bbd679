"""An outbox on a real Postgres, with a channel that does what the test sets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, ClassVar
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncEngine

from app.auth.secrets import SecretBox
from app.domain.deliveries import DeliveryDraft, Status, delivery_id
from app.domain.preferences import Evaluator
from app.outbox.channel import Channel, Confirm, Outgoing, Receipt, wanted
from app.outbox.waiting import WaitingChannel
from app.outbox.worker import Outbox
from app.runtime.backoff import Backoff
from app.settings import Settings
from app.store.cleaning import CleaningStore
from app.store.deliveries import DeliverySignal, DeliveryStore
from app.store.preferences import PreferenceStore
from app.store.records import DeliveryRecord, EventRecord
from app.store.writer import BatchWriter
from tests.support.hub import eventually
from tests.support.settings import changed

CODE = "482913"
QUICK = Backoff(first=0.05, cap=900.0)


class FakeChannel(Channel):
    """Takes everything, unless `answer` raises."""

    name: ClassVar[str] = "email"
    at_once = 16

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []
        self.answer: Callable[[Outgoing], object] = lambda _: None
        self.is_simulated = False

    @property
    def simulated(self) -> bool:
        return self.is_simulated

    async def send(self, outgoing: Outgoing, confirm: Confirm = wanted) -> Receipt:
        answer = self.answer(outgoing)
        if asyncio.iscoroutine(answer):
            await answer
        await confirm()
        self.sent.append(outgoing)
        return Receipt("provider's id")

    async def close(self) -> None:
        pass


def secret_box(settings: Settings) -> SecretBox:
    """As the server makes it."""
    return SecretBox(settings.outbox.delivery_keys, settings.auth.jwt_secret, settings.postgres.url)


class Scene:
    """An outbox and what surrounds it; `node()` starts one more on the same tables."""

    def __init__(self, settings: Settings, engine: AsyncEngine) -> None:
        self.settings = settings
        self.engine = engine
        self.box = secret_box(settings)
        self.store = DeliveryStore(engine)
        self.cleaning = CleaningStore(engine)
        self.people = PreferenceStore(engine)
        self.writer = BatchWriter(engine)
        self.channel = FakeChannel()
        self.running: list[Outbox | DeliverySignal] = []

    async def node(
        self, channel: FakeChannel | None = None, codes: FakeChannel | None = None, **changes: Any
    ) -> None:
        """Start one; `channel` takes what it sends, or all but its `codes`."""
        settings = changed(self.settings, **changes)
        taker = channel or self.channel
        decided = partial(
            WaitingChannel,
            waiting=self.store.waiting,
            people=self.people,
            evaluator=Evaluator(()),
            now=time.time,
        )
        mails, others = (
            Outbox(self.store, decided(each), self.box, settings.outbox, codes=lane, backoff=QUICK)
            for lane, each in ((False, taker), (True, codes or taker))
        )

        def wake() -> None:
            mails.wake()
            others.wake()

        self.running += [DeliverySignal(settings.postgres, wake), mails, others]
        for each in self.running[-3:]:
            await each.start()

    async def stop(self, within: float = 1.0) -> None:
        for each in self.running:
            await (each.stop() if isinstance(each, DeliverySignal) else each.stop(within))
        self.running.clear()

    async def ask(self, *drafts: DeliveryDraft, age: float = 0.0, category: str | None = None) -> list[UUID]:
        """As the pipeline does; the event is `age` seconds old."""
        event_id = str(uuid4())
        secrets = [None if each.secret is None else self.box.encrypt(each.secret) for each in drafts]
        deliveries = [
            DeliveryRecord(draft, secret, category=category)
            for draft, secret in zip(drafts, secrets, strict=True)
        ]
        happened_at = datetime.now(UTC) - timedelta(seconds=age)
        await self.writer.write([EventRecord(event_id, (), deliveries, happened_at)])
        return [delivery_id(event_id, each) for each in drafts]

    async def ends(self, delivery: UUID, status: Status) -> str | None:
        """Wait until it stands so; the reason."""

        async def stands() -> tuple[str | None] | None:
            found = await self.store.get(delivery)
            assert found is not None
            return (found[0].reason,) if found[0].status == status else None

        return (await eventually(stands, f"the delivery is {status}", within=10))[0]


def mail(address: str | None = "user@example.com", **changes: Any) -> DeliveryDraft:
    values: dict[str, Any] = {"channel": "email", "template": "plain", "address": address, "locale": "en"}
    return DeliveryDraft(**values | changes)


def code(address: str = "user@example.com", **changes: Any) -> DeliveryDraft:
    values: dict[str, Any] = {
        "template": "otp_register",
        "data": {"minutes": 10},
        "secret": {"code": CODE},
        "valid_for": 600.0,
        "replaces": f"otp_register:{address}",
    }
    return mail(address, **values | changes)
