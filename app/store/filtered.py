"""Lists and counts of some categories or severities.

A request looks at `MAX_ROWS_SCANNED` notifications at most, whatever the size of the inbox, and says where to
go on (047). No index knows of categories: each insert would pay for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.notifications import (
    ArchivePlace,
    FilteredCount,
    FilteredPage,
    ListWindow,
    Notification,
    NotificationFilter,
    fitting,
)
from app.store.triage import ARCHIVE_PAGES, notification_of
from app.store.watermarks import GONE_UP_TO, IS_READ

MAX_ROWS_SCANNED = 2000
_MAX_BIGINT = 2**63 - 1
_MATCHES = """(
  ($4::text[] is null or case
    when details ->> 'category' is null then template_code = any($5::text[])
    else details ->> 'category' = any($4::text[]) end)
  and ($6::text[] is null or case
    when details ->> 'severity' is null then (template_code = any($7::text[])) <> $8::boolean
    else details ->> 'severity' = any($6::text[]) end)
)"""
_INBOX = f"(select *, {GONE_UP_TO} as gone_up_to from inboxes where user_id = $1) as inbox"  # noqa: S608
_NEWEST = f"""
select seq, {_MATCHES} as matches
from {_INBOX} cross join lateral (
  select seq, details, template_code from notifications
  where receiver = $1 and seq > gone_up_to and seq < $2::bigint
  order by seq desc limit $3
) as newest
order by seq desc
"""  # noqa: S608
# Those above the watermark by the index alone, and the entries below it, which are few.
_UNREAD = f"""
select seq, {_MATCHES} as matches, seq > seen_up_to as unseen
from (
  select seq, details, template_code, greatest(seen_up_to, read_up_to) as seen_up_to
  from {_INBOX} cross join lateral (
    (
      select seq, details, template_code from notifications
      where receiver = $1 and not is_read and seq > read_up_to and seq < $2::bigint
      order by seq desc limit $3
    ) union all (
      select seq, details, template_code from notifications
      where receiver = $1 and not is_read and seq = any(unread_again) and seq < $2::bigint
    )
  ) as unread
  order by seq desc limit $3
) as newest
order by seq desc
"""  # noqa: S608
_CHOSEN = f"""
select id, group_id, group_name, notifications.receiver, created_at, template_code,
  raw_data::text as raw_data, {IS_READ} as is_read, title, content, seq, details::text as details, thread_key,
  expires_at, null::timestamptz as snoozed_until
from {_INBOX} join notifications on receiver = $1
where seq = any($2::bigint[])
order by seq desc
"""  # noqa: S608
_OF_ARCHIVE = {
    place: f"""
select seq, {_MATCHES} as matches
from (select seq, details::jsonb as details, template_code from ({page}) as page) as newest
order by seq desc
"""  # noqa: S608
    for place, page in ARCHIVE_PAGES.items()
}
_CHOSEN_OF_ARCHIVE = {
    place: f"select * from ({page}) as page where seq = any($4::bigint[]) order by seq desc"  # noqa: S608
    for place, page in ARCHIVE_PAGES.items()
}


async def filtered_page(
    connection: AsyncConnection,
    receiver: UUID,
    wanted: NotificationFilter,
    window: ListWindow,
    most_bytes: int,
) -> FilteredPage:
    """As `Inboxes.filtered_page`."""
    limit, before, unread, place = window
    scan = _UNREAD if unread else _NEWEST if place is None else _OF_ARCHIVE[place]
    scanned = await _scan(connection, scan, receiver, before, wanted)
    seqs = [row.seq for row in scanned if row.matches][:limit]
    more = scanned[-1].seq if len(scanned) == MAX_ROWS_SCANNED else None
    if len(seqs) == limit and seqs[-1] > scanned[-1].seq:
        more = seqs[-1]
    found = await _load(connection, receiver, seqs, place)
    end = fitting(found, most_bytes)
    return FilteredPage(found[:end], found[end - 1].seq if end < len(found) else more)


async def filtered_count(
    connection: AsyncConnection, receiver: UUID, wanted: NotificationFilter
) -> FilteredCount:
    """As `Inboxes.filtered_count`."""
    scanned = await _scan(connection, _UNREAD, receiver, None, wanted)
    found = [row for row in scanned if row.matches]
    exact = len(scanned) < MAX_ROWS_SCANNED
    return FilteredCount(len(found), sum(row.unseen for row in found), exact)


async def _scan(
    connection: AsyncConnection,
    statement: str,
    receiver: UUID,
    before: int | None,
    wanted: NotificationFilter,
) -> Sequence[Any]:
    values = (receiver, before or _MAX_BIGINT, MAX_ROWS_SCANNED, *wanted)
    return (await connection.exec_driver_sql(statement, values)).all()


async def _load(
    connection: AsyncConnection, receiver: UUID, seqs: Sequence[int], place: ArchivePlace | None
) -> list[Notification]:
    if not seqs:
        return []
    if place is None:
        rows = await connection.exec_driver_sql(_CHOSEN, (receiver, [*seqs]))
    else:
        values = (receiver, seqs[0] + 1, MAX_ROWS_SCANNED, [*seqs])
        rows = await connection.exec_driver_sql(_CHOSEN_OF_ARCHIVE[place], values)
    return [notification_of(row) for row in rows]
