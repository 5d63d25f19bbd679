"""Parked events: they wait in Postgres, so that offsets and acknowledgements don't wait for them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_PARKED = sa.text("finished_at is null")


def upgrade() -> None:
    time = sa.DateTime(timezone=True)
    op.create_table(
        "parked_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
        sa.Column("position", sa.Text(), nullable=False),
        sa.Column("lane", sa.Uuid(), nullable=False),
        sa.Column("group_id", sa.Uuid()),
        sa.Column("order_key", sa.LargeBinary()),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("event_type", sa.Text()),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("dedup_key", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text()),
        sa.Column("happened_at", time),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("labels", sa.LargeBinary()),
        sa.Column("parked_at", time, server_default=sa.func.now(), nullable=False),
        sa.Column("next_attempt_at", time, server_default=sa.func.now(), nullable=False),
        sa.Column("deadline", time, nullable=False),
        sa.Column("leased_until", time),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("fresh", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("optional", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("finished_at", time),
        sa.UniqueConstraint("position", name="parked_events_position"),
    )
    for name, columns in {"lane": ["lane", "id"], "group": ["group_id"], "key": ["order_key"]}.items():
        op.create_index(f"parked_events_{name}", "parked_events", columns, postgresql_where=_PARKED)
    op.create_index(
        "parked_events_done",
        "parked_events",
        ["finished_at"],
        postgresql_where=sa.text("finished_at is not null"),
    )


def downgrade() -> None:
    op.drop_table("parked_events")
