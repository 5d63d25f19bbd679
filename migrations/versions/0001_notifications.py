"""Notifications, inboxes and processed events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "notifications",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("group_id", sa.Uuid()),
        sa.Column("group_name", sa.Text()),
        sa.Column("receiver", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("template_code", sa.Text(), nullable=False),
        sa.Column("raw_data", JSONB(), nullable=False),
        sa.Column("is_read", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("receiver", "seq", name="notifications_receiver_seq"),
    )
    op.create_index(
        "notifications_unread", "notifications", ["receiver", "seq"], postgresql_where=sa.text("not is_read")
    )
    op.create_table(
        "inboxes",
        sa.Column("user_id", sa.Uuid(), primary_key=True),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
    )
    # Each batch updates these rows: room on the page keeps the updates off the index.
    op.execute("alter table inboxes set (fillfactor = 70)")
    op.create_table(
        "processed_events",
        sa.Column("event_id", sa.Text(), primary_key=True),
        sa.Column("processed_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("processed_events")
    op.drop_table("inboxes")
    op.drop_table("notifications")
