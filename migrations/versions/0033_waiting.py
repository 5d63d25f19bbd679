"""Deliveries that wait: in a digest, or as a step of an escalation; and the digests that people choose.

The columns are null in all rows so far, so adding them rewrites nothing, and both indexes are empty.
"""

from __future__ import annotations

from alembic import op

from app.store.online import change_table, create_index

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        change_table(
            connection,
            """
            alter table deliveries
              add column if not exists digest_id uuid,
              add column if not exists digest_key text,
              add column if not exists digest_latest timestamptz,
              add column if not exists seq bigint,
              add column if not exists only_if text
            """,
            "alter table preferences add column if not exists digests jsonb",
        )
        create_index(connection, "deliveries_digest", "deliveries (digest_id) where digest_id is not null")
        create_index(
            connection,
            "deliveries_open_digest",
            "deliveries (digest_key) where digest_key is not null",
            unique=True,
        )


def downgrade() -> None:
    """What a digest holds is sent by itself."""
    op.execute("update deliveries set status = 'pending', next_attempt_at = now() where status = 'held'")
    op.execute("delete from deliveries where digest_id = id")
    op.execute("drop index deliveries_open_digest")
    op.execute("drop index deliveries_digest")
    op.execute("""
        alter table deliveries drop column digest_id, drop column digest_key, drop column digest_latest,
          drop column seq, drop column only_if
    """)
    op.execute("alter table preferences drop column digests")
