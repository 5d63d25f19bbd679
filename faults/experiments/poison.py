"""Events that nobody can handle, among those that everybody waits for."""

from __future__ import annotations

from faults.experiment import Run, experiment
from faults.load import Mixture

RATE = 1000.0
LONGEST_WAIT = 5.0  # seconds; longer than any batch takes


@experiment(
    "poison",
    "1 event in 100 of 100,000 is garbage of ten kinds; each must be dead-lettered exactly once",
    promises="2, 3, 6",
)
async def poison(run: Run) -> None:
    async with (
        run.world(mixture=Mixture(garbage_every=100), longest_wait=LONGEST_WAIT) as world,
        world.load.publishing(RATE, run.sized(100_000)),
    ):
        pass
