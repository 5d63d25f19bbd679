"""What goes along with a delivery; one that is suppressed may have no address."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("attachments", JSONB()))
    op.alter_column("deliveries", "address", nullable=True)


def downgrade() -> None:
    op.execute("delete from deliveries where address is null")
    op.alter_column("deliveries", "address", nullable=False)
    op.drop_column("deliveries", "attachments")
