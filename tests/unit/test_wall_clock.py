"""A node whose clock is wrong knows what time it is, from Postgres and Redis."""

from __future__ import annotations

import asyncio

import pytest

from app.domain.errors import Unavailable
from app.runtime.wall_clock import MAX_ANSWER_SECONDS, WallClock

TRUE = 1_800_000_000.0
WRONG = 300.0


class World:
    """Time that passes when told to, and three clocks that show it, each wrong by so much."""

    def __init__(self, own: float = 0.0, postgres: float | None = 0.0, redis: float | None = 0.0) -> None:
        self.passed = 0.0
        self.takes = 0.0
        self.wrong: dict[str, float | None] = {"own": own, "postgres": postgres, "redis": redis}
        self.clock = WallClock(
            {"postgres": lambda: self._asked("postgres"), "redis": lambda: self._asked("redis")},
            own=lambda: self._shown("own"),
            steady=lambda: 77.0 + self.passed,
        )

    def _shown(self, name: str) -> float:
        wrong = self.wrong[name]
        if wrong is None:
            raise Unavailable(name, "away")
        return TRUE + self.passed + wrong

    async def _asked(self, name: str) -> float:
        shown = self._shown(name)
        self.passed += self.takes
        return shown

    @property
    def error(self) -> float:
        return self.clock.now() - TRUE - self.passed


@pytest.mark.parametrize("which", ["own", "postgres", "redis"])
@pytest.mark.parametrize("wrong", [WRONG, -WRONG])
async def test_one_clock_may_be_wrong(which: str, wrong: float) -> None:
    world = World(**{which: wrong})
    await world.clock.compare()
    assert world.error == 0


async def test_while_the_others_are_away_their_time_goes_on() -> None:
    world = World(own=WRONG)
    await world.clock.compare()
    world.wrong |= {"postgres": None, "redis": None}
    world.passed += 3600
    await world.clock.compare()
    assert world.error == 0


async def test_a_clock_that_is_set_later_doesn_t_matter_either() -> None:
    world = World()
    await world.clock.compare()
    world.passed += 5
    world.wrong["own"] = -WRONG
    assert world.error == 0


async def test_an_answer_that_took_long_is_not_believed() -> None:
    world = World()
    await world.clock.compare()
    world.takes = 2 * MAX_ANSWER_SECONDS
    await world.clock.compare()
    world.wrong["own"] = WRONG
    assert world.error == 0


@pytest.mark.parametrize("away", [("postgres",), ("postgres", "redis")])
async def test_until_postgres_has_answered_this_machine_s_counts(away: tuple[str, ...]) -> None:
    world = World(own=WRONG)
    world.wrong |= dict.fromkeys(away)
    await world.clock.compare()
    assert world.error == WRONG


async def test_until_redis_has_answered_postgres_counts_which_decides_what_is_due() -> None:
    world = World(own=WRONG, redis=None)
    await world.clock.compare()
    world.passed += 60
    assert world.error == 0
    world.wrong |= {"own": 0.0, "postgres": WRONG, "redis": 0.0}
    await world.clock.compare()
    assert world.error == 0, "two against one"


async def test_a_connection_s_end_is_counted_from_the_right_time() -> None:
    world = World(own=WRONG)
    await world.clock.compare()
    in_a_minute = world.clock.loop_time(TRUE + 60) - asyncio.get_running_loop().time()
    assert in_a_minute == pytest.approx(60, abs=1)
