"""Steps of migrations that run while nodes write: short locks, small batches, progress.

A migration made of them commits each step by itself, in an `autocommit_block`. Each may be run again, so a
migration that was interrupted continues.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from app.store.migrations import PROGRESS_LOGGER

log = logging.getLogger(PROGRESS_LOGGER)

LOCK_TIMEOUT_MS = 300
"""How long a change of a table waits for its lock; writers that come later wait behind it."""
LOCK_RETRY_SECONDS = 0.5
MAX_LOCK_SECONDS = 600.0
PROGRESS_SECONDS = 2.0
_LOCK_NOT_AVAILABLE = "55P03"
_VALID = "select indisvalid from pg_index where indexrelid = to_regclass($1)"
_INDEXING = """
select phase, round(100 * greatest(blocks_done::numeric / nullif(blocks_total, 0),
                                   tuples_done::numeric / nullif(tuples_total, 0)))::int
from pg_stat_progress_create_index where pid = $1
"""


def change_table(connection: Connection, *statements: str) -> None:
    """Run the statements in one transaction. It is repeated until no lock has to be waited for long.

    Raises `DBAPIError` if a lock isn't free within `MAX_LOCK_SECONDS`.
    """
    deadline = time.monotonic() + MAX_LOCK_SECONDS
    body = ";\n".join([f"perform set_config('lock_timeout', '{LOCK_TIMEOUT_MS}', true)", *statements])
    while True:
        try:
            connection.exec_driver_sql(f"do $change$ begin\n{body};\nend $change$")
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE or time.monotonic() > deadline:
                raise
            time.sleep(LOCK_RETRY_SECONDS)
        else:
            return


def in_batches(connection: Connection, batch: str, total: str, what: str) -> None:
    """Work through a table along a key, a transaction a batch.

    Args:
        connection: In an `autocommit_block`.
        batch: A call that takes the last key (null at first) and returns the last one of its batch, or null
            at the end, and how many rows it changed.
        total: A query for the number of rows to change.
        what: What the rows are, for the log.
    """
    rows: int = connection.exec_driver_sql(total).scalar_one()
    last: Any = None
    done, said = 0, time.monotonic()
    while True:
        last, changed = connection.exec_driver_sql(batch, (last,)).one()
        done += changed
        if last is None:
            return
        if time.monotonic() > said + PROGRESS_SECONDS:
            said = time.monotonic()
            log.info("%d of about %d %s", done, rows, what)


def create_index(connection: Connection, name: str, definition: str, *, unique: bool = False) -> None:
    """Create an index while others write. One that an interrupted migration left invalid is made again.

    Args:
        connection: In an `autocommit_block`.
        name: Of the index.
        definition: What follows `on`: the table, the columns and so on.
        unique: Whether it is unique.
    """
    valid = connection.exec_driver_sql(_VALID, (name,)).scalar_one_or_none()
    if valid:
        return
    if valid is False:
        connection.exec_driver_sql(f"drop index concurrently if exists {name}")
    kind = "unique index" if unique else "index"
    with _indexing(connection, name):
        connection.exec_driver_sql(f"create {kind} concurrently {name} on {definition}")


@contextmanager
def _indexing(connection: Connection, name: str) -> Iterator[None]:
    """Log how far the connection has come with an index, over a second one."""
    pid = connection.exec_driver_sql("select pg_backend_pid()").scalar_one()
    url = connection.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    done = threading.Event()

    async def watch() -> None:
        watching = await asyncpg.connect(url)
        try:
            while not await asyncio.to_thread(done.wait, PROGRESS_SECONDS):
                for phase, percent in await watching.fetch(_INDEXING, pid):
                    log.info("index %s: %s, %s %%", name, phase, percent or 0)
        finally:
            await watching.close()

    thread = threading.Thread(target=asyncio.run, args=(watch(),), name="index progress")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
