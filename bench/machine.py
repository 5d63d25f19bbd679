"""What a run ran on."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from bench.clients import ROOT
from bench.results import Machine

_PACKAGES = ("sanic", "websockets", "uvloop", "aiokafka", "sqlalchemy", "asyncpg", "msgspec")


def describe(services: Sequence[str], load_before: float, program: str = "bench") -> Machine:
    """This machine, now. `load_before`: its load average (1 minute) before the run of `program` began."""
    return Machine(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command=shlex.join(["python", "-m", program, *sys.argv[1:]]),
        cpu=_cpu(),
        cores=os.cpu_count() or 0,
        memory_gb=round(psutil.virtual_memory().total / 2**30),
        system=f"{platform.system()} {platform.release()}",
        load_before=round(load_before, 2),
        versions={"Python": platform.python_version()} | {name: version(name) for name in _PACKAGES},
        services=list(services),
        code=_code(),
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _code() -> str:
    """The commit that was measured, and whether the tree had changes."""
    try:
        head = _git("rev-parse", "--short", "HEAD").strip()
        return f"{head} with changes" if _git("status", "--porcelain", "app", "handlers").strip() else head
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout
