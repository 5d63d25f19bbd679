"""Which migration the code needs, read from the migrations themselves; and running them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

PROGRESS_LOGGER = "alembic.runtime.migration.progress"
"""On which a migration says how far it has come."""

ROOT = Path(__file__).parent.parent.parent


def _config() -> Config:
    config = Config(ROOT / "alembic.ini")
    config.set_main_option("script_location", str(ROOT / "migrations"))
    return config


def head() -> str:
    """The newest migration."""
    found = ScriptDirectory.from_config(_config()).get_current_head()
    assert found is not None
    return found


class _MigrationLines(logging.Handler):
    """Passes on the lines in which Alembic names a migration before it runs it, and how far that has come."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        if str(record.msg).startswith("Running") or record.name == PROGRESS_LOGGER:
            self._say(f"  {record.getMessage()}")


@contextmanager
def progress(say: Callable[[str], None] | None) -> Iterator[None]:
    """Have `say` called with a line for each migration, before it runs, and how far a long one has come."""
    if say is None:
        yield
        return
    logger, handler = logging.getLogger("alembic.runtime.migration"), _MigrationLines(say)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


def upgrade(database_url: str, to: str = "head", say: Callable[[str], None] | None = None) -> None:
    """Bring the database to a migration; what it has already is left as it is.

    Args:
        database_url: The database.
        to: The migration.
        say: Is called with a line for each migration, before it runs, and how far a long one has come.
    """
    config = _config()
    config.attributes["database_url"] = database_url
    config.attributes["say"] = say
    command.upgrade(config, to)


def downgrade(database_url: str, to: str) -> None:
    """Take the database back to a migration (`base`: to nothing)."""
    config = _config()
    config.attributes["database_url"] = database_url
    command.downgrade(config, to)
