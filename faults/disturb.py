"""Faults that several experiments inject: nodes that die, services that are away, clocks that are wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from faults.experiment import Run
from faults.world import World
from tests.support.install_tools import faketime

WRONG = 300  # seconds
KILLS = 6
AWAY_SECONDS = 10.0
MIN_AWAY_SECONDS = 8
"""In which a node starts."""
FAST_REBALANCE = {"KAFKA_SESSION_TIMEOUT_MS": "3000"}
"""Setting of a hub whose nodes are killed often."""


class Fault(NamedTuple):
    """A fault that begins and ends."""

    what: str
    inject: Callable[[Run, World], Awaitable[None]]
    """Returns when it is over."""


def some_faults(run: Run) -> list[Fault]:
    """Kills of nodes, a restart of Postgres, and a Redis that is away while a node starts, in any order."""
    faults = [Fault("kill -9", _kill)] * run.sized(KILLS)
    faults += [Fault("a restart of Postgres", _restart_postgres), Fault("Redis is away", _redis_away)]
    run.chance.shuffle(faults)
    return faults


def wrong_clocks() -> Mapping[int, Mapping[str, str]]:
    """Settings of two nodes: the first is ahead, the second behind. Fails without libfaketime."""
    library = faketime()
    assert library is not None, "needs libfaketime, which `make faults` installs as root on Debian"
    return {
        number: {
            "LD_PRELOAD": str(library),
            "FAKETIME": f"{seconds:+d}",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        for number, seconds in enumerate((WRONG, -WRONG))
    }


async def _kill(run: Run, world: World) -> None:
    node = run.chance.choice(world.nodes)
    await node.kill()
    await node.start_again()  # one that starts while Postgres is away ends by itself


async def _restart_postgres(run: Run, world: World) -> None:
    await run.site.postgres.stop()
    await run.site.postgres.start()


async def _redis_away(run: Run, world: World) -> None:
    """And a node starts meanwhile, whose clock is wrong."""
    await asyncio.to_thread(run.site.redis.kill)
    node = run.chance.choice(world.nodes[:2])
    await node.kill()
    node.launch()
    await asyncio.sleep(run.sized(AWAY_SECONDS, least=MIN_AWAY_SECONDS))
    await asyncio.to_thread(run.site.redis.start)
    await node.until_ready()
