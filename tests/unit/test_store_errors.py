"""What an SQL error means: Postgres is away, the hub or its set-up is wrong, or the values are."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.domain.errors import HubError, StoreFailed, StoreRejected, Unavailable
from app.store.engine import Cause, cause_of, store_errors

STATES = {
    Cause.SERVER: (
        *("08000", "08001", "08003", "08006", "08P01"),
        *("25006", "25P03", "25P04", "28000", "28P01", "3D000"),
        *("40001", "40P01", "53000", "53100", "53200", "53300", "55006", "55P03"),
        *("57014", "57P01", "57P02", "57P03", "57P04", "57P05", "58030", "58P01", "72000", "F0000"),
        *("XX000", "XX001", "XX002"),
    ),
    Cause.STATEMENT: (
        *("42000", "42501", "42601", "42602", "42703", "42804", "42883", "42P01", "42P02", "42P05", "42P10"),
        *("0A000", "25001", "25P01", "25P02", "26000", "34000", "3F000", "2F005", "HV000", "99999"),
    ),
    Cause.VALUES: (
        "21000",
        "22001",
        "22003",
        "22021",
        "22P05",
        "23502",
        "23505",
        "27000",
        "44000",
        "54000",
        "P0001",
    ),
}
RAISED = {Cause.SERVER: Unavailable, Cause.STATEMENT: StoreFailed, Cause.VALUES: StoreRejected}


def translated(error: Exception) -> HubError:
    with pytest.raises(HubError) as raised, store_errors():
        raise error
    return raised.value


def by_sqlalchemy(driver: Exception) -> DBAPIError:
    """The driver's error as SQLAlchemy raises it."""
    made_by: Any = AsyncAdapt_asyncpg_dbapi  # it has no types
    adapted = made_by.Error("secret statement", driver)
    adapted.sqlstate = getattr(driver, "sqlstate", None)
    adapted.__cause__ = driver
    return OperationalError("insert …", {"content": "hunter2"}, adapted)


@pytest.mark.parametrize(
    ("cause", "sqlstate"), [(cause, each) for cause, states in STATES.items() for each in states]
)
def test_each_sqlstate_has_its_cause(cause: Cause, sqlstate: str) -> None:
    assert cause_of(sqlstate) is cause
    driver = asyncpg.PostgresError.new({"C": sqlstate, "M": "what happened", "S": "ERROR"})
    assert type(translated(by_sqlalchemy(driver))) is RAISED[cause]


def test_every_sqlstate_that_the_driver_knows_is_decided_by_class() -> None:
    """A dead letter, or an endless retry, needs a reason: what nobody listed is an error of the hub."""
    known = {
        state
        for each in vars(asyncpg.exceptions).values()
        if isinstance(state := getattr(each, "sqlstate", None), str)
    }
    rejecting = {state[:2] for state in known if cause_of(state) is Cause.VALUES}
    assert rejecting == {"21", "22", "23", "27", "44", "54", "P0"}
    assert {cause_of(state) for state in known if state.startswith("42")} == {Cause.STATEMENT}


def test_a_missing_table_names_the_migration_and_a_missing_privilege_the_grant() -> None:
    for driver, advice in (
        (asyncpg.UndefinedTableError('relation "inboxes" does not exist'), "alembic upgrade head"),
        (asyncpg.UndefinedColumnError('column "seq" does not exist'), "alembic upgrade head"),
        (asyncpg.InsufficientPrivilegeError("permission denied for table inboxes"), "Grant"),
    ):
        error = translated(by_sqlalchemy(driver))
        assert isinstance(error, StoreFailed)
        assert str(driver) in str(error)
        assert advice in str(error)
        assert "hunter2" not in str(error)
        assert "insert" not in str(error)


def test_a_statement_that_a_migration_outdated_is_prepared_again() -> None:
    error = translated(by_sqlalchemy(asyncpg.InvalidCachedStatementError("cached plan must not change")))
    assert type(error) is Unavailable


@pytest.mark.parametrize(
    "error",
    [OSError("refused"), TimeoutError(), PoolTimeout(), by_sqlalchemy(asyncpg.InternalClientError("broken"))],
    ids=repr,
)
def test_what_has_no_sqlstate_is_an_unavailable_postgres(error: Exception) -> None:
    assert type(translated(error)) is Unavailable


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.InternalClientError("got result for unknown protocol state 3"),
        asyncpg.ProtocolError("unexpected message"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.PostgresError.new({"C": "57P01", "M": "terminating connection", "S": "FATAL"}),
        ConnectionResetError(),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_lost_connection_may_pass_however_the_driver_says_it(error: Exception) -> None:
    """SQLAlchemy passes some errors of the driver on as they are."""
    assert type(translated(error)) is Unavailable


LOST = [
    each
    for name, each in sorted(vars(asyncpg.exceptions).items())
    if isinstance(each, type)
    and issubclass(
        each, (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError)
    )
    and not issubclass(each, Warning)
]


@pytest.mark.parametrize("kind", LOST, ids=lambda kind: kind.__name__)
def test_whatever_the_driver_has_for_a_lost_connection_may_pass(kind: type[Exception]) -> None:
    assert type(translated(kind("gone"))) is Unavailable
    assert type(translated(by_sqlalchemy(kind("gone")))) is Unavailable


def test_an_error_of_the_statement_is_one_also_where_sqlalchemy_does_not_wrap_it() -> None:
    driver = asyncpg.PostgresError.new({"C": "42P01", "M": "no such table", "S": "ERROR"})
    assert type(translated(driver)) is StoreFailed
