"""Inboxes know how many notifications are unread, and up to where all are read (033).

It runs while nodes write, in steps that commit by themselves; one that was interrupted continues. Triggers
keep the count, so it holds for nodes of the release before as well. Those don't know of `read_up_to`: what a
new node marks as read by it is shown as unread by an old one.
"""

from __future__ import annotations

from alembic import op

from app.store.online import change_table, in_batches

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

# Whoever changes rows without the lock of the inbox, such as an operator, locks it here, in the order of
# batches. The next statement has a new snapshot, so it sees the inbox as it is locked. A plan that was
# made while tables were empty lives on, therefore no scans.
_COUNT = """
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
_TRIGGER = """
create trigger {name} after {event} on notifications referencing {tables}
for each statement execute function {name}()
"""
_TRIGGERS = {
    "notifications_removed": ("delete", _BEFORE, "old table as before"),
    "notifications_changed": (
        "update",
        f"{_BEFORE} union all {_AFTER}",
        "old table as before new table as after",
    ),
}
_BATCH_ROWS = 100
# The locks keep changes out, and the work has a snapshot that is taken after them.
_BATCH = f"""
create or replace function pg_temp.batch(after uuid, out until uuid, out changed bigint) language plpgsql
set enable_seqscan = off as $$
declare users uuid[];
begin
  select array_agg(user_id) into users from (
    select user_id from inboxes where after is null or user_id > after order by user_id limit {_BATCH_ROWS}
    for update
  ) as locked;
  {{work}};
  get diagnostics changed = row_count;
  until := users[cardinality(users)];
end $$
"""  # noqa: S608
_CALL = "select until, changed from pg_temp.batch($1)"
_COUNT_THEM = """
update inboxes set settled = last_seq - (
  select count(*) from notifications where receiver = user_id and not is_read and seq > read_up_to
)
where user_id = any(users) and settled is null
"""
_MARK_THEM = """
update notifications set is_read = true from inboxes
where user_id = any(users) and receiver = user_id and seq <= read_up_to and not is_read
"""
_UNCOUNTED = "select count(*) from inboxes where settled is null"
_MARKED = "select count(*) from inboxes where read_up_to > 0"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        change_table(
            connection,
            "alter table inboxes add column if not exists read_up_to bigint not null default 0",
            "alter table inboxes add column if not exists settled bigint",
        )
        for name, (event, rows, tables) in _TRIGGERS.items():
            connection.exec_driver_sql(_COUNT.format(name=name, rows=rows))
            change_table(
                connection,
                f"drop trigger if exists {name} on notifications",
                _TRIGGER.format(name=name, event=event, tables=tables),
            )
        # From here on changes of new inboxes are counted.
        change_table(connection, "alter table inboxes alter settled set default 0")
        connection.exec_driver_sql(_BATCH.format(work=_COUNT_THEM))
        in_batches(connection, _CALL, _UNCOUNTED, "inboxes counted")
        change_table(
            connection,
            "alter table inboxes drop constraint if exists inboxes_settled",
            "alter table inboxes add constraint inboxes_settled check (settled is not null) not valid",
        )
        # It reads the table without keeping writers out, and `set not null` needs not.
        connection.exec_driver_sql("alter table inboxes validate constraint inboxes_settled")
        change_table(
            connection,
            "alter table inboxes alter settled set not null",
            "alter table inboxes drop constraint inboxes_settled",
        )


def downgrade() -> None:
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        connection.exec_driver_sql(_BATCH.format(work=_MARK_THEM))
        in_batches(connection, _CALL, _MARKED, "notifications marked as read")
        for name in _TRIGGERS:
            change_table(connection, f"drop trigger if exists {name} on notifications")
            connection.exec_driver_sql(f"drop function if exists {name}()")
        change_table(
            connection,
            "alter table inboxes drop column if exists settled, drop column if exists read_up_to",
        )
