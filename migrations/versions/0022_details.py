"""What notifications carry beside their texts, and when they expire.

Columns without a default are added in an instant. The index has the rows only that expire.
"""

from __future__ import annotations

from alembic import op

from app.store.online import change_table, create_index

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        change_table(
            connection,
            "alter table notifications add column if not exists details jsonb, "
            "add column if not exists thread_key text, add column if not exists expires_at timestamptz",
        )
        create_index(
            connection, "notifications_expiry", "notifications (expires_at) where expires_at is not null"
        )


def downgrade() -> None:
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        connection.exec_driver_sql("drop index concurrently if exists notifications_expiry")
        change_table(
            connection,
            "alter table notifications drop column if exists details, drop column if exists thread_key, "
            "drop column if exists expires_at",
        )
