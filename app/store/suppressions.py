"""The suppression list: addresses that get nothing, or nothing of a category, over a channel.

Only hashes of addresses are kept: the list must outlive the erasure of a person, and holds no address then.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncEngine

from app.store.engine import store_errors

ALL = ""
"""Instead of a category: every one."""
BOUNCE_DAYS = 30.0
"""Days after which an address that couldn't be delivered to is tried again: mailboxes are made again."""
ADD = """
insert into suppressions (channel, address, category, reason, until)
values ($1, $2, $3, $4, now() + make_interval(secs => $5::float8))
on conflict (channel, address, category) do update
set reason = excluded.reason, until = excluded.until
where suppressions.until is not null or excluded.until is null
"""
# As `hashed` does. The list is short and its key is unique, so a delivery that is claimed costs one probe.
OF_DELIVERY = """
(
  select s.reason from suppressions s
  where s.channel = d.channel and s.category in ('', coalesce(d.category, ''))
    and s.address = sha256(convert_to(lower(d.address collate "C"), 'UTF8'))
    and (s.until is null or s.until > now())
  limit 1
)
"""


_OF_ADDRESSES = f"""
select {OF_DELIVERY} as reason
from unnest($1::text[], $2::text[], $3::text[]) with ordinality as d (channel, address, category, number)
order by d.number
"""  # noqa: S608


def suppressed_because(reason: str) -> str:
    """Why nothing is sent to an address, as deliveries and the dry run say it."""
    return f"the address is suppressed: {reason}"


class SuppressionStore:
    """Every call raises `Unavailable` when Postgres doesn't answer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add(
        self, channel: str, address: str, category: str, reason: str, days: float | None = None
    ) -> None:
        """Send nothing of the category (or `ALL`) to the address any more, or for so many days."""
        with store_errors():
            async with self._engine.begin() as connection:
                await connection.exec_driver_sql(ADD, suppression(channel, address, category, reason, days))

    async def reasons(self, wanted: Sequence[tuple[str, str, str]]) -> Sequence[str | None]:
        """Why nothing is sent, for each channel, address and category; None where something is."""
        if not wanted:
            return []
        columns = tuple(list(column) for column in zip(*wanted, strict=True))
        with store_errors():
            async with self._engine.connect() as connection:
                rows = await connection.exec_driver_sql(_OF_ADDRESSES, columns)
                return [row.reason for row in rows]


def suppression(
    channel: str, address: str, category: str, reason: str, days: float | None
) -> tuple[str, bytes, str, str, float | None]:
    """The values of `ADD`."""
    return channel, hashed(address), category, reason, None if days is None else days * 24 * 3600


def hashed(address: str) -> bytes:
    """The key of an address: its letters of ASCII in lower case, as mail servers take them, and hashed."""
    lower = "".join(c.lower() if c.isascii() else c for c in address)
    return hashlib.sha256(lower.encode()).digest()
