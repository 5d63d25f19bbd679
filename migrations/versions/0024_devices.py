"""Devices that take web push."""

from __future__ import annotations

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table devices (
          id uuid primary key,
          user_id uuid not null,
          endpoint text not null,
          public_key bytea not null,
          auth bytea not null,
          created_at timestamptz not null default now(),
          seen_at timestamptz not null default now()
        )
    """)
    op.execute("create index devices_user on devices (user_id)")


def downgrade() -> None:
    op.execute("drop table devices")
