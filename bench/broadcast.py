"""One event for very many people, beside live traffic (decision 042)."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from bench.cases import WARM_UP_EACH, Stage, pace, percentiles
from bench.progress import bar
from bench.results import BroadcastRun
from bench.size_data import small_inbox
from bench.stalled_readers import watched_memory

TOPIC = "bench"
MAX_QUIET_ROUNDS = 3
"""Without progress, after which the run is given up."""
_CHUNK_ROWS = 50_000
_STATE = """
select state, passed, extract(epoch from coalesce(finished_at, now()) - created_at)::float8 as seconds
from broadcasts where event_id = $1
"""
_TOLD = "select count(*), count(distinct receiver) from notifications where template_code = 'MESSAGE'"


def broadcast(stage: Stage, people: int, rate: float, seconds: float) -> BroadcastRun:
    """Let the hub work off a broadcast to `people` whom nobody is connected for, beside a paced load: first
    without it, then with it until it is done.
    """
    asyncio.run(_follow(stage, people))
    serial, events = stage.users * WARM_UP_EACH, int(rate * seconds)
    pace(stage, stage.load(serial, events), rate, "warming up")
    calm = pace(stage, stage.load(serial + events, events), rate, "calm")
    problems = [*calm.received.problems]
    serial += 2 * events
    before = stage.server.process.memory_info().rss
    event = {
        "event_id": TOPIC,
        "type": "inapp",
        "title": "News",
        "message": "M",
        "audience": {"topic": TOPIC},
    }
    stage.publisher.send(msgspec.json.encode(event))
    p99, passed, quiet, state = [], 0, 0, None
    with watched_memory(stage) as sizes:
        while quiet < MAX_QUIET_ROUNDS and (state is None or state["state"] == "running"):
            run = pace(stage, stage.load(serial, events), rate, f"{passed:,} of {people:,} people")
            serial += events
            p99.append(percentiles(run.received)["p99"])
            problems += run.received.problems
            state = asyncio.run(_one(stage, _STATE, TOPIC))
            quiet = 0 if state is not None and state["passed"] > passed else quiet + 1
            passed = 0 if state is None else state["passed"]
    rows, told = asyncio.run(_one(stage, _TOLD))
    if state is None or state["state"] != "done" or not rows == told == passed == people:
        problems.append(f"{told:,} of {people:,} people were notified, with {rows:,} rows")
    return BroadcastRun(
        people=people,
        seconds=0.0 if state is None else state["seconds"],
        rate=rate,
        p99_calm=percentiles(calm.received)["p99"],
        p99_meanwhile=statistics.median(p99),
        p99_worst=max(p99),
        memory=max(sizes) / before,
        problems=problems,
    )


async def _follow(stage: Stage, people: int) -> None:
    connection = await asyncpg.connect(stage.site.database_of(stage.server.target))
    try:
        with bar("followers", people, "people") as progress:
            for first in range(0, people, _CHUNK_ROWS):
                end = min(people, first + _CHUNK_ROWS)
                await connection.copy_records_to_table(
                    "topic_followers", records=_followers(first, end), columns=("topic_key", "user_id")
                )
                progress(end)
        await connection.execute("analyze topic_followers")
    finally:
        await connection.close()


def _followers(first: int, end: int) -> Iterator[tuple[str, UUID]]:
    return ((TOPIC, small_inbox(number)) for number in range(first, end))


async def _one(stage: Stage, statement: str, *values: object) -> Any:
    connection = await asyncpg.connect(stage.site.database_of(stage.server.target))
    try:
        return await connection.fetchrow(statement, *values)
    finally:
        await connection.close()
