"""The outbox in Postgres: taking what is due, noting what became of it, and the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import msgspec
from sqlalchemy import Select, case, func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import aliased

from app.domain import exact_json
from app.domain.deliveries import SIGNAL, Attempt, Delivery, GivenAttachment, Status
from app.domain.delivery_events import DeliveryEvent
from app.runtime.backoff import Backoff
from app.runtime.services import Background
from app.settings.services import PostgresSettings
from app.store import delivery_statements as sql
from app.store.delivery_events import DeliveryEventStore
from app.store.direct import direct
from app.store.engine import connect_arguments, store_errors
from app.store.liveness import LOST
from app.store.models import AttemptRow as A
from app.store.models import DeliveryRow as D
from app.store.suppressions import SuppressionStore
from app.store.waiting import FINISH_HELD, WaitingStore

log = logging.getLogger("hub.outbox")

LISTEN_CHECK_SECONDS = 15.0  # seconds
LISTEN_BACKOFF = Backoff(first=2.0, cap=2.0)  # outboxes poll meanwhile


class LeasedDelivery(NamedTuple):
    """A delivery that this node may try now."""

    id: UUID
    channel: str
    template: str
    address: str
    locale: str
    data: dict[str, Any]
    secret: bytes | None
    attempts: int
    """This one included."""
    age: float
    """Seconds since it was asked for."""
    code: bool
    """Whether it carries a one-time code."""
    expires_in: float | None
    """Seconds; after that it may not be sent."""
    codes_last_hour: int
    """Sent to the same address."""
    seconds_since_last_code: float | None
    attachments: Sequence[GivenAttachment]
    category: str | None = None
    """That of the event; unknown of deliveries from before migration 0019."""
    user_id: UUID | None = None
    event_id: str | None = None
    suppressed: str | None = None
    """Why its address gets nothing of the category. Codes are sent all the same."""
    digest: bool = False
    """Whether others are sent in it."""
    only_if: str | None = None
    """Of a step of an escalation: `unread` or `unseen`."""
    notification: str | None = None
    """Of such a step: `unseen`, `seen`, `read` or `expired`; None if the notification is gone."""


class AttemptResult(NamedTuple):
    """The result of one attempt."""

    started_at: datetime
    seconds: float
    error_code: str | None = None
    error: str | None = None
    provider_id: str | None = None
    segments: int | None = None

    def storable(self) -> AttemptResult:
        """The same without NUL and lone surrogates, which Postgres can't take."""
        texts = (self.error_code, self.error, self.provider_id)
        code, error, provider_id = (
            text and text.replace("\0", "").encode(errors="replace").decode() for text in texts
        )
        return self._replace(error_code=code, error=error, provider_id=provider_id)


class DeliveryResult(NamedTuple):
    """What a delivery ends with, if the attempt `number` is the last."""

    id: UUID
    number: int
    status: Status
    reason: str | None = None
    tried: AttemptResult | None = None
    """What came of the attempt, if it was made."""


class DeliveryStore:
    """Every call raises `Unavailable` when Postgres doesn't answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self.suppressions = SuppressionStore(engine)
        self.reports = DeliveryEventStore(engine)
        self.waiting = WaitingStore(engine)

    async def claim(
        self, channel: str, most: int, lease: float, held: Iterable[UUID] = (), *, codes: bool
    ) -> list[LeasedDelivery]:
        """Up to `most` deliveries that are due, now this node's for `lease` seconds: only those with
        one-time `codes`, or all but those, and none that it has `held` since before.
        """
        with store_errors():
            async with self._engine.begin() as connection:
                if codes:
                    await connection.exec_driver_sql(sql.ONE_AT_A_TIME)
                rows = await connection.exec_driver_sql(
                    sql.CLAIM_CODES if codes else sql.CLAIM, (channel, most, lease, list(held))
                )
                return [_leased(row, codes=codes) for row in rows]

    async def unwanted(self, delivery: UUID) -> Status | None:
        """What is to become of a delivery with a code that isn't to be sent any more; None: it is."""
        with store_errors():
            async with self._engine.connect() as connection:
                found = (await connection.exec_driver_sql(sql.UNWANTED, (delivery,))).scalar_one()
                return None if found is None else Status(found)

    async def finish(self, results: Sequence[DeliveryResult]) -> None:
        """Record what deliveries end with, all or none, each of another delivery; erase their secrets.

        They cost as many statements together as one alone, and none of SQLAlchemy.
        """
        results = [each._replace(tried=each.tried and each.tried.storable()) for each in results]
        connections = direct(self._engine)
        with store_errors():
            async with connections.connection() as connection, connections.transaction(connection):
                for row in await connection.fetch(sql.FINISH, *_columns(map(_final, results))):
                    if row["is_digest"]:
                        result = next(each for each in results if each.id == row["id"])
                        await connection.execute(FINISH_HELD, result.id, result.status.value, result.reason)
                attempts = [
                    _attempt(each.id, each.number, each.status, each.tried) for each in results if each.tried
                ]
                if attempts:
                    await connection.execute(sql.NOTE, *_columns(attempts))

    async def reschedule(
        self, delivery: UUID, reason: str | None, seconds: float, tried: AttemptResult | None, number: int
    ) -> None:
        """It is due again after so many seconds. Without `tried` the attempt isn't counted."""
        tried = tried and tried.storable()
        error = (tried.error_code, tried.error) if tried else (None, None)
        with store_errors():
            async with self._engine.begin() as connection:
                uncounted = 0 if tried else 1
                values = (delivery, reason, *error, seconds, uncounted, number)
                await connection.exec_driver_sql(sql.AGAIN, values)
                if tried is not None:
                    note = _attempt(delivery, number, Status.PENDING, tried)
                    await connection.exec_driver_sql(sql.NOTE, _columns([note]))

    async def release(self, held: Sequence[tuple[UUID, int]]) -> None:
        """What this node had taken is due at once; by id and number of the attempt, which isn't counted."""
        if held:
            with store_errors():
                async with self._engine.begin() as connection:
                    await connection.exec_driver_sql(sql.RELEASE, tuple(map(list, zip(*held, strict=True))))

    async def next_due(self, channel: str, *, codes: bool) -> float | None:
        """In how many seconds the next of those that `claim` would give is due; None when there is none."""
        with store_errors():
            async with self._engine.connect() as connection:
                asked = await connection.exec_driver_sql(
                    sql.NEXT_CODE if codes else sql.NEXT_OTHER, (channel,)
                )
                seconds = asked.scalar()
                return None if seconds is None else max(0.0, float(seconds))

    async def find(
        self,
        limit: int,
        before: UUID | None = None,
        **wanted: object,
    ) -> list[Delivery]:
        """The newest first, `limit` of them: those older than the delivery `before`, with these values in
        these columns; `since` and `until` bound the time of making.
        """
        place: tuple[datetime, UUID] | None = None
        with store_errors():
            async with self._engine.connect() as connection:
                if before is not None:  # apart from the query: an index takes values, no subquery
                    created_at = await connection.scalar(select(D.created_at).where(D.id == before))
                    if created_at is None:
                        return []
                    place = created_at, before
                found = await connection.execute(page_of_deliveries(limit, place, wanted))
                return [_delivery(row) for row in found]

    async def get(self, delivery: UUID) -> tuple[Delivery, list[Attempt]] | None:
        """A delivery with its attempts, in order; None when there is none with that id."""
        attempts = select(
            A.number, A.started_at, A.seconds, A.outcome, A.error_code, A.error, A.provider_id
        ).where(A.delivery_id == delivery)
        with store_errors():
            async with self._engine.connect() as connection:
                row = (await connection.execute(select(*_COLUMNS).where(D.id == delivery))).one_or_none()
                if row is None:
                    return None
                rows = await connection.execute(attempts.order_by(A.number))
                return _delivery(row), [Attempt(**each._asdict()) for each in rows]

    async def events(self, delivery: UUID) -> list[DeliveryEvent]:
        """What providers reported of a delivery, in order."""
        return await self.reports.of(delivery)

    async def resend(self, delivery: UUID, *, force: bool = False) -> bool:
        """Make a delivery that is done with due again; whether it could be. Not one that carried a code, or
        was suppressed; one that was sent, only with `force`.
        """
        final = [Status.SUPPRESSED, *([] if force else [Status.SENT, Status.DELIVERED])]
        rescheduled = (
            update(D)
            .where(
                D.id == delivery,
                D.finished_at.is_not(None),
                D.replaces.is_(None),
                D.status.not_in([status.value for status in final]),
            )
            .values(
                status=Status.PENDING.value,
                reason=None,
                next_attempt_at=func.now(),
                asked_at=func.now(),
                finished_at=None,
            )
        )
        with store_errors():
            async with self._engine.begin() as connection:
                if (await connection.execute(rescheduled)).rowcount == 0:
                    return False
                await connection.execute(select(func.pg_notify(SIGNAL, "")))
                return True


_DIGEST = aliased(D)
_DUE = case(
    (
        D.status == Status.HELD.value,
        select(_DIGEST.next_attempt_at).where(_DIGEST.id == D.digest_id).scalar_subquery(),
    ),
    else_=D.next_attempt_at,
)
"""Of one that a digest holds, when that is sent."""
_COLUMNS = [
    _DUE.label(name) if name == "next_attempt_at" else getattr(D, name) for name in Delivery.__struct_fields__
]


_LEADING = ("event_id", "user_id", "foreign_user_id", "status", "channel")
"""Filters whose index ends with the order of the list: the first that is given decides which one is read."""


def page_of_deliveries(
    limit: int, place: tuple[datetime, UUID] | None, wanted: Mapping[str, object]
) -> Select[Any]:
    """The query of `DeliveryStore.find`; `place` is the creation and the id of the delivery before the page.

    A page reads as many rows as it shows. The leading filter is a range of one value, so that only its index
    has the order: of an equality the planner may read all deliveries from the newest on, as their index has
    the order of the table, and an event with a tenth of them may be old.
    """
    lead = next((name for name in _LEADING if name in wanted), None)
    keys: list[Any] = [*([] if lead is None else [getattr(D, lead)]), D.created_at, D.id]
    values = [] if lead is None else [wanted[lead]]
    since, until = wanted.get("since"), wanted.get("until")
    query = select(*_COLUMNS).order_by(*(key.desc() for key in keys)).limit(limit)
    for name in wanted.keys() - {lead, "since", "until"}:
        query = query.where(getattr(D, name) == wanted[name])
    if isinstance(until, datetime) and (place is None or until <= place[0]):
        query = query.where(tuple_(*keys[:-1]) < tuple_(*values, until))
    elif place is not None:
        query = query.where(tuple_(*keys) < tuple_(*values, *place))
    elif lead is not None:
        query = query.where(keys[0] <= values[0])
    if since is not None:
        return query.where(tuple_(*keys[:-1]) >= tuple_(*values, since))
    return query if lead is None else query.where(keys[0] >= values[0])


def _delivery(row: Any) -> Delivery:
    values = row._asdict()
    return Delivery(**{**values, "status": Status(values["status"])})


def _leased(row: Any, *, codes: bool) -> LeasedDelivery:
    return LeasedDelivery(
        row.id,
        row.channel,
        row.template,
        row.address,
        row.locale,
        exact_json.decode(row.data),
        row.secret,
        row.attempts,
        row.age,
        row.code,
        row.expires_in,
        row.last_hour if codes else 0,
        row.seconds_since_last if codes else None,
        _attachments(row.attachments),
        row.category,
        row.user_id,
        row.event_id,
        *((None,) if codes else (row.suppressed, row.digest, row.only_if, row.notification)),
    )


def _attachments(text: str | None) -> list[GivenAttachment]:
    return msgspec.json.decode(text, type=list[GivenAttachment]) if text else []


def _columns(rows: Iterable[tuple[object, ...]]) -> tuple[list[object], ...]:
    """Rows as arrays, one for each column."""
    return tuple(map(list, zip(*rows, strict=True)))


def _final(result: DeliveryResult) -> tuple[object, ...]:
    tried = result.tried
    error = (tried.error_code, tried.error, tried.provider_id) if tried else (None, None, None)
    return (
        result.id,
        result.number,
        result.status.value,
        result.reason,
        *error,
        tried and tried.segments,
    )


def _attempt(delivery: UUID, number: int, outcome: Status, tried: AttemptResult) -> tuple[object, ...]:
    failed = outcome is Status.PENDING
    return (
        delivery,
        number,
        tried.started_at,
        tried.seconds,
        "failed" if failed else outcome.value,
        tried.error_code,
        tried.error,
        tried.provider_id,
    )


class DeliverySignal:
    """Hears of new deliveries at once (LISTEN). While it is deaf, whoever waits has to poll."""

    def __init__(
        self, settings: PostgresSettings, notify: Callable[[], None], backoff: Backoff = LISTEN_BACKOFF
    ) -> None:
        """`notify` is called for each signal, and whenever listening starts."""
        self._arguments = connect_arguments(settings)
        self._timeout = settings.timeout
        self._notify = notify
        self._backoff = backoff
        self._failures = 0
        self._listening = Background(self._listen, name="delivery signal")

    async def start(self) -> None:
        """Return at once; it listens as soon as Postgres answers."""
        await self._listening.start()

    async def stop(self) -> None:
        """Close the connection."""
        await self._listening.stop()

    async def _listen(self) -> None:
        while True:
            try:
                await self._listen_once()
            except (asyncpg.PostgresError, *LOST) as error:
                log.warning("not_listening", extra={"why": type(error).__name__})
            await asyncio.sleep(self._backoff.delay(self._failures))
            self._failures += 1

    async def _listen_once(self) -> None:
        connection = await asyncpg.connect(**self._arguments)
        closed = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _: closed.set())
            await connection.add_listener(SIGNAL, lambda *_: self._notify())
            self._failures = 0
            self._notify()
            while not closed.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(closed.wait(), LISTEN_CHECK_SECONDS)
                await connection.execute("select 1")  # a connection that died in silence answers nothing
        finally:
            connection.terminate()
