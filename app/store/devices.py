"""Devices in Postgres: who takes web push where, and what a push is about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from app.domain.devices import Device, Subscription
from app.domain.notifications import event_hash
from app.store.direct import direct
from app.store.engine import store_errors

MAX_NOTIFICATIONS_SEARCHED = 500
"""Of an inbox, the newest first, for what a push is about."""
# One user's calls one after the other, so that the maximum holds.
_LOCK = "select pg_advisory_xact_lock(hashtextextended('notification hub: devices ' || $1::text, 0))"
# Of another user's device only with its secret, which the browser alone has.
_ADD = """
insert into devices (id, user_id, endpoint, public_key, auth) values ($1, $2, $3, $4, $5)
on conflict (id) do update
set user_id = excluded.user_id, public_key = excluded.public_key, auth = excluded.auth, seen_at = now(),
  created_at = case when devices.user_id = excluded.user_id then devices.created_at else now() end
where devices.user_id = excluded.user_id or devices.auth = excluded.auth
returning id, endpoint, created_at, seen_at, xmax = 0 as made
"""
_LIMIT = """
delete from devices where user_id = $1 and id <> $2 and id not in (
  select id from devices where user_id = $1 and id <> $2 order by seen_at desc, id limit $3
)
"""
_OF_USER = """
select id, endpoint, created_at, seen_at from devices where user_id = $1 order by created_at, id
"""
# One index probe a user; most have no device.
_OF_USERS = """
select d.user_id, d.id from unnest($1::uuid[]) as wanted (user_id)
cross join lateral (select * from devices where user_id = wanted.user_id) as d
order by d.created_at, d.id
"""
_REMOVE = "delete from devices where id = $1 and user_id = $2"
_PRUNE = "delete from devices where id = $1 and auth = $2"
_TARGET = "select user_id, endpoint, public_key, auth from devices where id = $1"
_ABOUT = """
select n.id, n.is_read or n.seq <= coalesce(i.read_up_to, 0) as is_read
from (
  select id, seq, is_read, event_hash from notifications where receiver = $1 order by seq desc limit $3
) as n left join inboxes i on i.user_id = $1
where n.event_hash = $2
limit 1
"""


class AddedDevice(NamedTuple):
    """A device, and whether it is new."""

    device: Device
    made: bool


class PushTarget(NamedTuple):
    """Where a push goes, and whose device that is now."""

    user_id: UUID
    subscription: Subscription


class PushedNotification(NamedTuple):
    """The notification that a push is about."""

    id: int
    is_read: bool


class DeviceStore:
    """Every call raises `Unavailable` when Postgres doesn't answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._connections = direct(engine)

    async def add(self, user_id: UUID, subscription: Subscription, most: int) -> AddedDevice | None:
        """Add a device of the user, or renew it. Of more than `most` the least recently renewed are removed.

        None if it is another user's device, and `subscription` has another secret than its own.
        """
        with store_errors():
            async with self._engine.begin() as connection:
                await connection.exec_driver_sql(_LOCK, (str(user_id),))
                device_id = subscription.device_id
                found = await connection.exec_driver_sql(_ADD, (device_id, user_id, *subscription))
                row = found.one_or_none()
                if row is None:
                    return None
                await connection.exec_driver_sql(_LIMIT, (user_id, device_id, most - 1))
                return AddedDevice(Device(row.id, row.endpoint, row.created_at, row.seen_at), row.made)

    async def of_user(self, user_id: UUID) -> list[Device]:
        """The user's devices, the oldest first."""
        with store_errors():
            async with self._engine.connect() as connection:
                rows = await connection.exec_driver_sql(_OF_USER, (user_id,))
                return [Device(row.id, row.endpoint, row.created_at, row.seen_at) for row in rows]

    async def of_users(self, users: Collection[UUID]) -> Mapping[UUID, Sequence[UUID]]:
        """The ids of the devices of those of `users` who have any."""
        found: defaultdict[UUID, list[UUID]] = defaultdict(list)
        if users:
            with store_errors():
                for user_id, device_id in await self._connections.fetch(_OF_USERS, list({*users})):
                    found[user_id].append(device_id)
        return found

    async def remove(self, user_id: UUID, device_id: UUID) -> bool:
        """Remove a device of the user; whether there was one."""
        with store_errors():
            async with self._engine.begin() as connection:
                removed = await connection.exec_driver_sql(_REMOVE, (device_id, user_id))
                return removed.rowcount > 0

    async def prune(self, device_id: UUID, auth: bytes) -> None:
        """Remove a device that its push service knows no more, unless it was registered again meanwhile."""
        with store_errors():
            async with self._engine.begin() as connection:
                await connection.exec_driver_sql(_PRUNE, (device_id, auth))

    async def target(self, device_id: UUID) -> PushTarget | None:
        """Where a push to the device goes; None if it was removed."""
        with store_errors():
            async with self._engine.connect() as connection:
                found = await connection.exec_driver_sql(_TARGET, (device_id,))
                row = found.one_or_none()
                if row is None:
                    return None
                return PushTarget(row.user_id, Subscription(row.endpoint, row.public_key, row.auth))

    async def notification(self, user_id: UUID, event_id: str) -> PushedNotification | None:
        """The user's notification of an event; None if it was deleted, or has many newer ones."""
        values = (user_id, event_hash(event_id), MAX_NOTIFICATIONS_SEARCHED)
        with store_errors():
            async with self._engine.connect() as connection:
                row = (await connection.exec_driver_sql(_ABOUT, values)).one_or_none()
                return None if row is None else PushedNotification(row.id, row.is_read)
