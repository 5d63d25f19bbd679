"""Reports of providers about deliveries: recorded once each, and what they change."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.domain.delivery_events import DeliveryEvent, DeliveryReport, EventKind
from app.runtime.metrics import DELIVERIES
from app.store.engine import store_errors
from app.store.models import DeliveryEventRow as E
from app.store.suppressions import ADD, ALL, BOUNCE_DAYS, suppression

MAX_EVENTS_ROWS = 200  # that are kept of one delivery: opens have no end
COMPLAINT = "the receiver reported a message as spam"
# A delivery that carried a code keeps no words: they may quote it.
_RECORD = """
insert into delivery_events (delivery_id, key, kind, happened_at, detail)
select d.id, $2::text, $3::text, $4::timestamptz, case when d.replaces is null then $5::text else $6::text end
from deliveries d
where d.id = $1 and (select count(*) from delivery_events e where e.delivery_id = $1) < $7
for key share of d
on conflict do nothing
returning 1
"""
# One that is pending may have been taken over, if the provider's answer was lost; a report from before it was
# asked for again is about an earlier sending.
_UNDER_WAY = "(status in ('pending', 'sending') and attempts > 0 and asked_at <= $2::timestamptz)"
_FINAL = """
  provider_id = coalesce(provider_id, $3::text), next_attempt_at = null, secret = null,
  finished_at = coalesce(finished_at, now())
"""
_DELIVERED = f"""
update deliveries set status = 'delivered', reason = null, error_code = null, error = null, {_FINAL}
where id = $1 and (status = 'sent' or {_UNDER_WAY})
returning channel, address
"""  # noqa: S608
_FAILED = f"""
update deliveries set status = 'failed', reason = $4::text, error_code = $5::text,
  error = case when replaces is null then $6::text else $7::text end, {_FINAL}
where id = $1 and (status in ('sent', 'delivered') or {_UNDER_WAY})
returning channel, address
"""  # noqa: S608
_COMPLAINED = """
update deliveries set reason = $2 where id = $1 and status in ('sent', 'delivered')
"""
_ADDRESS = "select channel, address, replaces is not null as code from deliveries where id = $1"
_STATUS = re.compile(r"[245][0-9][0-9](?:[ -][245]\.[0-9]{1,3}\.[0-9]{1,3})?(?![0-9])")


class DeliveryEventStore:
    """Every call raises `Unavailable` when Postgres doesn't answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def record(self, reports: Iterable[DeliveryReport]) -> int:
        """Record reports, all or none; return how many were new. Those of unknown deliveries are left out."""
        new = 0
        ordered = sorted(reports, key=lambda each: (each.delivery, each.happened_at))  # one order of locks
        with store_errors():
            async with self._engine.begin() as connection:
                for report in ordered:
                    new += await _recorded(connection, _storable(report))
        return new

    async def of(self, delivery: UUID) -> list[DeliveryEvent]:
        """What was reported of a delivery, in order."""
        query = select(E.kind, E.happened_at, E.detail).where(E.delivery_id == delivery)
        with store_errors():
            async with self._engine.connect() as connection:
                rows = await connection.execute(query.order_by(E.happened_at, E.key))
                return [DeliveryEvent(EventKind(row.kind), row.happened_at, row.detail) for row in rows]


async def _recorded(connection: AsyncConnection, report: DeliveryReport) -> bool:
    brief = _brief(report.detail)
    inserted = await connection.exec_driver_sql(
        _RECORD,
        (
            report.delivery,
            report.key,
            report.kind.value,
            report.happened_at,
            report.detail,
            brief,
            MAX_EVENTS_ROWS,
        ),
    )
    if inserted.first() is None:
        return False
    match report.kind:
        case EventKind.DELIVERED | EventKind.OPENED | EventKind.CLICKED:
            await _moved(connection, _DELIVERED, report, "delivered")
        case EventKind.BOUNCED | EventKind.FAILED:
            reason = "the address bounced" if report.kind is EventKind.BOUNCED else "it was not delivered"
            more = (reason, report.code, report.detail, brief)
            await _moved(connection, _FAILED, report, "failed", *more)
            if report.kind is EventKind.BOUNCED:
                await _suppress(connection, report, BOUNCE_DAYS)
        case EventKind.COMPLAINED:
            await _moved(connection, _DELIVERED, report, "delivered")
            await connection.exec_driver_sql(_COMPLAINED, (report.delivery, COMPLAINT))
            await _suppress(connection, report, None)
        case EventKind.DEFERRED:
            pass
    return True


async def _moved(
    connection: AsyncConnection, statement: str, report: DeliveryReport, status: str, *more: Any
) -> None:
    values = (report.delivery, report.happened_at, report.provider_id, *more)
    row = (await connection.exec_driver_sql(statement, values)).first()
    if row is not None:
        DELIVERIES.labels(row.channel, status).inc()


async def _suppress(connection: AsyncConnection, report: DeliveryReport, days: float | None) -> None:
    row = (await connection.exec_driver_sql(_ADDRESS, (report.delivery,))).first()
    if row is None or row.address is None:
        return
    words = _brief(report.detail) if row.code else report.detail
    bounced = f"it bounced: {words or report.code or 'no reason was given'}"
    why = COMPLAINT if days is None else bounced
    await connection.exec_driver_sql(ADD, suppression(row.channel, row.address, ALL, why, days))


def _brief(detail: str | None) -> str | None:
    """The status alone of a server's words."""
    found = _STATUS.search(detail or "")
    return found[0] if found else None


def _storable(report: DeliveryReport) -> DeliveryReport:
    """The same without NUL, which Postgres can't take."""
    texts = (report.key, report.code, report.detail, report.provider_id)
    key, code, detail, provider_id = (text and text.replace("\0", "") for text in texts)
    return report._replace(key=key or "", code=code, detail=detail, provider_id=provider_id)
