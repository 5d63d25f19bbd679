"""Indexes of parked events that only their own queries can use.

Each index of a table that is empty costs the same. A plan that was made then could look for a group by
reading the whole index of another column, and lived on while 10,000 events were parked.
"""

from __future__ import annotations

from alembic import op

from app.store.online import create_index

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_NAMES = {"group": "group_id", "key": "order_key"}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        for name, column in _NAMES.items():
            columns = f"parked_events ({column}, id) where finished_at is null and {column} is not null"
            create_index(connection, f"parked_events_of_{name}", columns)
            connection.exec_driver_sql(f"drop index concurrently if exists parked_events_{name}")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        for name, column in _NAMES.items():
            create_index(
                connection, f"parked_events_{name}", f"parked_events ({column}) where finished_at is null"
            )
            connection.exec_driver_sql(f"drop index concurrently if exists parked_events_of_{name}")
