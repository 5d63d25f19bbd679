"""What tells a repeat of an event from another one with its id; rows of before match anything."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name, kind in (
        ("fingerprint", sa.BigInteger()),
        ("sender", sa.Text()),
        ("position", sa.BigInteger()),
    ):
        op.add_column("processed_events", sa.Column(name, kind))
    op.add_column("scheduled_events", sa.Column("fingerprint", sa.BigInteger()))


def downgrade() -> None:
    op.drop_column("scheduled_events", "fingerprint")
    for name in ("position", "sender", "fingerprint"):
        op.drop_column("processed_events", name)
