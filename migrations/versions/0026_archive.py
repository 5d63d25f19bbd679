"""Archived and snoozed notifications, beside those of the inboxes.

A new table. Nothing changes for `notifications`: no batch that writes, and no list, looks at it.
"""

from __future__ import annotations

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

_TABLE = """
create table archived_notifications (
  id bigint not null,
  group_id uuid,
  group_name varchar(255),
  receiver uuid not null,
  created_at timestamptz not null,
  template_code varchar(100) not null,
  raw_data jsonb not null,
  is_read boolean not null,
  title varchar(255) not null,
  content text not null,
  seq bigint not null,
  event_hash bigint,
  details jsonb,
  thread_key text,
  expires_at timestamptz,
  snoozed_until timestamptz,
  constraint archived_notifications_pkey primary key (id)
)
"""
_INDEXES = {
    "archived_notifications_archive": "(receiver, seq) where snoozed_until is null",
    "archived_notifications_snoozed": "(receiver, seq) where snoozed_until is not null",
    "archived_notifications_due": "(snoozed_until) where snoozed_until is not null",
    "archived_notifications_age": "(created_at)",
    "archived_notifications_expiry": "(expires_at) where expires_at is not null",
}
_BACK = """
insert into notifications (id, group_id, group_name, receiver, created_at, template_code, raw_data, is_read,
  title, content, seq, event_hash, details, thread_key, expires_at)
select id, group_id, group_name, receiver, created_at, template_code, raw_data, is_read,
  title, content, seq, event_hash, details, thread_key, expires_at
from archived_notifications join inboxes on user_id = receiver and seq > removed_up_to
"""
_COUNT = """
update inboxes set settled = settled - (
  select count(*) from archived_notifications where receiver = user_id and not is_read and seq > read_up_to
)
where user_id in (select receiver from archived_notifications)
"""


def upgrade() -> None:
    op.execute(_TABLE)
    for name, columns in _INDEXES.items():
        op.execute(f"create index {name} on archived_notifications {columns}")


def downgrade() -> None:
    """What was archived is in the inboxes again."""
    for statement in (_COUNT, _BACK, "drop table archived_notifications"):
        op.execute(statement)
