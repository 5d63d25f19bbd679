"""The random schedules of the tests, many more of them."""

from __future__ import annotations

import asyncio
import os
import re
import sys

from bench.clients import ROOT
from faults.experiment import Run, experiment

_SECONDS = 3600.0


@experiment(
    "schedules",
    "200 random schedules of crashes, restarts, rebalances and a Redis that forgets; clients must not "
    "notice; "
    "on the services of the tests (Postgres doesn't sync)",
    promises="1, 2, 3",
)
async def schedules(run: Run) -> None:
    count = run.sized(200, least=4)
    environment = {**os.environ, "SCHEDULES": str(count), "SEED": str(run.seed)}
    tests = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "--verbose", "tests/e2e/test_schedules.py"),
        cwd=ROOT,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert tests.stdout is not None
    said: list[str] = []
    try:
        async with asyncio.timeout(_SECONDS):
            async for line in tests.stdout:
                said.append(line.decode(errors="replace").rstrip())
                if "::" in said[-1]:
                    run.say(said[-1])
            status = await tests.wait()
    finally:
        if tests.returncode is None:
            tests.kill()
    (run.folder / "pytest.log").write_text("\n".join(said))
    if status:
        run.problems.append(said[-1] if said else f"pytest ended with status {status}")
        return
    assert re.search(r"\d+ passed", said[-1]), said[-1]
    run.figure("schedules passed", count)
