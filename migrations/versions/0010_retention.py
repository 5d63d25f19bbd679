"""Notifications past `RETENTION_DAYS` are found by their age; deliveries have an index for that (017)."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("notifications_age", "notifications", ["created_at"])


def downgrade() -> None:
    op.drop_index("notifications_age", "notifications")
