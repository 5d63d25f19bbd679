"""What becomes of a worker that ends before it is ready."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import os, select, signal, socket, sys
from pathlib import Path
from app.server.supervisor import Supervisor, share_metrics

folder, how = Path(sys.argv[1]), sys.argv[2]

def bind():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    return listener

def serve(listener, lifeline, ready):
    number = len(list(folder.iterdir()))
    (folder / str(number)).touch()
    if number == 0:
        os._exit(int(how)) if how.isdigit() else os.kill(os.getpid(), getattr(signal, how))
        signal.pause()
    ready()
    os.kill(os.getppid(), signal.SIGTERM)
    signal.pause()

with share_metrics():
    sys.exit(Supervisor(1, bind, serve, 5.0).run())
"""


def run(folder: Path, how: str) -> int:
    """Run a supervisor whose first worker ends like this; the second one has it stop."""
    program = [sys.executable, "-c", PROGRAM, str(folder), how]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(program, env=environment, cwd=ROOT, timeout=60, check=False).returncode


@pytest.mark.parametrize("how", [signal.SIGKILL.name, signal.SIGTERM.name, "0"])
def test_a_worker_that_was_killed_or_stopped_before_it_was_ready_is_replaced(
    tmp_path: Path, how: str
) -> None:
    assert run(tmp_path, how) == 0
    assert len(list(tmp_path.iterdir())) == 2


def test_a_worker_that_cannot_start_ends_the_supervisor(tmp_path: Path) -> None:
    assert run(tmp_path, "1") == 1
    assert len(list(tmp_path.iterdir())) == 1
