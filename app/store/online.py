"""Steps of migrations that run while nodes write: short locks, small batches, progress.

A migration made of them commits each step by itself, in an `autocommit_block`. Each may be run again, so a
migration that was interrupted continues.
"""

from __future__ import annotations

import logging
import time
from typing import Any

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
