"""One-time codes are looked for apart from other deliveries: none waits behind those."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_UNDER_WAY = sa.text("next_attempt_at is not null")


def upgrade() -> None:
    op.drop_index("deliveries_due", "deliveries")
    op.create_index(
        "deliveries_due",
        "deliveries",
        [sa.text("(replaces is not null)"), "next_attempt_at"],
        postgresql_where=_UNDER_WAY,
    )


def downgrade() -> None:
    op.drop_index("deliveries_due", "deliveries")
    op.create_index("deliveries_due", "deliveries", ["next_attempt_at"], postgresql_where=_UNDER_WAY)
