"""The connection pool, and the edge where drivers' errors become the hub's."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
from sqlalchemy import text
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from app.domain.errors import ConfigurationError, StoreRejected, Unavailable
from app.settings.services import PostgresSettings
from app.store.liveness import look_after

# SQLSTATE classes that speak of the values, not of the server: data exception, integrity, program limit.
_ABOUT_VALUES = ("22", "23", "54")


def make_engine(settings: PostgresSettings) -> AsyncEngine:
    """The pool of this node. Every statement is bounded by `settings.timeout`."""
    engine = create_async_engine(
        _url(settings),
        pool_size=settings.pool_size,
        max_overflow=0,
        pool_timeout=settings.timeout,
        connect_args=_how(settings),
    )
    look_after(engine)
    return engine


def connect_arguments(settings: PostgresSettings) -> dict[str, Any]:
    """What `asyncpg.connect` takes for a connection like the pool's own."""
    dialect: Any = PGDialect_asyncpg  # it has no types
    _, arguments = dialect().create_connect_args(_url(settings))
    of_asyncpg = inspect.signature(asyncpg.connect).parameters
    return {name: value for name, value in arguments.items() if name in of_asyncpg} | _how(settings)


def _url(settings: PostgresSettings) -> URL:
    return make_url(settings.url.get_secret_value()).set(drivername="postgresql+asyncpg")


def _how(settings: PostgresSettings) -> dict[str, Any]:
    # Postgres has to give up too: the backend of a connection that was cut in silence would keep its locks,
    # which our next try waits for, until TCP notices, after hours.
    milliseconds = str(math.ceil(settings.timeout * 1000))
    return {
        "timeout": settings.timeout,
        "command_timeout": settings.timeout,
        "server_settings": {
            "application_name": "notification-hub",
            "statement_timeout": milliseconds,
            "idle_in_transaction_session_timeout": milliseconds,
        },
    }


@contextmanager
def store_errors() -> Iterator[None]:
    """Raises `StoreRejected` for values Postgres can't take, `Unavailable` for all else that went wrong."""
    try:
        yield
    except (DataError, IntegrityError) as error:
        raise StoreRejected(_kind(error)) from None
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None) or ""
        if state.startswith(_ABOUT_VALUES):
            raise StoreRejected(_kind(error)) from None
        raise Unavailable("postgres", _first_line(error)) from None
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        raise Unavailable("postgres", _first_line(error)) from None


def _origin(error: BaseException) -> BaseException:
    wrapped: BaseException = getattr(error, "orig", None) or error
    if isinstance(wrapped, TimeoutError):  # its cause is how asyncio ends what takes too long
        return wrapped
    return wrapped.__cause__ or wrapped


def _kind(error: BaseException) -> str:
    """What kind of value it was: the driver's words would quote the value itself, which is a person's."""
    return type(_origin(error)).__name__


def _first_line(error: BaseException) -> str:
    """The driver's own words, without the statement and its parameters."""
    words = str(_origin(error)).splitlines()
    return f"{_kind(error)} {words[0] if words else ''}".strip()


async def clock(engine: AsyncEngine) -> float:
    """Postgres' clock: unix seconds. Raises `Unavailable`."""
    with store_errors():
        async with engine.connect() as connection:
            found = await connection.scalar(text("select extract(epoch from clock_timestamp())"))
            return float(found)


async def check_postgres(engine: AsyncEngine) -> None:
    """Raises `Unavailable` unless Postgres answers."""
    with store_errors():
        async with engine.connect() as connection:
            await connection.execute(text("select 1"))


async def check_schema(engine: AsyncEngine, expected: str) -> None:
    """Raises `ConfigurationError` unless the database stands at the migration this hub needs."""
    try:
        found = await _migration(engine)
    except Unavailable as error:
        raise ConfigurationError(f"{error}. Is DATABASE_URL right, and does that Postgres run?") from None
    if found != expected:
        raise ConfigurationError(
            f"The database is at migration {found or 'none'}, this hub needs {expected}. "
            "Run: alembic upgrade head"
        )


async def _migration(engine: AsyncEngine) -> str | None:
    with store_errors():
        async with engine.connect() as connection:
            if await connection.scalar(text("select to_regclass('alembic_version')")) is None:
                return None
            found: str | None = await connection.scalar(text("select version_num from alembic_version"))
            return found
