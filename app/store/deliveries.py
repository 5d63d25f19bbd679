"""The outbox in Postgres: taking what is due, noting what became of it, and the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import msgspec
from sqlalchemy import func, select, tuple_, update
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from app.deliveries import SIGNAL, Attempt, Delivery, GivenAttachment, Status
from app.settings import Settings
from app.store.engine import store_errors
from app.store.models import AttemptRow as A
from app.store.models import DeliveryRow as D
from app.tasks import end

log = logging.getLogger("hub.outbox")

LISTEN_AGAIN = 2.0  # seconds

# `skip locked`: several nodes take at once and none waits. What is taken is due again after the lease, for
# the case that its node dies.
_TAKE = """
with due as (
  select id from deliveries
  where next_attempt_at <= now() and (replaces is not null) = $4 and channel = any($1::text[])
  order by next_attempt_at
  limit $2
  for update skip locked
)
update deliveries d
set status = 'sending', attempts = attempts + 1, next_attempt_at = now() + make_interval(secs => $3)
from due where d.id = due.id
returning d.id, d.channel, d.template, d.address, d.locale, d.data::text as data, d.secret, d.attempts,
  d.created_at, d.attachments::text as attachments, d.replaces is not null as code,
  extract(epoch from d.expires_at - now())::float8 as expires_in,
  d.replaces is not null and exists (
    select 1 from deliveries newer
    where newer.replaces = d.replaces and (newer.event_at, newer.id) > (d.event_at, d.id)
  ) as replaced,
  case when d.replaces is null then 0 else (
    select count(*) from deliveries other where other.address = d.address and other.replaces is not null
      and other.status = 'sent' and other.finished_at > now() - interval '1 hour'
  ) end as last_hour,
  case when d.replaces is null then null else (
    select extract(epoch from now() - max(other.finished_at))::float8 from deliveries other
    where other.address = d.address and other.replaces is not null and other.status = 'sent'
      and other.finished_at > now() - interval '1 hour'
  ) end as seconds_since_last
"""
_FINISH = """
update deliveries set status = $2, reason = $3, error_code = $4, error = $5,
  provider_id = coalesce($6, provider_id), next_attempt_at = null, secret = null, finished_at = now()
where id = $1
"""
_AGAIN = """
update deliveries set status = 'pending', reason = $2, error_code = $3, error = $4, attempts = attempts - $6,
  next_attempt_at = now() + make_interval(secs => $5)
where id = $1 and finished_at is null
"""
_NOTE = """
insert into delivery_attempts
  (delivery_id, number, started_at, seconds, outcome, error_code, error, provider_id)
values ($1, $2, $3, $4, $5, $6, $7, $8)
on conflict (delivery_id, number) do nothing
"""


class Taken(NamedTuple):
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
    replaced: bool
    """A newer one took its place."""
    codes_last_hour: int
    """Sent to the same address."""
    seconds_since_last_code: float | None
    attachments: Sequence[GivenAttachment]


class Tried(NamedTuple):
    """What one attempt came to."""

    started_at: datetime
    seconds: float
    error_code: str | None = None
    error: str | None = None
    provider_id: str | None = None


class DeliveryStore:
    """Every call raises `Unavailable` when Postgres doesn't answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def take(self, channels: Collection[str], most: int, lease: float, *, codes: bool) -> list[Taken]:
        """Up to `most` deliveries that are due, now this node's for `lease` seconds: only those with
        one-time `codes`, or all but those.
        """
        now = datetime.now(UTC)
        with store_errors():
            async with self._engine.begin() as connection:
                rows = await connection.exec_driver_sql(_TAKE, (list(channels), most, lease, codes))
                return [
                    Taken(
                        row.id,
                        row.channel,
                        row.template,
                        row.address,
                        row.locale,
                        msgspec.json.decode(row.data),
                        row.secret,
                        row.attempts,
                        (now - row.created_at).total_seconds(),
                        row.code,
                        row.expires_in,
                        row.replaced,
                        row.last_hour,
                        row.seconds_since_last,
                        _attachments(row.attachments),
                    )
                    for row in rows
                ]

    async def finish(
        self, delivery: UUID, status: Status, reason: str | None, tried: Tried | None, number: int
    ) -> None:
        """It is done with; its secret is erased. `tried` is the attempt that led to it, if there was one."""
        error = (tried.error_code, tried.error, tried.provider_id) if tried else (None, None, None)
        with store_errors():
            async with self._engine.begin() as connection:
                await connection.exec_driver_sql(_FINISH, (delivery, status.value, reason, *error))
                if tried is not None:
                    await connection.exec_driver_sql(_NOTE, _attempt(delivery, number, status, tried))

    async def again(
        self, delivery: UUID, reason: str | None, seconds: float, tried: Tried | None, number: int
    ) -> None:
        """It is due again after so many seconds. Without `tried` the attempt isn't counted."""
        error = (tried.error_code, tried.error) if tried else (None, None)
        with store_errors():
            async with self._engine.begin() as connection:
                uncounted = 0 if tried else 1
                await connection.exec_driver_sql(_AGAIN, (delivery, reason, *error, seconds, uncounted))
                if tried is not None:
                    values = _attempt(delivery, number, Status.PENDING, tried)
                    await connection.exec_driver_sql(_NOTE, values)

    async def next_due(self, channels: Collection[str], *, codes: bool) -> float | None:
        """In how many seconds the next of those that `take` would give is due; None when there is none."""
        query = select(func.extract("epoch", func.min(D.next_attempt_at) - func.now())).where(
            D.next_attempt_at.is_not(None), D.replaces.is_not(None) == codes, D.channel.in_(list(channels))
        )
        with store_errors():
            async with self._engine.connect() as connection:
                seconds = await connection.scalar(query)
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
        query = select(*_COLUMNS).order_by(D.created_at.desc(), D.id.desc()).limit(limit)
        if before is not None:
            place = select(D.created_at, D.id).where(D.id == before).scalar_subquery()
            query = query.where(tuple_(D.created_at, D.id) < place)
        for name, value in wanted.items():
            match name:
                case "since":
                    query = query.where(D.created_at >= value)
                case "until":
                    query = query.where(D.created_at < value)
                case _:
                    query = query.where(getattr(D, name) == value)
        with store_errors():
            async with self._engine.connect() as connection:
                return [Delivery(**row._asdict()) for row in await connection.execute(query)]

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
                return Delivery(**row._asdict()), [Attempt(**each._asdict()) for each in rows]

    async def resend(self, delivery: UUID) -> bool:
        """Make a delivery that is done with due again; whether it could be. One that carried a code can't."""
        again = (
            update(D)
            .where(D.id == delivery, D.finished_at.is_not(None), D.replaces.is_(None))
            .values(status=Status.PENDING.value, reason=None, next_attempt_at=func.now(), finished_at=None)
        )
        with store_errors():
            async with self._engine.begin() as connection:
                if (await connection.execute(again)).rowcount == 0:
                    return False
                await connection.execute(select(func.pg_notify(SIGNAL, "")))
                return True


_COLUMNS = [getattr(D, name) for name in Delivery.__struct_fields__]


def _attachments(text: str | None) -> list[GivenAttachment]:
    return msgspec.json.decode(text, type=list[GivenAttachment]) if text else []


def _attempt(delivery: UUID, number: int, outcome: Status, tried: Tried) -> tuple[object, ...]:
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

    def __init__(self, settings: Settings, heard: Callable[[], None]) -> None:
        url = make_url(settings.database_url.get_secret_value()).set(drivername="postgresql")
        self._url = url.render_as_string(hide_password=False)
        self._timeout = settings.database_timeout
        self._heard = heard
        self._listening: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._listening = asyncio.create_task(self._listen(), name="delivery signal")

    async def stop(self) -> None:
        await end(self._listening)

    async def _listen(self) -> None:
        while True:
            try:
                await self._listen_once()
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("not_listening", extra={"why": type(error).__name__})
            await asyncio.sleep(LISTEN_AGAIN)

    async def _listen_once(self) -> None:
        connection = await asyncpg.connect(self._url, timeout=self._timeout, command_timeout=self._timeout)
        closed = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _: closed.set())
            await connection.add_listener(SIGNAL, lambda *_: self._heard())
            self._heard()
            await closed.wait()
        finally:
            connection.terminate()
