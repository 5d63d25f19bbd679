"""Running one experiment: whatever becomes of it, the next one can follow."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import time
import traceback
from pathlib import Path

import faults.experiments  # noqa: F401 - makes them known
from app.dev.process import make_folder
from bench import machine
from bench.progress import say
from faults.experiment import Experiment, Run
from faults.results import Result
from faults.services import Site

LIMIT = 75 * 60.0  # seconds; an experiment that hangs must not delay the others


async def run(experiment: Experiment, site: Site, folder: Path, seed: int, size: float) -> Result:
    """Never raises for what the experiment does. `folder` is for the logs of its nodes."""
    begun = time.monotonic()

    def say_line(line: str) -> None:
        say(f"{experiment.name} {time.monotonic() - begun:5.0f} s: {line}")

    say_line(f"{experiment.what} (seed {seed}, size {size:g})")
    load_before = os.getloadavg()[0]
    shutil.rmtree(folder, ignore_errors=True)
    chance = random.Random(f"{seed}:{experiment.name}")
    made = Run(site, make_folder(folder), seed, size, say_line, chance, experiment.may_repeat)
    try:
        await site.restore()
        async with asyncio.timeout(LIMIT):
            await experiment.do(made)
    except Exception as error:
        made.problems.append(f"it broke off: {type(error).__name__} {error}"[:1000])
        say_line(traceback.format_exc())
    return Result(
        name=experiment.name,
        what=experiment.what,
        promises=experiment.promises,
        size=size,
        seed=seed,
        seconds=round(time.monotonic() - begun, 1),
        ledger=made.ledger,
        figures=made.figures,
        problems=made.problems,
        machine=machine.describe(site.notes, load_before, "faults"),
    )
