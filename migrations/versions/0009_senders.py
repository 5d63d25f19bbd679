"""Who sent what is for later: only they may cancel it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("scheduled_events", sa.Column("sender", sa.Text()))


def downgrade() -> None:
    op.drop_column("scheduled_events", "sender")
