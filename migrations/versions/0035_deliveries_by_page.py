"""Indexes of the log of deliveries end with its order, and addresses without a user have one.

A page of an event with many deliveries, or of a user with many, reads as many rows as it shows; erasure finds
deliveries by their address. Made while nodes write. An index that was interrupted is invalid; it is dropped
and made again.
"""

from __future__ import annotations

from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

_NEW = {
    "deliveries_by_user": "(user_id, created_at, id) where user_id is not null",
    "deliveries_by_foreign_user": "(foreign_user_id, created_at, id) where foreign_user_id is not null",
    "deliveries_by_event": "(event_id, created_at, id)",
    "deliveries_address": "(lower(address)) where user_id is null",
}
_OLD = {
    "deliveries_user": "(user_id, created_at)",
    "deliveries_foreign_user": "(foreign_user_id, created_at) where foreign_user_id is not null",
    "deliveries_event": "(event_id)",
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
