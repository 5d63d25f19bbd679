"""Each filter of `GET /deliveries` has an index in the order of the list. Made while nodes write.

An index that was interrupted is invalid; it is dropped and made again.
"""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_NEW = {
    "deliveries_status": "(status, created_at, id)",
    "deliveries_channel": "(channel, created_at, id)",
}
_OLD = {
    "deliveries_amiss": "(status, created_at, id) where status in ('failed', 'expired', 'suppressed')",
}


def upgrade() -> None:
    _replace(_OLD, _NEW)


def downgrade() -> None:
    _replace(_NEW, _OLD)


def _replace(old: dict[str, str], new: dict[str, str]) -> None:
    with op.get_context().autocommit_block():
        for name, columns in new.items():
            op.execute(f"drop index concurrently if exists {name}")
            op.execute(f"create index concurrently {name} on deliveries {columns}")
        for name in old:
            op.execute(f"drop index concurrently if exists {name}")
