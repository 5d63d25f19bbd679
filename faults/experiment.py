"""What an experiment is, and what it may use. Write one as a function in `faults/experiments`."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from faults.ledger import Ledger
from faults.load import Mixture
from faults.results import Figure
from faults.services import Site
from faults.world import Say, World, in_background, open_world

USERS = 40


@dataclass
class Run:
    """One run of an experiment: where, how large, and result."""

    site: Site
    folder: Path
    """Of its nodes' logs."""
    seed: int
    size: float
    """1: as it is meant; less for a look."""
    say: Say
    chance: random.Random
    may_repeat: Collection[str]
    """Which columns of the ledger may count doubles (promise 4)."""
    ledger: Ledger | None = None
    figures: list[Figure] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def sized(self, full: float, least: int = 1) -> int:
        """So much of a number, at this size."""
        return max(least, round(full * self.size))

    def figure(self, name: str, value: float, unit: str = "", at_most: float | None = None) -> None:
        """A figure of the experiment's own. Over `at_most` the experiment has failed, at full size: a look at
        it may be taken on a busy machine.
        """
        self.figures.append(Figure(name, round(value, 2), unit, at_most))
        if at_most is not None and value > at_most and self.size >= 1:
            self.problems.append(f"{name}: {value:.1f} {unit}, at most {at_most:g} were allowed")

    @asynccontextmanager
    async def world(
        self,
        *,
        nodes: int = 3,
        users: int = USERS,
        mixture: Mixture = Mixture(),  # noqa: B008 - it is frozen
        settings: Mapping[str, str] = {},
        own_settings: Mapping[int, Mapping[str, str]] = {},
        longest_wait: float | None = None,
    ) -> AsyncIterator[World]:
        """A fresh hub. At the end it has time to bring everything to its end; then the ledger is drawn up.

        `settings` are for all nodes, `own_settings` for some, by their number from 0. `longest_wait`: the
        seconds that an event may take from Kafka to its rows.
        """
        async with open_world(
            self.site,
            self.folder,
            self.chance,
            self.say,
            nodes=nodes,
            users=users,
            mixture=mixture,
            settings=settings,
            own_settings=own_settings,
        ) as world:
            async with in_background(world.restless()):
                yield world
            self.site.repair()
            self.figure("complete after the end of load and faults", await world.settle(), "s")
            self.figure("longest delay from Kafka to a row", world.progress.longest_wait, "s", longest_wait)
            self.figure("delay of the harness itself", world.progress.late, "s")
            self.ledger = await world.ledger()
            self.problems += self.ledger.problems(may_repeat=self.may_repeat)


Do = Callable[[Run], Awaitable[None]]


@dataclass(frozen=True)
class Experiment:
    """An experiment, as it can be chosen."""

    name: str
    what: str
    promises: str
    """Their numbers in docs/reliability.md."""
    may_repeat: Collection[str]
    do: Do


EXPERIMENTS: dict[str, Experiment] = {}


def experiment(
    name: str, what: str, *, promises: str, may_repeat: Collection[str] = ()
) -> Callable[[Do], Do]:
    """Make a function an experiment. It raises AssertionError, or adds to `Run.problems`, when it fails."""

    def note(do: Do) -> Do:
        EXPERIMENTS[name] = Experiment(name, what, promises, may_repeat, do)
        return do

    return note
