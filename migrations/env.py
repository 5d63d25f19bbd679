"""Runs migrations on the database that the caller of Alembic names, else on that of DATABASE_URL.

`alembic upgrade head` reads DATABASE_URL as `run.py` does: from the environment, else from `.env`. It says on
standard error which database that is, and each migration that it runs.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from alembic import context
from sqlalchemy import Connection
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

sys.path.insert(0, str(Path(__file__).parent.parent))

from app.domain.errors import ConfigurationError
from app.settings import dotenv_file, load_section
from app.settings.services import PostgresSettings
from app.store.migrations import progress
from app.store.models import Base


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _url() -> str:
    if given := context.config.attributes.get("database_url"):
        return str(given)
    settings = load_section(PostgresSettings)
    url = settings.session_url.get_secret_value()
    name = "DATABASE_DIRECT_URL" if settings.pooled else "DATABASE_URL"
    from_environment = os.environ.get(name) or not dotenv_file().is_file()
    source = "the environment" if from_environment else dotenv_file().resolve()
    _say(f"Database: {make_url(url).set(query={}).render_as_string()} ({name}, from {source})")
    return url


def _migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        transaction_per_migration=True,
    )
    before = context.get_context().get_current_heads()
    with context.begin_transaction():
        context.run_migrations()
    after = context.get_context().get_current_heads()
    command = getattr(context.config.cmd_opts, "cmd", None)
    if command and command[0].__name__ in ("upgrade", "downgrade"):
        already = ", as it was before" if after == before else ""
        _say(f"The database is at migration {', '.join(after) or 'none'}{already}.")


async def _run(url: str) -> None:
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"), poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(_migrate)
    await engine.dispose()


def _main() -> None:
    say = context.config.attributes.get("say") or (_say if context.config.cmd_opts else None)
    try:
        with progress(say):
            asyncio.run(_run(_url()))
    except ConfigurationError as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"No Postgres answers: {error}. Is DATABASE_URL right, and does that Postgres run?")
    except DBAPIError as error:
        sqlstate = getattr(error.orig, "sqlstate", None) or ""
        if not sqlstate.startswith(("08", "28", "3D", "53", "57")):
            raise  # a migration failed: its trace says where
        why = error.orig and error.orig.__cause__
        sys.exit(f"Postgres refuses the connection: {why}. Is DATABASE_URL right?")


_main()
