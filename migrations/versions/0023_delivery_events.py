"""What providers report of deliveries: delivered, deferred, bounced, complained, opened.

Found by the delivery. `key` makes a report that arrives again the same row.
"""

from __future__ import annotations

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table delivery_events (
          delivery_id uuid not null references deliveries (id) on delete cascade,
          key text not null,
          kind text not null,
          happened_at timestamptz not null,
          detail text,
          created_at timestamptz not null default now(),
          primary key (delivery_id, key)
        )
    """)


def downgrade() -> None:
    op.execute("drop table delivery_events")
