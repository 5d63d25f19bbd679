"""A user service that is down, slow, or says what isn't true."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import urlsplit

from faults.experiment import Run, experiment
from faults.load import GROUPS, NAME, Mixture
from faults.world import World
from tests.support.network import open_proxy
from tests.support.user_service import FakeUserService, run_user_service

RATE = 100.0
CACHE = 1.0  # seconds that an answer is remembered; less than a mood lasts
LONGEST_WAIT = 5.0  # seconds; those who don't need the user service don't wait for it
CAUGHT_UP_WITHIN = 20.0  # seconds after it is itself again


@experiment(
    "user-service",
    "the user service is down, silent, drips, fails and lies in four ways, 20 s each; "
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
