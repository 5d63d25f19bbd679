"""Deliveries are found by separate indexes; codes by one spelling of their address, and in order."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_UNDER_WAY = "next_attempt_at is not null"
_OTHERS, _CODES = (sa.text(f"{_UNDER_WAY} and replaces is {kind}") for kind in ("null", "not null"))
_AMISS = sa.text("status in ('failed', 'expired', 'suppressed')")


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("limit_key", sa.Text()))
    op.add_column(
        "deliveries", sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False)
    )
    op.add_column(
        "deliveries",
        sa.Column("asked_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
    )
    op.execute("update deliveries set limit_key = lower(address) where replaces is not null")
    op.drop_index("deliveries_due", "deliveries")
    op.drop_index("deliveries_address", "deliveries")
    due = ["channel", "next_attempt_at"]
    op.create_index("deliveries_due", "deliveries", due, postgresql_where=_OTHERS)
    op.create_index("deliveries_codes_due", "deliveries", due, postgresql_where=_CODES)
    limited = sa.text("limit_key is not null")
    op.create_index("deliveries_limit", "deliveries", ["limit_key", "finished_at"], postgresql_where=limited)
    amiss = ["status", "created_at", "id"]
    op.create_index("deliveries_amiss", "deliveries", amiss, postgresql_where=_AMISS)
    secret = sa.text("secret is not null")
    op.create_index("deliveries_secret", "deliveries", ["expires_at"], postgresql_where=secret)


def downgrade() -> None:
    for name in ("secret", "amiss", "limit", "codes_due", "due"):
        op.drop_index(f"deliveries_{name}", "deliveries")
    replacing = sa.text("replaces is not null")
    op.create_index(
        "deliveries_address", "deliveries", ["address", "finished_at"], postgresql_where=replacing
    )
    op.create_index(
        "deliveries_due",
        "deliveries",
        [sa.text("(replaces is not null)"), "next_attempt_at"],
        postgresql_where=sa.text(_UNDER_WAY),
    )
    for name in ("asked_at", "number", "limit_key"):
        op.drop_column("deliveries", name)
