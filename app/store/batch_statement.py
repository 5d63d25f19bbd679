"""A batch of events in one statement: ids, `seq`s, notifications, deliveries. No I/O.

Postgres decides what was recorded before: what belongs to an event whose id is taken is left out of the same
statement. Rows are locked in one order (ids of events, then inboxes), so nodes can't deadlock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from itertools import product
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from app.domain import exact_json
from app.domain.deliveries import SIGNAL, delivery_id
from app.domain.details import NOTHING, to_column
from app.domain.identity import EventIdentity
from app.domain.notifications import Notification, NotificationDraft, event_hash
from app.domain.planning import Assumed
from app.store.records import EventRecord
from app.store.waiting import NewHold, new_holds

# Ids rise in the order of the rows: the defaults of an insert are evaluated after its `order by`. `from_end`
# counts the rows of an inbox from the last one. The look-ups by number run only if an id was taken.
_HEAD = """
with {assumed}claimed as (
  insert into processed_events (event_id, fingerprint, sender, position)
  select * from unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[])
    as event (event_id, fingerprint, sender, position){unless_outdated}
  order by event_id collate "C"
  on conflict do nothing returning event_id
), outcome as materialized (
  select count(*) = cardinality($1) as all_new from claimed
), new_events as (
  select number from unnest($1::text[]) with ordinality as event (event_id, number)
  where event_id in (select event_id from claimed)
), drafts as materialized (
  select event_hash, group_id, group_name, template_code, raw_data::jsonb as raw_data, title, content,
    number{details}
  from unnest($5::bigint[], $6::bigint[], $7::uuid[], $8::text[], $9::text[], $10::text[],
              $11::text[], $12::text[]{arrays})
    with ordinality
    as draft (event, event_hash, group_id, group_name, template_code, raw_data, title, content{details},
              number)
  where (select all_new from outcome) or event in (select number from new_events)
), rows as materialized (
  select receiver, draft, number, row_number() over (partition by receiver order by number desc) as from_end
  from unnest($13::uuid[], $14::bigint[]) with ordinality as row (receiver, draft, number)
  where (select all_new from outcome) or draft in (select number from drafts)
), raised as (
  insert into inboxes as inbox (user_id, last_seq)
  select receiver, max(from_end) from rows group by receiver order by receiver
  on conflict (user_id) do update set last_seq = inbox.last_seq + excluded.last_seq
  returning user_id, last_seq
), inserted as (
  insert into notifications
    (event_hash, group_id, group_name, receiver, created_at, template_code, raw_data, title, content,
     seq{details})
  select event_hash, group_id, group_name, receiver, $15::timestamptz, template_code, raw_data, title,
    content, last_seq - from_end + 1{values}
  from rows join raised on user_id = receiver join drafts on drafts.number = rows.draft
  order by rows.number
  returning id, seq
)"""
# One index probe for each of the receivers, and for those who get nothing. Most have set nothing; if
# that is assumed of all, there are no versions to compare.
_NOTHING_SET = """outdated as materialized (
  select exists (
    select from (
      select unnest($13::uuid[]) union all select unnest(${0}::uuid[])
    ) as wanted (user_id)
    cross join lateral (select from preferences where user_id = wanted.user_id limit 1) as p
  ) as outdated
), """
_SOMETHING_SET = """met as materialized (
  select p.user_id, p.xmin::text as version
  from (
    select unnest($13::uuid[]) union all select unnest(${0}::uuid[])
  ) as wanted (user_id)
  cross join lateral (select user_id, xmin from preferences where user_id = wanted.user_id limit 1) as p
), known as materialized (
  select * from unnest(${1}::uuid[], ${2}::text[]) as known (user_id, version)
), outdated as materialized (
  select (select count(distinct user_id) from met) <> cardinality(${1}) or exists (
    select from met left join known using (user_id) where known.version is distinct from met.version
  ) as outdated
), """
_DELIVERIES = """, sent as (
  insert into deliveries (id, event_id, user_id, channel, template, address, locale, data, secret, replaces,
    limit_key, event_at, expires_at, attachments, reason, asked_at, status, next_attempt_at, finished_at,
    foreign_user_id, category)
  select id, event_id, user_id, channel, template, address, locale, data::jsonb, secret, replaces,
    coalesce(limit_key, case when replaces is not null then address end), event_at,
    event_at + make_interval(secs => valid_for), attachments::jsonb, reason, coalesce(due_at, now()),
    case when suppressed then 'suppressed' else 'pending' end,
    case when suppressed then null else coalesce(due_at, now()) end,
    case when suppressed then now() end, foreign_user_id, category
  from unnest($16::bigint[], $17::uuid[], $18::text[], $19::uuid[], $20::text[], $21::text[], $22::text[],
              $23::text[], $24::text[], $25::bytea[], $26::text[], $27::timestamptz[], $28::float8[],
              $29::text[], $30::text[], $31::bool[], $32::timestamptz[], $33::text[], $34::text[],
              $35::text[])
    as new (event, id, event_id, user_id, channel, template, address, locale, data, secret, replaces,
            event_at, valid_for, attachments, reason, suppressed, due_at, limit_key, foreign_user_id,
            category)
  where (select all_new from outcome) or event in (select number from new_events)
  on conflict (id) do nothing
)"""
_WITHHELD = """, withheld as (
  insert into decisions (event_id, channel, user_id, address, reason)
  select event_id, channel, user_id, address, reason
  from unnest(${0}::bigint[], ${1}::text[], ${2}::text[], ${3}::uuid[], ${4}::text[], ${5}::text[])
    as decision (event, event_id, channel, user_id, address, reason)
  where (select all_new from outcome) or event in (select number from new_events)
)"""
_TAIL = """
select case when all_new then null else array(select event_id from claimed) end as claimed,
  ids, seqs{signal}{outdated}
from outcome, (
  select array_agg(id order by id) as ids, array_agg(seq order by id) as seqs from inserted
) as inserted
"""


def _statement(*, deliveries: bool, details: bool, withheld: bool, assumed: str) -> str:
    """The statement for events with deliveries, with notifications that carry details, with decisions not to
    notify, and with what they were planned by. Their parameters are the last ones, in this order.
    """
    tail = _TAIL.format(
        signal=f", pg_notify('{SIGNAL}', '')" if deliveries else "",
        outdated=", (select outdated from outdated) as outdated" if assumed else "",
    )
    parts = {"details": "", "arrays": "", "values": "", "assumed": "", "unless_outdated": ""}
    first = 1 + (_DELIVERIES_LAST_INDEX if deliveries else _HEAD_LAST_INDEX)
    if details:
        parts |= {
            "details": ", details, thread_key, expires_at",
            "arrays": f", ${first}::text[], ${first + 1}::text[], ${first + 2}::timestamptz[]",
            "values": ", details::jsonb, thread_key, expires_at",
        }
        first += 3
    decisions = _WITHHELD.format(*range(first, first + 6)) if withheld else ""
    first += 6 if withheld else 0
    if assumed:
        parts["assumed"] = assumed.format(*range(first, first + 3))
        parts["unless_outdated"] = " where not (select outdated from outdated)"
    return _HEAD.format(**parts) + (_DELIVERIES if deliveries else "") + decisions + tail


OUTDATED = "outdated"
"""The column of the answer that says whether nothing was recorded, as what was assumed is outdated."""
_HEAD_LAST_INDEX, _DELIVERIES_LAST_INDEX = 15, 35
_STATEMENTS = {
    (*kind, assumed): _statement(deliveries=kind[0], details=kind[1], withheld=kind[2], assumed=assumed)
    for kind in product((False, True), repeat=3)
    for assumed in ("", _NOTHING_SET, _SOMETHING_SET)
}
# Of those with the same `replaces` only the newest is ever sent; the secrets of the others go at once.
# `offset` keeps the look-up one by index.
REPLACE = """
update deliveries d set status = 'suppressed', reason = 'a newer code replaced it', secret = null,
  next_attempt_at = null, finished_at = now()
where d.replaces = any($1::text[]) and d.status = 'pending' and exists (
  select 1 from deliveries newer
  where newer.replaces = d.replaces and (newer.event_at, newer.number) > (d.event_at, d.number)
  offset 0
)
"""


class BatchStatement(NamedTuple):
    """The statement for some events, with its parameters, and what its answer means."""

    text: str
    values: Sequence[Any]
    events: Sequence[EventRecord]
    rows: Sequence[tuple[int, NotificationDraft, msgspec.Raw, UUID]]
    """In the order of their ids: the event's number, and what a notification consists of."""
    created_at: datetime

    def answer(self, row: Any) -> tuple[Collection[str], list[Notification]]:
        """The ids of the events that were new, and their notifications."""
        claimed, rows = row[0], self.rows
        if claimed is None:
            claimed = [event.event_id for event in self.events]
        else:
            rows = self._rows_of(claimed)
        made = self.created_at
        return claimed, [
            Notification(
                number,
                draft.group_id,
                draft.group_name,
                receiver,
                made,
                draft.template_code,
                raw_data,
                False,
                draft.title,
                draft.content,
                seq,
                draft.details,
            )
            for number, seq, (_, draft, raw_data, receiver) in zip(
                row[1] or (), row[2] or (), rows, strict=True
            )
        ]

    def holds(self, claimed: Collection[str], row: Any) -> list[NewHold]:
        """Which deliveries of these events wait, by the same answer."""
        new = set(claimed)
        seqs: defaultdict[int, dict[UUID, int]] = defaultdict(dict)
        for seq, (number, _, _, receiver) in zip(row[2] or (), self._rows_of(claimed), strict=True):
            seqs[number][receiver] = seq
        return [
            each
            for number, event in enumerate(self.events)
            if event.event_id in new
            for each in new_holds(event, seqs[number])
        ]

    def _rows_of(
        self, claimed: Collection[str]
    ) -> Sequence[tuple[int, NotificationDraft, msgspec.Raw, UUID]]:
        new = set(claimed)
        return [each for each in self.rows if self.events[each[0]].event_id in new]


def batch_statement(
    events: Sequence[EventRecord], now: datetime, assumed: Assumed | None = None
) -> BatchStatement:
    """The statement that records these events, each id once; none of them is for later."""
    identities = [event.identity for event in events]
    drafts = [
        (number, event.chunk_of or event.event_id, draft)
        for number, event in enumerate(events)
        for draft in event.drafts
    ]
    rows: list[tuple[int, NotificationDraft, msgspec.Raw, UUID]] = []
    of_drafts: list[int] = []
    for place, (number, _, draft) in enumerate(drafts, 1):
        raw_data = msgspec.Raw(draft.raw_data.encode())
        for receiver in draft.receivers:
            rows.append((number, draft, raw_data, receiver))
            of_drafts.append(place)
    receivers = [row[3] for row in rows]
    values: list[Any] = [
        [event.event_id for event in events],
        [identity.fingerprint for identity in identities],
        [identity.sender for identity in identities],
        [identity.position for identity in identities],
        *_drafts(drafts),
        receivers,
        of_drafts,
        now,
    ]
    deliveries = any(event.deliveries for event in events)
    details = any(draft.details is not None for _, _, draft in drafts)
    withheld = any(event.withheld for event in events)
    values += _deliveries(events, now) if deliveries else ()
    values += _details(drafts, identities) if details else ()
    values += _withheld(events) if withheld else ()
    kind = _assumed_kind(assumed)
    values += _assumed(assumed, receivers) if assumed is not None else ()
    text = _STATEMENTS[deliveries, details, withheld, kind]
    return BatchStatement(text, values, events, rows, now)


def replacing(events: Sequence[EventRecord]) -> list[str]:
    """What the deliveries of these events take the place of."""
    found = {draft.replaces for event in events for draft, *_ in event.deliveries}
    return sorted(each for each in found if each is not None)


def _details(
    drafts: Sequence[tuple[int, str, NotificationDraft]], identities: Sequence[EventIdentity]
) -> Sequence[list[Any]]:
    """The columns of what notifications carry, a value for each draft of these events."""
    carried = [draft.details or NOTHING for _, _, draft in drafts]
    senders = [identities[number].sender for number, _, _ in drafts]
    return (
        [to_column(details, sender) for details, sender in zip(carried, senders, strict=True)],
        [details.thread_key for details in carried],
        [details.expires_at for details in carried],
    )


def _drafts(drafts: Sequence[tuple[int, str, NotificationDraft]]) -> Sequence[list[Any]]:
    return (
        [number + 1 for number, _, _ in drafts],
        [event_hash(event_id) for _, event_id, _ in drafts],
        [draft.group_id for _, _, draft in drafts],
        [draft.group_name for _, _, draft in drafts],
        [draft.template_code for _, _, draft in drafts],
        [draft.raw_data for _, _, draft in drafts],
        [draft.title for _, _, draft in drafts],
        [draft.content for _, _, draft in drafts],
    )


def _assumed_kind(assumed: Assumed | None) -> str:
    if assumed is None:
        return ""
    return _SOMETHING_SET if assumed.versions else _NOTHING_SET


def _assumed(assumed: Assumed, receivers: Sequence[UUID]) -> Sequence[list[Any]]:
    """Of whom something is assumed besides the receivers, who of all had set something, and its versions."""
    others: Collection[UUID] = ()
    if len(assumed.users) != len(receivers):  # all receivers are among these users
        others = set(assumed.users).difference(receivers)
    if not assumed.versions:
        return ([*others],)
    return [*others], [*assumed.versions], [*assumed.versions.values()]


def _withheld(events: Sequence[EventRecord]) -> Sequence[list[Any]]:
    rows = [
        (number, event.chunk_of or event.event_id, each.channel, each.user_id, each.address, each.reason)
        for number, event in enumerate(events, 1)
        for each in event.withheld
    ]
    return [list(column) for column in zip(*rows, strict=True)]


def _deliveries(events: Sequence[EventRecord], now: datetime) -> Sequence[list[Any]]:
    rows = [
        (
            number,
            delivery_id(event.chunk_of or event.event_id, draft),
            event.chunk_of or event.event_id,
            draft.user_id,
            draft.channel,
            draft.template,
            draft.address,
            draft.locale,
            exact_json.encode(draft.data).decode(),
            secret,
            draft.replaces,
            event_at,
            draft.seconds_valid(event_at),
            msgspec.json.encode(draft.attachments).decode() if draft.attachments else None,
            reason,
            suppressed,
            due_at,
            draft.limit_key,
            draft.foreign_user_id,
            category,
        )
        for number, event in enumerate(events, 1)
        for event_at in (min(event.happened_at or now, now),)  # publishers' clocks may be ahead
        for draft, secret, due_at, reason, suppressed, category, *_ in event.deliveries
    ]
    return [list(column) for column in zip(*rows, strict=True)]
