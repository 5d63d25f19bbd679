"""Deliveries keep the id that another system gave their user, and are found by it.

A column without a default writes no row, and nodes of before go on. The index holds rows with
such an id only.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("foreign_user_id", sa.Text()))
    op.create_index(
        "deliveries_foreign_user",
        "deliveries",
        ["foreign_user_id", "created_at"],
        postgresql_where=sa.text("foreign_user_id is not null"),
    )


def downgrade() -> None:
    op.drop_index("deliveries_foreign_user", "deliveries")
    op.drop_column("deliveries", "foreign_user_id")
