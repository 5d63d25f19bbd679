"""Throttles, checked again in the transaction that writes what they let through.

Batches are planned before their transaction, on several nodes at once, so each plan counts without the
others. A lock for the receiver makes the second transaction count what the first has committed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import asyncpg

from app.domain.errors import PlanOutdated
from app.domain.waiting import RecentDeliveries
from app.store.records import EventRecord
from app.store.waiting import RECENT

LOCKS_COUNT = 256
"""How many locks there are in all: a page of a broadcast with one for each of its people would exhaust the
lock table of Postgres, which has room for some thousands. Receivers who share one wait for each other.
"""
_LOCK = (
    "select pg_advisory_xact_lock(hashtext('notification hub: throttles'), lock) from unnest($1::int[]) lock"
)


def throttled(entries: Sequence[EventRecord]) -> Mapping[RecentDeliveries, tuple[int, int]]:
    """Whose deliveries the throttles count: how many events of these they let through, and the maximum."""
    found: dict[RecentDeliveries, tuple[int, int]] = {}
    for entry in entries:
        theirs = {
            RecentDeliveries(draft.user_id, category, draft.channel, throttle.seconds): throttle.most
            for draft, _, _, _, _, category, _, throttle in entry.deliveries
            if throttle is not None and draft.user_id is not None and category is not None
        }
        for wanted, most in theirs.items():
            found[wanted] = found.get(wanted, (0, most))[0] + 1, most
    return found


async def check_throttles(connection: asyncpg.Connection, entries: Sequence[EventRecord]) -> None:
    """Let no other transaction write more for the receivers of throttled deliveries until this one ends.

    Call it first in the transaction: nothing that others wait for is locked before. The locks are taken in
    one order, so that two transactions can't deadlock.

    Raises:
        PlanOutdated: A throttle was reached since the entries were planned.
    """
    wanted = throttled(entries)
    if not wanted:
        return
    await connection.execute(_LOCK, sorted({_lock(each) for each in wanted}))
    columns = [list(column) for column in zip(*wanted, strict=True)]
    counts = await connection.fetch(RECENT, *columns)  # sees what was committed before the locks were free
    if any(row[0] + new > most for row, (new, most) in zip(counts, wanted.values(), strict=True)):
        raise PlanOutdated


def _lock(wanted: RecentDeliveries) -> int:
    what = "\0".join((str(wanted.user_id), wanted.category, wanted.channel))
    return int.from_bytes(hashlib.blake2b(what.encode(), digest_size=4).digest()) % LOCKS_COUNT
