"""Addresses that people confirm, in Postgres.

A request for a code is a row, which stays for a day: rows are what the limits count. A confirmed address is
the profile's, which is what deliveries go to. A profile that is set otherwise later ends the confirmation
(`PreferenceStore`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.domain.channels import EMAIL, SMS
from app.domain.confirmations import (
    CODE_SECONDS,
    MAX_CODES_PER_HOUR,
    MAX_TRIES_COUNT,
    AddressStatus,
    CodeRequest,
    CodeResult,
    ContactAddress,
    RequestedCode,
)
from app.store.engine import store_errors

_COLUMNS = {EMAIL: "email", SMS: "phone"}
"""Of the profile, by channel."""
# Of a user, and of an address whoever asks. The user first, then the address: all take them in one order, so
# that none can deadlock, the limits hold, and what is confirmed is what the profile has.
LOCK = "select pg_advisory_xact_lock(hashtextextended('notification hub: addresses ' || $1::text, 0))"
_SHOWN = """
select id, channel, address, created_at, expires_at, confirmed_at from addresses
where user_id = $1 and (confirmed_at is not null or code_hash is not null and expires_at > now())
order by created_at, id
"""
# In how many seconds fewer than the limit are of the last hour; null: now. By the clock, as this transaction
# may have begun before those that it waited for.
_WAIT = """
select extract(epoch from created_at + interval '1 hour' - clock_timestamp())::float8 from addresses
where {whose} and created_at > now() - interval '1 hour'
order by created_at desc offset $2 limit 1
"""
_WAIT_OF_USER = _WAIT.format(whose="user_id = $1")
_WAIT_OF_ADDRESS = _WAIT.format(whose="lower(address) = lower($1)")
_END_PENDING = """
update addresses set code_hash = null where user_id = $1 and channel = $2 and code_hash is not null
"""
_ADD = """
insert into addresses (id, user_id, channel, address, code_hash, expires_at)
values ($1, $2, $3, $4, $5, now() + make_interval(secs => $6))
returning id, channel, address, created_at, expires_at, confirmed_at
"""
_CODE = """
select channel, address, code_hash, code_hash is not null and expires_at > now() as valid
from addresses where id = $1 and user_id = $2
"""
_MISS = """
update addresses set tries = tries + 1, code_hash = case when tries + 1 < $2 then code_hash end where id = $1
"""
_CONFIRM = "update addresses set code_hash = null, confirmed_at = now() where id = $1"
_END_CONFIRMED = """
update addresses set confirmed_at = null
where user_id = $1 and channel = $2 and id <> $3 and confirmed_at is not null
"""
_USE = """
insert into preferences (user_id, {column}) values ($1, $2)
on conflict (user_id) do update set {column} = excluded.{column}, updated_at = now()
"""
_REMOVE = "update addresses set code_hash = null, confirmed_at = null where id = $1"
_UNUSE = "update preferences set {column} = null, updated_at = now() where user_id = $1 and {column} = $2"


class AddressStore:
    """Every call raises `Unavailable` when Postgres doesn't answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def of_user(self, user_id: UUID) -> list[ContactAddress]:
        """The user's confirmed addresses, and those with a valid code, the oldest first."""
        with store_errors():
            async with self._engine.connect() as connection:
                return await _shown(connection, user_id)

    async def request(self, wanted: CodeRequest) -> RequestedCode:
        """Note a code for an address, in place of the user's earlier one for the channel.

        An address that the user has confirmed needs no code. At most `MAX_CODES_PER_HOUR` are noted for a
        user, and for an address.
        """
        with store_errors():
            async with self._engine.begin() as connection:
                await connection.exec_driver_sql(LOCK, (str(wanted.user_id),))
                await connection.exec_driver_sql(LOCK, (wanted.address.lower(),))
                for each in await _shown(connection, wanted.user_id):
                    if each.status is AddressStatus.CONFIRMED and each.address == wanted.address:
                        return RequestedCode(each)
                if wait := await _seconds_to_wait(connection, wanted):
                    return RequestedCode(None, retry_after=wait)
                await connection.exec_driver_sql(_END_PENDING, (wanted.user_id, wanted.channel))
                values = (wanted.id, wanted.user_id, wanted.channel, wanted.address, wanted.code_hash)
                added = await connection.exec_driver_sql(_ADD, (*values, CODE_SECONDS))
                return RequestedCode(_address(added.one()), send=True)

    async def confirm(self, user_id: UUID, address_id: UUID, fits: Callable[[bytes], bool]) -> CodeResult:
        """Try a code: whether it `fits` the hash. The right one makes the address the profile's.

        Tries of one code are made one after the other, however many come at once.
        """
        with store_errors():
            async with self._engine.begin() as connection:
                await connection.exec_driver_sql(LOCK, (str(user_id),))
                found = await connection.exec_driver_sql(_CODE, (address_id, user_id))
                row = found.one_or_none()
                if row is None:
                    return CodeResult.NO_ADDRESS
                if not row.valid:
                    return CodeResult.NONE_VALID
                if not fits(row.code_hash):
                    await connection.exec_driver_sql(_MISS, (address_id, MAX_TRIES_COUNT))
                    return CodeResult.WRONG
                await connection.exec_driver_sql(_CONFIRM, (address_id,))
                await connection.exec_driver_sql(_END_CONFIRMED, (user_id, row.channel, address_id))
                use = _USE.format(column=_COLUMNS[row.channel])
                await connection.exec_driver_sql(use, (user_id, row.address))
                return CodeResult.RIGHT

    async def remove(self, user_id: UUID, address_id: UUID) -> bool:
        """Remove an address of `of_user`, from the profile too; whether there was one."""
        with store_errors():
            async with self._engine.begin() as connection:
                await connection.exec_driver_sql(LOCK, (str(user_id),))
                found = await connection.exec_driver_sql(_CODE, (address_id, user_id))
                row = found.one_or_none()
                shown = {each.id: each for each in await _shown(connection, user_id)}
                if row is None or address_id not in shown:
                    return False
                await connection.exec_driver_sql(_REMOVE, (address_id,))
                if shown[address_id].status is AddressStatus.CONFIRMED:
                    unuse = _UNUSE.format(column=_COLUMNS[row.channel])
                    await connection.exec_driver_sql(unuse, (user_id, row.address))
                return True


async def _shown(connection: AsyncConnection, user_id: UUID) -> list[ContactAddress]:
    found = await connection.exec_driver_sql(_SHOWN, (user_id,))
    return [_address(row) for row in found]


def _address(row: Any) -> ContactAddress:
    confirmed: datetime | None = row.confirmed_at
    status = AddressStatus.PENDING if confirmed is None else AddressStatus.CONFIRMED
    expires_at = row.expires_at if confirmed is None else None
    return ContactAddress(row.id, row.channel, row.address, status, row.created_at, expires_at)


async def _seconds_to_wait(connection: AsyncConnection, wanted: CodeRequest) -> float:
    waits = [0.0]
    for statement, whose in ((_WAIT_OF_USER, wanted.user_id), (_WAIT_OF_ADDRESS, wanted.address)):
        found = await connection.exec_driver_sql(statement, (whose, MAX_CODES_PER_HOUR - 1))
        waits.append(found.scalar_one_or_none() or 0.0)
    return max(waits)
