"""Inboxes know up to where all is seen (045).

Columns with a constant default are added in an instant: nothing is seen yet, so all that is unread is unseen.
Nodes of the previous release keep `settled` only, so an unread notification that they unarchive is
missing in the count of the unseen: `run.py check counters --repair` corrects it.
"""

from __future__ import annotations

from alembic import op

from app.store.online import change_table

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

_COUNT = """
create or replace function {name}() returns trigger language plpgsql set enable_seqscan = off as $$
begin
  perform 1 from inboxes where user_id in (
    select receiver from before join inboxes as known on user_id = receiver
    where seq > known.read_up_to or seq = any(known.unread_again)
  ) order by user_id for update;
  update inboxes set settled = settled + changed.number, seen_settled = seen_settled + changed.unseen,
    unread_again = case when changed.gone is null or unread_again is null then unread_again else (
      select array_agg(again) from unnest(unread_again) as again where again <> all(changed.gone)
    ) end
  from (
    select receiver, sum(number) as number, array_agg(seq) filter (where number > 0) as gone,
      coalesce(sum(number) filter (where seq > seen), 0) as unseen
    from (
      select receiver, seq, known.seen_up_to as seen, sum(number) as number
      from (
        {rows}
      ) as rows (receiver, number, seq)
      join inboxes as known on user_id = receiver
        and (seq > known.read_up_to or seq = any(known.unread_again))
      group by receiver, seq, known.seen_up_to
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
_UNREAD = "select receiver, {sign}1, seq from {table} where not is_read"
_BEFORE, _AFTER = _UNREAD.format(sign="", table="before"), _UNREAD.format(sign="-", table="after")
_TRIGGERS = {"notifications_removed": _BEFORE, "notifications_changed": f"{_BEFORE} union all {_AFTER}"}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        change_table(
            connection,
            "alter table inboxes add column if not exists seen_up_to bigint not null default 0, "
            "add column if not exists seen_settled bigint not null default 0",
        )
        for name, rows in _TRIGGERS.items():
            connection.exec_driver_sql(_COUNT.format(name=name, rows=rows))


def downgrade() -> None:
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        for name, rows in _TRIGGERS.items():
            connection.exec_driver_sql(_COUNT_BEFORE.format(name=name, rows=rows))
        change_table(
            connection,
            "alter table inboxes drop column if exists seen_up_to, drop column if exists seen_settled",
        )
