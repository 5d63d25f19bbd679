"""What comes over HTTP: events for later, requests with an Idempotency-Key; finding the oldest event ids."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "scheduled_events",
        sa.Column("event_id", sa.Text(), primary_key=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("send_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.Text(), server_default="scheduled", nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("taken_until", sa.DateTime(timezone=True)),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
    )
    op.create_index(
        "scheduled_events_due",
        "scheduled_events",
        ["send_at"],
        postgresql_where=sa.text("status = 'scheduled'"),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("service", sa.Text(), primary_key=True),
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("handled_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("answer", sa.LargeBinary()),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
    )
    op.create_index("idempotency_keys_age", "idempotency_keys", ["created_at"])
    op.create_index("processed_events_age", "processed_events", ["processed_at"], postgresql_using="brin")


def downgrade() -> None:
    op.drop_index("processed_events_age", "processed_events")
    op.drop_table("idempotency_keys")
    op.drop_table("scheduled_events")
