"""Parked events keep what tells their repeats from conflicts.

A column without a default is added in an instant.
"""

from __future__ import annotations

from alembic import op

from app.store.online import change_table

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        change_table(op.get_bind(), "alter table parked_events add column if not exists fingerprint bigint")


def downgrade() -> None:
    op.execute("alter table parked_events drop column fingerprint")
