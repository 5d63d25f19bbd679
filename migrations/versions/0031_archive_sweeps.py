"""Archive-all by the inbox's row (046).

A new table, and a column with a constant default, which is added in an instant. Nodes of the release before
show what is archived with all until its rows are moved, for seconds.
"""

from __future__ import annotations

from alembic import op

from app.store.online import change_table

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

_TABLE = """
create table if not exists archive_sweeps (
  receiver uuid not null,
  up_to bigint not null,
  from_seq bigint not null,
  read_up_to bigint not null,
  unread_again bigint[],
  constraint archive_sweeps_pkey primary key (receiver, up_to)
)
"""
_MOVE_ALL = """
with moved as (
  delete from notifications using archive_sweeps as sweep
  where notifications.receiver = sweep.receiver and seq > from_seq and seq <= up_to
  returning notifications.*, (
    is_read or (seq <= sweep.read_up_to and coalesce(seq <> all(sweep.unread_again), true))
  ) as was_read
)
insert into archived_notifications (id, group_id, group_name, receiver, created_at, template_code, raw_data,
  is_read, title, content, seq, event_hash, details, thread_key, expires_at)
select id, group_id, group_name, receiver, created_at, template_code, raw_data,
  was_read, title, content, seq, event_hash, details, thread_key, expires_at
from moved
"""


def upgrade() -> None:
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        connection.exec_driver_sql(_TABLE)
        change_table(
            connection,
            "alter table inboxes add column if not exists archived_up_to bigint not null default 0",
        )


def downgrade() -> None:
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        change_table(
            connection,
            _MOVE_ALL,
            "alter table inboxes drop column if exists archived_up_to",
            "drop table archive_sweeps",
        )
