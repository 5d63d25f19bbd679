"""A user service that is down, slow, or says what isn't true."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from faults.experiment import Run, experiment
from faults.load import GROUPS, NAME, Mixture
from faults.logouts import logouts
from faults.world import World
from tests.support.hub import eventually
from tests.support.network import open_proxy
from tests.support.user_service import FakeUserService, run_user_service

RATE = 100.0
CACHE = 1.0  # seconds that an answer is remembered; less than a mood lasts
LONGEST_WAIT = 1.0  # seconds; those who don't need the user service don't wait for it
CAUGHT_UP_WITHIN = 20.0  # seconds after it is itself again
BACKLOG, BACKLOG_RATE = 10_000, 500.0  # events that need it while it is down; and how many a second
BACKLOG_GROUPS = [f"00000000-0000-4000-8000-{number:012}" for number in range(2_000)]
LATENCY = 0.02  # seconds that an answer takes
RESOLVED_WITHIN = 30.0  # seconds after its return, whatever the number


@experiment(
    "user-service",
    "the user service is down, silent, slow, fails and returns wrong answers in four ways, 20 s each; "
    "1 event in 5 needs it, the others don't wait; 1 in 40 is garbage",
    promises="1, 2, 3, 6",
)
async def user_service(run: Run) -> None:
    seconds = run.sized(20, least=4)
    with run_user_service() as service:
        for group in GROUPS:
            service.add_group(group, NAME, [])
        async with open_proxy(urlsplit(service.address).port or 0) as proxy:
            moods: dict[str, Callable[[], None]] = {
                "down": proxy.refuse,
                "silent": proxy.silence,
                "hanging": service.awake.clear,
                **_lies(service),
            }
            mixture = Mixture(group_every=5, garbage_every=40)
            settings = {"USER_SERVICE_URL": proxy.origin, "USER_SERVICE_CACHE": str(CACHE)}
            async with (
                run.world(nodes=2, mixture=mixture, settings=settings, longest_wait=LONGEST_WAIT) as world,
                world.load.publishing(RATE),
            ):
                worst = 0.0
                for mood, begin in moods.items():
                    await world.stored(len(world.load.due.rows))
                    run.say(f"the user service is {mood}")
                    begin()
                    await asyncio.sleep(seconds)
                    service.calm()
                    proxy.repair()
                    took = await world.caught_up()
                    run.say(f"caught up {took:.1f} s after its return")
                    worst = max(worst, took)
                run.figure("caught up after its return, at most", worst, "s", at_most=CAUGHT_UP_WITHIN)
                await _names_are_true(run, world)


@experiment(
    "user-service-backlog",
    "the user service is down for 30 s, with 10,000 events of 2,000 groups that need it; "
    "others, and a logout each second, go on",
    promises="1, 2, 3, 6, 7",
)
async def user_service_backlog(run: Run) -> None:
    number, seconds = run.sized(BACKLOG), run.sized(30, least=5)
    groups = BACKLOG_GROUPS[: run.sized(len(BACKLOG_GROUPS))]
    needs_it = Mixture(mail_every=0, fan_out_every=0, twice_every=0, group_every=1, groups=groups)
    with run_user_service() as service:
        for group in groups:
            service.add_group(group, NAME, [])
        service.latency = LATENCY
        async with open_proxy(urlsplit(service.address).port or 0) as proxy:
            settings = {"USER_SERVICE_URL": proxy.origin}
            async with (
                run.world(nodes=2, settings=settings, longest_wait=LONGEST_WAIT) as world,
                logouts(run, world),
                world.load.publishing(RATE),
            ):
                await world.stored(300)
                proxy.refuse()
                down = time.monotonic()
                async with world.load.publishing(BACKLOG_RATE, number, needs_it):
                    pass
                await _parked(run, world, number)
                await asyncio.sleep(max(0.0, down + seconds - time.monotonic()))
                proxy.repair()
                resolved = await world.caught_up()
                run.figure("parked", number)
                run.figure("all parked were done after its return", resolved, "s", at_most=RESOLVED_WITHIN)
                await _names_are_true(run, world)


async def _parked(run: Run, world: World, number: int) -> None:
    """Returns when so many events are parked."""
    connection = await run.site.postgres.connect(world.database)

    async def all_are() -> bool:
        count = "select count(*) from parked_events where finished_at is null"
        return bool(await connection.fetchval(count) >= number)

    try:
        await eventually(all_are, f"{number:,} events are parked", within=60)
    finally:
        await connection.close()


async def _names_are_true(run: Run, world: World) -> None:
    connection = await run.site.postgres.connect(world.database)
    try:
        wrong = await connection.fetchval(
            "select count(*) from notifications"
            " where template_code = 'GROUP_USER_ADDED' and position($1 in content) = 0",
            NAME,
        )
    finally:
        await connection.close()
    if wrong:
        run.problems.append(f"{wrong:,} rows with another name than the group's")


def _lies(service: FakeUserService) -> dict[str, Callable[[], None]]:
    def says(status: int, body: bytes, **headers: str) -> Callable[[], None]:
        def begin() -> None:
            service.status, service.body = status, body
            service.headers = {name.replace("_", "-"): value for name, value in headers.items()}

        return begin

    def drips() -> None:
        service.drip = 0.5

    return {
        "dripping": drips,
        "failing": says(500, b"{}"),
        "of another form": says(200, b'{"data": {"group_name": 5, "members": [1]}}'),
        "another page": says(200, b"<html>Welcome to nginx</html>", Content_Type="text/html"),
        "missing": says(404, b"<html>404</html>", Content_Type="text/html"),
        "packed": says(200, b"\x1f\x8b", Content_Encoding="gzip"),
    }
