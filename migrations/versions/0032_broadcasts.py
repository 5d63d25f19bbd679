"""Broadcasts: events for an audience, and how far each of them is.

One row an event. It is updated with each page of receivers, so it keeps no index that such an update would
change but the one on what is due.
"""

from __future__ import annotations

from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table broadcasts (
          event_id text primary key,
          event_type text not null,
          source text not null,
          sender text,
          audience jsonb not null,
          body bytea not null,
          happened_at timestamptz,
          state text not null default 'running',
          reason text,
          people bigint,
          pages integer not null default 0,
          cursor uuid not null default '00000000-0000-0000-0000-000000000000',
          exhausted boolean not null default false,
          deferred uuid[] not null default '{}',
          passed bigint not null default 0,
          notified bigint not null default 0,
          deliveries bigint not null default 0,
          created_at timestamptz not null default now(),
          next_page_at timestamptz not null default now(),
          leased_until timestamptz,
          finished_at timestamptz
        )
    """)
    op.execute("create index broadcasts_due on broadcasts (next_page_at) where state = 'running'")
    op.execute("create index broadcasts_newest on broadcasts (created_at, event_id)")
    op.execute("create index broadcasts_done on broadcasts (finished_at) where finished_at is not null")


def downgrade() -> None:
    op.execute("drop table broadcasts")
