"""Updates of broadcasts that run: the pages that are written later have the newer texts.

The table has a row for each broadcast of the last days, so the index is made at once.
"""

from __future__ import annotations

from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        alter table broadcasts
          add column thread_key text,
          add column amendments jsonb not null default '[]',
          add column amended integer not null default 0
    """)
    op.execute(
        "create index broadcasts_thread on broadcasts (thread_key) "
        "where thread_key is not null and finished_at is null"
    )


def downgrade() -> None:
    op.execute("drop index broadcasts_thread")
    op.execute("alter table broadcasts drop column thread_key, drop column amendments, drop column amended")
