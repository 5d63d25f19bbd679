"""How often an inbox was changed by its user: what orders the counts that clients receive (023).

A constant default is kept in the catalogue, so no row is written, and nodes of before go on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("inboxes", sa.Column("rev", sa.BigInteger(), nullable=False, server_default=sa.text("0")))


def downgrade() -> None:
    op.drop_column("inboxes", "rev")
