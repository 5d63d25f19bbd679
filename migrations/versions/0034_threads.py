"""Notifications of a thread are found by it: updates and retractions (052).

Both indexes have only rows with a thread, so other notifications cost no more. Made while nodes write.
"""

from __future__ import annotations

from alembic import op

from app.store.online import create_index

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

_TABLES = ("notifications", "archived_notifications")


def upgrade() -> None:
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        for table in _TABLES:
            of = f"{table} (receiver, thread_key) where thread_key is not null"
            create_index(connection, f"{table}_thread", of)


def downgrade() -> None:
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        for table in _TABLES:
            connection.exec_driver_sql(f"drop index concurrently if exists {table}_thread")
