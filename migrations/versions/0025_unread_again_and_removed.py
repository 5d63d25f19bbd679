"""Inboxes know what is unread below the watermark, and up to where all is deleted (039).

Columns with a constant default are added in an instant, and the index has the inboxes only that are to be
cleared. Nodes of the release before show what is deleted together until its rows are removed, and show as
read what was marked as unread.
"""

from __future__ import annotations

from alembic import op

from app.store.online import change_table, create_index, in_batches

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

# Only inboxes are locked in which something counts: the watermark never falls, and what is marked as unread
# under it has its row changed. So removing rows that are under it locks no inbox.
_COUNT = """
create or replace function {name}() returns trigger language plpgsql set enable_seqscan = off as $$
begin
  perform 1 from inboxes where user_id in (
    select receiver from before join inboxes as known on user_id = receiver
    where seq > known.read_up_to or seq = any(known.unread_again)
  ) order by user_id for update;
  update inboxes set settled = settled + changed.number,
    unread_again = case when changed.gone is null or unread_again is null then unread_again else (
      select array_agg(again) from unnest(unread_again) as again where again <> all(changed.gone)
    ) end
  from (
    select receiver, sum(number) as number, array_agg(seq) filter (where number > 0) as gone
    from (
      select receiver, seq, sum(number) as number
      from (
        {rows}
      ) as rows (receiver, number, seq)
      join inboxes as known on user_id = receiver
        and (seq > known.read_up_to or seq = any(known.unread_again))
      group by receiver, seq
    ) as each_row
    where number <> 0
    group by receiver
  ) as changed
  where user_id = receiver;
  return null;
end $$
"""
_COUNT_BEFORE = """
create or replace function {name}() returns trigger language plpgsql set enable_seqscan = off as $$
begin
  perform 1 from inboxes where user_id in (select receiver from before) order by user_id for update;
  update inboxes set settled = settled + changed.number
  from (
    select receiver, sum(number) as number
    from (
      {rows}
    ) as rows (receiver, number, seq)
    join inboxes as known on user_id = receiver and seq > known.read_up_to
    group by receiver
  ) as changed
  where user_id = receiver and changed.number <> 0;
  return null;
end $$
"""
_UNREAD = "select receiver, {sign}1, seq from {table} where not is_read"
_BEFORE, _AFTER = _UNREAD.format(sign="", table="before"), _UNREAD.format(sign="-", table="after")
_TRIGGERS = {"notifications_removed": _BEFORE, "notifications_changed": f"{_BEFORE} union all {_AFTER}"}
_BATCH = """
create or replace function pg_temp.batch(after uuid, out until uuid, out changed bigint) language plpgsql
set enable_seqscan = off as $$
declare inbox record;
begin
  select * into inbox from inboxes
  where (after is null or user_id > after) and (unread_again is not null or removed_up_to > cleared_up_to)
  order by user_id limit 1 for update;
  delete from notifications where receiver = inbox.user_id and seq <= inbox.removed_up_to;
  update inboxes set settled = settled + coalesce(cardinality(unread_again), 0), unread_again = null,
    cleared_up_to = removed_up_to
  where user_id = inbox.user_id;
  until := inbox.user_id;
  changed := 1;
end $$
"""
_TOTAL = "select count(*) from inboxes where unread_again is not null or removed_up_to > cleared_up_to"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        change_table(
            connection,
            "alter table inboxes add column if not exists unread_again bigint[], "
            "add column if not exists removed_up_to bigint not null default 0, "
            "add column if not exists cleared_up_to bigint not null default 0",
        )
        create_index(connection, "inboxes_removed", "inboxes (user_id) where removed_up_to > cleared_up_to")
        for name, rows in _TRIGGERS.items():
            connection.exec_driver_sql(_COUNT.format(name=name, rows=rows))


def downgrade() -> None:
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        connection.exec_driver_sql(_BATCH)
        in_batches(connection, "select until, changed from pg_temp.batch($1)", _TOTAL, "inboxes cleared")
        for name, rows in _TRIGGERS.items():
            connection.exec_driver_sql(_COUNT_BEFORE.format(name=name, rows=rows))
        connection.exec_driver_sql("drop index concurrently if exists inboxes_removed")
        change_table(
            connection,
            "alter table inboxes drop column if exists unread_again, drop column if exists removed_up_to, "
            "drop column if exists cleared_up_to",
        )
