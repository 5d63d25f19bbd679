"""The connection pool, and the edge where drivers' errors become the hub's."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from types import MappingProxyType
from typing import Any, NamedTuple

import asyncpg
from pydantic import SecretStr
from sqlalchemy import event, text
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import await_only

from app.domain.errors import ConfigurationError, HubError, StoreFailed, StoreRejected, Unavailable
from app.settings.services import PostgresSettings
from app.store import array_parameters  # noqa: F401 - for the arrays of all connections
from app.store.direct import DIRECT, DirectConnections
from app.store.liveness import LOST, look_after

INSUFFICIENT_PRIVILEGE = "42501"
DUPLICATE_PREPARED_STATEMENT = "42P05"
INVALID_STATEMENT_NAME = "26000"
UNDEFINED_TABLE = "42P01"
UNDEFINED_COLUMN = "42703"
UNDEFINED_FUNCTION = "42883"


_POOLED = "hub_pooled"
# A named statement is there on one server connection only. One without a name lasts until the next, and so
# within a transaction: SQLAlchemy begins one before it prepares anything.
_UNNAMED = {
    "statement_cache_size": 0,
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": lambda: "",
}
INTAKE_SHARE = 0.3
MAX_DIRECT_CONNECTIONS = 2
"""One for the batches of a node and one for the chunks of large events: each is written one at a time."""
MAX_DIRECT_READERS = 1
"""Connections that read the inboxes of new clients (`app.realtime.inboxes`): one call at a time."""
INTAKE_LOCK_TIMEOUT_MS = 200
"""A batch that meets a locked inbox is written without that inbox's events after this time."""


def make_engine(settings: PostgresSettings) -> AsyncEngine:
    """A pool of `settings.pool_size` connections. Every statement is bounded by `settings.timeout`."""
    return _engine(settings, settings.pool_size)


class Engines(NamedTuple):
    """The two pools of a node, together of `settings.pool_size` connections.

    Two of those of `intake` and one of `shared` are made beside the pools (`app.store.direct`).
    """

    intake: AsyncEngine
    """What events are written with: nothing else can exhaust it, and it waits for no lock for long."""
    shared: AsyncEngine


def make_engines(settings: PostgresSettings) -> Engines:
    """The pools of a node. Every statement is bounded by `settings.timeout`."""
    intake = max(1, int(settings.pool_size * INTAKE_SHARE))
    timeout = {"lock_timeout": str(INTAKE_LOCK_TIMEOUT_MS)}
    pool = max(1, intake - MAX_DIRECT_CONNECTIONS)
    shared = max(1, settings.pool_size - intake - MAX_DIRECT_READERS)
    return Engines(_engine(settings, pool, timeout), _engine(settings, shared))


def _engine(
    settings: PostgresSettings, size: int, parameters: Mapping[str, str] = MappingProxyType({})
) -> AsyncEngine:
    session = {**_session(settings), **parameters}
    how = _how(settings)
    if settings.pooled:
        how |= _UNNAMED
    else:
        how["server_settings"] |= session
    arguments = _asyncpg_arguments(settings.url, how)
    connections = DirectConnections(arguments, session if settings.pooled else None)
    engine = create_async_engine(
        _url(settings.url),
        pool_size=size,
        max_overflow=0,
        pool_timeout=settings.timeout,
        connect_args=how,
        execution_options={_POOLED: settings.pooled, DIRECT: connections},
    )
    look_after(engine)
    event.listen(engine.sync_engine, "engine_disposed", lambda _: await_only(connections.close()))
    if settings.pooled:
        _set_in_each_transaction(engine, session)
    return engine


def _set_in_each_transaction(engine: AsyncEngine, session: Mapping[str, str]) -> None:
    """Set what is a property of the session elsewhere: a pooler gives the session to others."""
    calls = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in session.items())

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql(f"select {calls}")


def connect_arguments(settings: PostgresSettings) -> dict[str, Any]:
    """What `asyncpg.connect` takes for a connection like the pool's own, but without a pooler between."""
    how = _how(settings)
    how["server_settings"] |= _session(settings)
    return _asyncpg_arguments(settings.session_url, how)


def _asyncpg_arguments(url: SecretStr, how: Mapping[str, Any]) -> dict[str, Any]:
    """What `asyncpg.connect` takes, of what an engine does."""
    dialect: Any = PGDialect_asyncpg  # it has no types
    _, arguments = dialect().create_connect_args(_url(url))
    of_asyncpg = inspect.signature(asyncpg.connect).parameters
    return {name: value for name, value in {**arguments, **how}.items() if name in of_asyncpg}


def _url(url: SecretStr) -> URL:
    return make_url(url.get_secret_value()).set(drivername="postgresql+asyncpg")


def _how(settings: PostgresSettings) -> dict[str, Any]:
    return {
        "timeout": settings.timeout,
        "command_timeout": settings.timeout,
        "server_settings": {"application_name": "notification-hub"},
    }


def _session(settings: PostgresSettings) -> dict[str, str]:
    # Postgres has to give up too: the backend of a connection that was cut in silence would keep its locks,
    # which our next try waits for, until TCP notices, after hours.
    milliseconds = str(math.ceil(settings.timeout * 1000))
    return {
        "statement_timeout": milliseconds,
        "idle_in_transaction_session_timeout": milliseconds,
        # A plan that was made while a table was empty reads all of it, and lives on while the table grows.
        "enable_seqscan": "off",
        "jit": "off",  # what can't do without a scan seems to be worth compiling then
    }


class Cause(Enum):
    """Where the cause of an error of Postgres is."""

    SERVER = "server"
    """Postgres is away, busy or misconfigured: `Unavailable`."""
    STATEMENT = "statement"
    """The schema, the privileges or the hub's own SQL: `StoreFailed`."""
    VALUES = "values"
    """What an event brought: `StoreRejected`."""


def cause_of(sqlstate: str) -> Cause:
    """The cause of an error with this SQLSTATE, by its longest prefix in `_CAUSES`."""
    return next((_CAUSES[sqlstate[:n]] for n in (5, 2) if sqlstate[:n] in _CAUSES), Cause.STATEMENT)


_CAUSES = {
    "08": Cause.SERVER,  # connection exception
    "21": Cause.VALUES,  # cardinality violation: one row twice
    "22": Cause.VALUES,  # data exception
    "23": Cause.VALUES,  # integrity constraint violation
    "25006": Cause.SERVER,  # read-only transaction: a standby, during a failover
    "25P03": Cause.SERVER,  # idle transaction timeout
    "25P04": Cause.SERVER,  # transaction timeout
    "27": Cause.VALUES,  # triggered data change violation
    "28": Cause.SERVER,  # invalid authorization: the password changed
    "3D": Cause.SERVER,  # invalid catalog name: the database is not there (yet, again)
    "40": Cause.SERVER,  # transaction rollback: serialization, deadlock
    "44": Cause.VALUES,  # with check option violation
    "53": Cause.SERVER,  # insufficient resources: disk, memory, connections
    "54": Cause.VALUES,  # program limit exceeded
    "55": Cause.SERVER,  # object not in prerequisite state: a lock, an object in use
    "57": Cause.SERVER,  # operator intervention: shutdown, time-out
    "58": Cause.SERVER,  # system error: input, output
    "72": Cause.SERVER,  # snapshot failure
    "F0": Cause.SERVER,  # configuration file error
    "P0": Cause.VALUES,  # a trigger of the operator's refuses the row
    "XX": Cause.SERVER,  # internal error of Postgres or of a pooler
}
"""By class, or whole code, of the SQLSTATE (PostgreSQL's manual, appendix A). All others are of
`Cause.STATEMENT`, above all 42: no such table, no such column, syntax error, insufficient privilege.
"""


@contextmanager
def store_errors() -> Iterator[None]:
    """Translates the errors of SQLAlchemy and of the driver.

    Raises:
        StoreRejected: Postgres can't take the values.
        StoreFailed: Postgres can't run the statement, whatever the values.
        Unavailable: All else: Postgres doesn't answer, or can't work now.
    """
    try:
        yield
    except (DataError, IntegrityError) as error:
        raise StoreRejected(_kind(error)) from None
    except DBAPIError as error:
        raise _translated(error, getattr(error.orig, "sqlstate", None)) from None
    except asyncpg.PostgresError as error:
        raise _translated(error, error.sqlstate) from None
    except (SQLAlchemyError, *LOST) as error:
        raise Unavailable("postgres", _first_line(error)) from None


def _translated(error: DBAPIError | asyncpg.PostgresError, sqlstate: str | None) -> HubError:
    # A migration changed a table of a prepared statement: the next attempt prepares it again.
    if sqlstate is None or isinstance(_origin(error), asyncpg.InvalidCachedStatementError):
        return Unavailable("postgres", _first_line(error))
    match cause_of(sqlstate):
        case Cause.VALUES:
            return StoreRejected(_kind(error))
        case Cause.STATEMENT:
            return StoreFailed("postgres", f"{_first_line(error)} (SQLSTATE {sqlstate}){_advice(sqlstate)}")
        case Cause.SERVER:
            return Unavailable("postgres", _first_line(error))


def _advice(sqlstate: str) -> str:
    if sqlstate == INSUFFICIENT_PRIVILEGE:
        return ". Grant the user of DATABASE_URL the privileges on the hub's tables"
    if sqlstate in (DUPLICATE_PREPARED_STATEMENT, INVALID_STATEMENT_NAME):
        return ". If DATABASE_URL leads to pgbouncer, set DATABASE_DIRECT_URL (docs/how-to/pgbouncer.md)"
    missing = sqlstate in (UNDEFINED_TABLE, UNDEFINED_COLUMN, UNDEFINED_FUNCTION) or sqlstate.startswith("3F")
    return ". Was the database migrated? Run: alembic upgrade head" if missing else ""


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
    except StoreFailed as error:
        raise ConfigurationError(f"{error}.") from None
    except Unavailable as error:
        hint = "Is DATABASE_URL right, and does that Postgres run?"
        if "startup parameter" in str(error):
            hint = "If DATABASE_URL leads to pgbouncer, set DATABASE_DIRECT_URL (docs/how-to/pgbouncer.md)."
        raise ConfigurationError(f"{error}. {hint}") from None
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
