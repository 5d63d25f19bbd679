"""Topics that people follow: the audiences of broadcasts.

Followers are read in pages by their ids, which is the order of the primary key. The second index is for what
a person follows, and for erasure.
"""

from __future__ import annotations

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table topics (
          key text primary key,
          open boolean not null default false,
          created_at timestamptz not null default now()
        )
    """)
    op.execute("""
        create table topic_followers (
          topic_key text not null,
          user_id uuid not null,
          followed_at timestamptz not null default now(),
          primary key (topic_key, user_id)
        )
    """)
    op.execute("create index topic_followers_user on topic_followers (user_id, topic_key)")


def downgrade() -> None:
    op.execute("drop table topic_followers")
    op.execute("drop table topics")
