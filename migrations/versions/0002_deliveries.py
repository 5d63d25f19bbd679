"""Deliveries: the outbox, and its log of attempts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Uuid()),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("locale", sa.Text(), nullable=False),
        sa.Column("data", JSONB(), nullable=False),
        sa.Column("secret", sa.LargeBinary()),
        sa.Column("replaces", sa.Text()),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True)),
        sa.Column("error_code", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.Column("provider_id", sa.Text()),
        sa.Column("event_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
    )
    under_way = sa.text("next_attempt_at is not null")
    op.create_index("deliveries_due", "deliveries", ["next_attempt_at"], postgresql_where=under_way)
    op.create_index("deliveries_newest", "deliveries", ["created_at", "id"])
    op.create_index("deliveries_user", "deliveries", ["user_id", "created_at"])
    op.create_index("deliveries_event", "deliveries", ["event_id"])
    replacing = sa.text("replaces is not null")
    op.create_index("deliveries_replaces", "deliveries", ["replaces", "event_at"], postgresql_where=replacing)
    op.create_index(
        "deliveries_address", "deliveries", ["address", "finished_at"], postgresql_where=replacing
    )
    op.create_table(
        "delivery_attempts",
        sa.Column(
            "delivery_id", sa.Uuid(), sa.ForeignKey("deliveries.id", ondelete="cascade"), primary_key=True
        ),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("error_code", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.Column("provider_id", sa.Text()),
    )


def downgrade() -> None:
    op.drop_table("delivery_attempts")
    op.drop_table("deliveries")
