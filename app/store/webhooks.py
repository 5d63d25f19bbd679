"""Webhook endpoints and the messages to them, in Postgres. Triggers add most messages (migration 0028)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from app.store.engine import store_errors

MAX_ENDPOINTS = 50
_ADD = """
insert into webhook_endpoints (id, url, kinds, secret)
select $1::uuid, $2::text, $3::text[], $4::bytea
where (select count(*) from webhook_endpoints) < $5
"""
_LIST = """
select id, url, kinds, created_at, failing_since, disabled_at, disabled_reason, (
    select count(*) from webhook_messages where endpoint_id = e.id and next_attempt_at is not null
  ) as pending, (
    select count(*) from webhook_messages where endpoint_id = e.id and status = 'failed'
  ) as failed
from webhook_endpoints e order by created_at, id
"""
_ROTATE = """
update webhook_endpoints set previous_secret = secret, previous_until = now() + make_interval(secs => $3),
  secret = $2
where id = $1
"""
_ENABLE = """
update webhook_endpoints set disabled_at = null, disabled_reason = null, failing_since = null where id = $1
"""
_REMOVE = "delete from webhook_endpoints where id = $1"
_REPLAY = """
update webhook_messages set status = 'pending', attempts = 0, next_attempt_at = now(), asked_at = now(),
  finished_at = null, error = null
where endpoint_id = $1 and finished_at is not null and created_at >= $2 and (status = 'failed' or $3)
"""
_DUE = """
select e.id from webhook_endpoints e
where e.disabled_at is null and exists (
  select from webhook_messages m where m.endpoint_id = e.id and m.next_attempt_at <= now()
)
"""
# As deliveries are taken: what a dead node had is due again after the lease.
_CLAIM = """
with due as (
  select id from webhook_messages where endpoint_id = $1 and next_attempt_at <= now()
  order by next_attempt_at limit $2 for update skip locked
)
update webhook_messages m
set attempts = attempts + 1, next_attempt_at = now() + make_interval(secs => $3)
from due, webhook_endpoints e
where m.id = due.id and e.id = m.endpoint_id and e.disabled_at is null
returning m.id, m.kind, m.data::text as data, m.attempts, m.created_at, e.url, e.secret,
  case when e.previous_until > now() then e.previous_secret end as previous_secret,
  extract(epoch from now() - m.asked_at)::float8 as age
"""
_SENT = """
with sent as (
  update webhook_messages set status = 'sent', next_attempt_at = null, finished_at = now(), error = null
  where id = $1 and attempts = $2 and finished_at is null returning endpoint_id
)
update webhook_endpoints set failing_since = null
where id = (select endpoint_id from sent) and failing_since is not null
"""
_RETRY = """
with failed as (
  update webhook_messages set error = $3, next_attempt_at = now() + make_interval(secs => $4)
  where id = $1 and attempts = $2 and finished_at is null returning endpoint_id
)
update webhook_endpoints set failing_since = now()
where id = (select endpoint_id from failed) and failing_since is null
"""
_FAILED = """
update webhook_messages set status = 'failed', error = $3, next_attempt_at = null, finished_at = now()
where id = $1 and attempts = $2 and finished_at is null
"""
_DISABLE = """
with disabled as (
  update webhook_endpoints set disabled_at = now(), disabled_reason = $2
  where id = $1 and disabled_at is null and ($3 or failing_since < now() - make_interval(secs => $4))
  returning id
), given_up as (
  update webhook_messages set status = 'failed', next_attempt_at = null, finished_at = now(), error = $2
  where endpoint_id = (select id from disabled) and next_attempt_at is not null
)
select id from disabled
"""
# Of the inbox, or of the archive, as the click may come later; what was deleted with all is gone.
_CLICKED = """
with clicked as (
  select n.id, n.receiver, n.seq, n.details from notifications n join inboxes i on i.user_id = n.receiver
  where n.id = $1 and n.receiver = $2 and n.seq > i.removed_up_to
  union all
  select id, receiver, seq, details from archived_notifications where id = $1 and receiver = $2
)
select webhook_emit('notification.clicked', receiver, jsonb_build_object(
  'notification_id', id, 'user_id', receiver, 'seq', seq, 'action', $3::text
))
from clicked
where $3::text is null or details->'actions' @> jsonb_build_array(jsonb_build_object('id', $3::text))
"""
_EMIT = "select webhook_emit($1, $2::uuid, $3::text::jsonb)"


class Endpoint(NamedTuple):
    """An endpoint as operators see it. Its secrets aren't shown."""

    id: UUID
    url: str
    kinds: Sequence[str]
    created_at: datetime
    failing_since: datetime | None
    disabled_at: datetime | None
    disabled_reason: str | None
    pending: int
    failed: int


class WebhookMessage(NamedTuple):
    """A message that this node may try now. `age` is in seconds since it was asked for; `attempts` counts
    this one.
    """

    id: UUID
    kind: str
    data: msgspec.Raw
    attempts: int
    created_at: datetime
    age: float
    url: str
    secrets: Sequence[bytes]
    """Encrypted: that of now, and for a while the one before."""


class WebhookStore:
    """Every call raises `Unavailable` when Postgres doesn't answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add(self, url: str, kinds: Sequence[str], secret: bytes) -> UUID | None:
        """Add an endpoint: its id; None if there are `MAX_ENDPOINTS` already."""
        made = uuid4()
        return made if await self._change(_ADD, made, url, list(kinds), secret, MAX_ENDPOINTS) else None

    async def endpoints(self) -> Sequence[Endpoint]:
        """All of them, the oldest first."""
        return [Endpoint(**row._asdict()) for row in await self._rows(_LIST)]

    async def rotate(self, endpoint: UUID, secret: bytes, overlap: float) -> bool:
        """Sign with a new secret; for `overlap` seconds with the one before as well."""
        return await self._change(_ROTATE, endpoint, secret, overlap) > 0

    async def enable(self, endpoint: UUID) -> bool:
        """Send to an endpoint that was disabled. What failed meanwhile can be replayed."""
        return await self._change(_ENABLE, endpoint) > 0

    async def remove(self, endpoint: UUID) -> bool:
        """Remove an endpoint with its messages."""
        return await self._change(_REMOVE, endpoint) > 0

    async def replay(self, endpoint: UUID, since: datetime, *, everything: bool = False) -> int:
        """Make messages due again: those that failed, or with `everything` those that were sent, too."""
        return await self._change(_REPLAY, endpoint, since, everything)

    async def due(self) -> Sequence[UUID]:
        """The endpoints with messages that are due."""
        return [row.id for row in await self._rows(_DUE)]

    async def claim(self, endpoint: UUID, most: int, lease: float) -> Sequence[WebhookMessage]:
        """Up to `most` messages that are due, now this node's for `lease` seconds."""
        return [
            WebhookMessage(
                row.id,
                row.kind,
                msgspec.Raw(row.data.encode()),
                row.attempts,
                row.created_at,
                row.age,
                row.url,
                [each for each in (row.secret, row.previous_secret) if each is not None],
            )
            for row in await self._rows(_CLAIM, endpoint, most, lease)
        ]

    async def sent(self, message: WebhookMessage) -> None:
        """The endpoint took it."""
        await self._change(_SENT, message.id, message.attempts)

    async def retry(self, message: WebhookMessage, error: str, seconds: float) -> None:
        """It is due again after so many seconds."""
        await self._change(_RETRY, message.id, message.attempts, error, seconds)

    async def failed(self, message: WebhookMessage, error: str) -> None:
        """It isn't tried again."""
        await self._change(_FAILED, message.id, message.attempts, error)

    async def disable(self, endpoint: UUID, reason: str, after: float | None) -> bool:
        """Send nothing more to an endpoint that has failed for `after` seconds, or (None) at once; whether
        this call did it.
        """
        return bool(await self._rows(_DISABLE, endpoint, reason, after is None, after or 0.0))

    async def emit(self, kind: str, user_id: UUID | None, data: dict[str, Any]) -> None:
        """Add a message for each endpoint that asks for the kind."""
        await self._rows(_EMIT, kind, user_id, msgspec.json.encode(data).decode())

    async def clicked(self, notification: int, user_id: UUID, action: str | None) -> bool:
        """Add a message that the user clicked their notification, or one of its actions; False if there is
        none.
        """
        return bool(await self._rows(_CLICKED, notification, user_id, action))

    async def _rows(self, statement: str, *values: object) -> Sequence[Any]:
        with store_errors():
            async with self._engine.begin() as connection:
                return (await connection.exec_driver_sql(statement, values)).all()

    async def _change(self, statement: str, *values: object) -> int:
        with store_errors():
            async with self._engine.begin() as connection:
                return (await connection.exec_driver_sql(statement, values)).rowcount
