"""The suppression list, and what deliveries need for it: their category. SMS: the number of segments.

Columns without a default are added in an instant. No index: the list is found by its key.
"""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table suppressions (
          channel text not null,
          address bytea not null,
          category text not null,
          reason text not null,
          until timestamptz,
          created_at timestamptz not null default now(),
          primary key (channel, address, category)
        )
    """)
    op.execute("alter table deliveries add column category text, add column segments integer")


def downgrade() -> None:
    op.execute("alter table deliveries drop column category, drop column segments")
    op.execute("drop table suppressions")
