"""Decisions not to notify that leave no delivery, for `GET /events/{id}/explain`.

Ordinary events write no row. Found by the event; the index on the age is for the retention.
"""

from __future__ import annotations

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table decisions (
          event_id text not null,
          id bigint generated always as identity,
          channel text not null,
          user_id uuid,
          address text,
          reason text not null,
          created_at timestamptz not null default now(),
          primary key (event_id, id)
        )
    """)
    op.execute("create index decisions_age on decisions (created_at)")


def downgrade() -> None:
    op.execute("drop table decisions")
