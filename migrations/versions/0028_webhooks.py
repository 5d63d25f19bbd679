"""Outbound webhooks: the endpoints, and the messages to them.

Triggers write the messages, in the transaction of what they report. They look at updates of a status only: no
insert of a notification or a delivery costs more, and without endpoints nothing is written.
"""

from __future__ import annotations

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

_TABLES = (
    """
    create table webhook_endpoints (
      id uuid primary key,
      url text not null,
      kinds text[] not null,
      secret bytea not null,
      previous_secret bytea,
      previous_until timestamptz,
      failing_since timestamptz,
      disabled_at timestamptz,
      disabled_reason text,
      created_at timestamptz not null default now()
    )
    """,
    """
    create table webhook_messages (
      id uuid primary key default gen_random_uuid(),
      endpoint_id uuid not null references webhook_endpoints (id) on delete cascade,
      kind text not null,
      user_id uuid,
      data jsonb not null,
      status text not null default 'pending',
      attempts integer not null default 0,
      next_attempt_at timestamptz default now(),
      error text,
      created_at timestamptz not null default now(),
      asked_at timestamptz not null default now(),
      finished_at timestamptz
    )
    """,
    """
    create index webhook_messages_due on webhook_messages (endpoint_id, next_attempt_at)
    where next_attempt_at is not null
    """,
    "create index webhook_messages_age on webhook_messages (created_at)",
)
_FUNCTIONS = (
    """
    create function webhook_emit(kind text, about uuid, data jsonb) returns void language sql as $$
      insert into webhook_messages (endpoint_id, kind, user_id, data)
      select e.id, kind, about, data from webhook_endpoints e
      where e.disabled_at is null and kind = any(e.kinds)
    $$
    """,
    """
    create function webhook_of_delivery() returns trigger language plpgsql as $$
    begin
      perform webhook_emit(
        'delivery.' || case when new.status = 'expired' then 'failed' else new.status end,
        new.user_id,
        jsonb_build_object(
          'delivery_id', new.id, 'event_id', new.event_id, 'user_id', new.user_id,
          'foreign_user_id', new.foreign_user_id, 'channel', new.channel, 'category', new.category,
          'template', new.template, 'status', new.status, 'reason', new.reason,
          'error_code', new.error_code, 'provider_id', new.provider_id
        )
      );
      return null;
    end $$
    """,
    """
    create function webhook_of_read() returns trigger language plpgsql as $$
    begin
      perform webhook_emit(
        'notification.read', new.receiver,
        jsonb_build_object('notification_id', new.id, 'user_id', new.receiver, 'seq', new.seq)
      );
      return null;
    end $$
    """,
    """
    create function webhook_of_archive() returns trigger language plpgsql as $$
    begin
      perform webhook_emit(
        'notification.archived', new.receiver,
        jsonb_build_object('notification_id', new.id, 'user_id', new.receiver, 'seq', new.seq)
      );
      return null;
    end $$
    """,
    """
    create function webhook_of_read_all() returns trigger language plpgsql as $$
    begin
      perform webhook_emit(
        'notification.read', new.user_id,
        jsonb_build_object('user_id', new.user_id, 'read_up_to', new.read_up_to)
      );
      return null;
    end $$
    """,
)
_TRIGGERS = {
    "webhook_of_delivery": (
        "update of status on deliveries",
        "new.status in ('sent', 'delivered', 'failed', 'expired') and new.status is distinct from old.status",
    ),
    "webhook_of_read": ("update of is_read on notifications", "new.is_read and not old.is_read"),
    "webhook_of_read_all": (
        "update of read_up_to on inboxes",
        "new.read_up_to > old.read_up_to",
    ),
    "webhook_of_archive": ("insert on archived_notifications", "new.snoozed_until is null"),
}


def upgrade() -> None:
    for statement in (*_TABLES, *_FUNCTIONS):
        op.execute(statement)
    for name, (change, condition) in _TRIGGERS.items():
        op.execute(
            f"create trigger {name} after {change} for each row when ({condition}) execute function {name}()"
        )


def downgrade() -> None:
    for name, (change, _) in _TRIGGERS.items():
        op.execute(f"drop trigger {name} on {change.rpartition(' ')[2]}")
        op.execute(f"drop function {name}()")
    op.execute("drop function webhook_emit(text, uuid, jsonb)")
    op.execute("drop table webhook_messages")
    op.execute("drop table webhook_endpoints")
