"""Addresses that people confirm by a code: which were asked for, and which are confirmed.

A new table, so nobody waits for a lock.
"""

from __future__ import annotations

from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table addresses (
          id uuid primary key,
          user_id uuid not null,
          channel text not null,
          address text not null,
          code_hash bytea,
          tries smallint not null default 0,
          created_at timestamptz not null default now(),
          expires_at timestamptz not null,
          confirmed_at timestamptz
        )
    """)
    op.execute("create index addresses_user on addresses (user_id, created_at)")
    op.execute("create index addresses_address on addresses (lower(address), created_at)")
    op.execute("create index addresses_age on addresses (created_at)")


def downgrade() -> None:
    op.execute("drop table addresses")
