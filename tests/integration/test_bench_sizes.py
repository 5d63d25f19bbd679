"""The cases of `python -m bench.sizes` run: at a size that costs nothing."""

from __future__ import annotations

import asyncpg

from bench.size_data import HEAVY, PER_INBOX_COUNT, fill, small_inbox
from bench.sizes import CASES, parse, run_cases


async def test_each_case_runs_on_what_the_generator_writes(database: str) -> None:
    options = parse(["--rows", "100", "--heavy", "40", "--group", "501", "--seconds", "0.05"])
    connection = await asyncpg.connect(database)
    try:
        await fill(connection, options.rows, options.heavy)
        inboxes = await connection.fetch("select user_id, last_seq from inboxes")
        expected = {HEAVY: 40} | {small_inbox(number): PER_INBOX_COUNT for number in range(5)}
        assert dict(map(tuple, inboxes)) == expected
        gaps = """select count(*) from inboxes where last_seq <> (select count(*) from notifications
                  where receiver = user_id and seq between 1 and last_seq)"""
        assert await connection.fetchval(gaps) == 0
        figures = await run_cases(database, options)
        assert {figure.case for figure in figures} == {*CASES}
        erased = await connection.fetchval("select count(*) from notifications where receiver = $1", HEAVY)
        assert erased == 0
    finally:
        await connection.close()
