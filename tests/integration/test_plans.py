"""Plans that Postgres makes while a table is empty, and keeps while it grows: none reads a whole table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from app.store import (
    counters,
    delivery_statements,
    event_ids,
    inbox_locks,
    notifications,
    parked,
    preferences,
    scheduled,
    watermarks,
)
from app.store.direct import direct
from tests.support.store import engine_on

OF_BATCHES = {
    "lanes of parked events": parked._LANES,
    "parked events are stored": parked._DELETE,
    "ids that are known": event_ids._PROCESSED,
    "ids of scheduled events": event_ids._SCHEDULED,
    "locked inboxes": inbox_locks._LOCKED,
    "people": preferences._PEOPLE,
    "deliveries are finished": delivery_statements.FINISH,
    "attempts are noted": delivery_statements.NOTE,
}
OF_OTHERS = {
    "a parked event is tried again": parked._RETRY,
    "parked events are released": parked._RELEASE,
    "leases are renewed": parked._RENEW,
    "parked events are finished": parked._FINISH,
    "a parked event is found": parked._FIND,
    "counters are compared": counters._COMPARE,
    "a page of an inbox": notifications._PAGES[False],
    "a page of unread ones": notifications._PAGES[True],
    "reading up to one": watermarks._LOOK,
    "deliveries are claimed": delivery_statements.CLAIM,
    "codes are claimed": delivery_statements.CLAIM_CODES,
    "the next delivery": delivery_statements.NEXT_OTHER,
    "scheduled events are claimed": scheduled._CLAIM,
}


@pytest.mark.parametrize("what", OF_BATCHES | OF_OTHERS)
async def test_no_statement_reads_a_whole_table_by_a_plan_from_when_it_was_empty(
    database: str, what: str
) -> None:
    engine = engine_on(database)
    try:
        async with direct(engine).connection() as connection:
            assert await connection.fetchval("show enable_seqscan") == "off"  # of all connections
            if what in OF_OTHERS:
                await connection.execute("reset enable_nestloop")
            await connection.execute(
                f"set plan_cache_mode = force_generic_plan; prepare asked as {(OF_BATCHES | OF_OTHERS)[what]}"
            )
            parameters = (
                "select cardinality(parameter_types) from pg_prepared_statements where name = 'asked'"
            )
            nulls = ", ".join(["null"] * await connection.fetchval(parameters))
            plan = json.loads(await connection.fetchval(f"explain (format json) execute asked({nulls})"))
            await connection.execute("deallocate asked")
    finally:
        await engine.dispose()
    scans = [
        node for node in _nodes(plan[0]["Plan"]) if "Relation Name" in node and "Scan" in node["Node Type"]
    ]
    assert scans
    unbounded = [node for node in scans if not node.keys() & {"Index Cond", "Recheck Cond"}]
    assert not unbounded


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)
