"""Outbound webhooks report what was seen.

As in 0028, a trigger looks at updates of one column only: no insert costs more.
"""

from __future__ import annotations

from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None

_FUNCTION = """
create function webhook_of_seen() returns trigger language plpgsql as $$
begin
  perform webhook_emit(
    'notification.seen', new.user_id,
    jsonb_build_object('user_id', new.user_id, 'seen_up_to', new.seen_up_to)
  );
  return null;
end $$
"""


def upgrade() -> None:
    op.execute(_FUNCTION)
    op.execute(
        "create trigger webhook_of_seen after update of seen_up_to on inboxes for each row "
        "when (new.seen_up_to > old.seen_up_to) execute function webhook_of_seen()"
    )


def downgrade() -> None:
    op.execute("drop trigger webhook_of_seen on inboxes")
    op.execute("drop function webhook_of_seen()")
