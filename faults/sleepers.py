"""People beside those of the ledger, who snooze notifications: what is to come back to them, and what did."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Self
from uuid import UUID

import httpx

from faults.experiment import Run
from faults.ledger import RowKey
from faults.load import SERIAL
from faults.readers import answered, notification_of
from faults.world import Listener, World
from tests.support.hub import eventually, new_user

SHORTEST, LONGEST = 4.0, 12.0  # seconds
CHANGE_SHARE = 0.3
"""Of the snoozed, which are archived or unarchived before it is over."""
BACK_WITHIN_SECONDS = 60.0
"""After the end of faults, that the last one may take to come back."""
LATE_SECONDS = 1.0
"""In which nothing more may come."""
_ROWS = """
select receiver::text, (raw_data->>$1)::int as serial, count(*) from notifications
where receiver = any($2::uuid[]) group by 1, 2
"""


class Sleeper(Listener):
    """A client that notes when it received what."""

    def __init__(self, world: World, user: str) -> None:
        super().__init__(world.nodes, user)
        self.times: defaultdict[int, list[float]] = defaultdict(list)

    def key(self, notification: dict[str, Any]) -> str:
        self.times[int(notification["raw_data"][SERIAL])].append(time.time())
        return super().key(notification)


class Sleepers:
    """As a context they have connections. What they snoozed comes back once, unless they changed that."""

    def __init__(self, run: Run, world: World, count: int) -> None:
        self._run = run
        self._world = world
        self._clients = {user: Sleeper(world, user) for user in (new_user() for _ in range(count))}
        self._until: dict[RowKey, float] = {}
        self._stays_away: set[RowKey] = set()
        self._snoozing: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        for client in self._clients.values():
            client.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(client.disconnect(abruptly=True) for client in self._clients.values()))

    @property
    def due(self) -> set[RowKey]:
        """What has to come back."""
        return self._until.keys() - self._stays_away

    @property
    def returned(self) -> list[RowKey]:
        """What clients received again, each time."""
        return [
            (user, serial)
            for user, client in self._clients.items()
            for serial, times in client.times.items()
            for _ in times[1:]
        ]

    @property
    def deviations(self) -> tuple[float, float]:
        """How many seconds the ends of snoozes were early at most, and late."""
        off = [
            self._clients[user].times[serial][1] - until
            for (user, serial), until in self._until.items()
            if len(self._clients[user].times[serial]) > 1
        ]
        return -min(off, default=0.0), max(off, default=0.0)

    @asynccontextmanager
    async def snoozing(self, rate: float) -> AsyncIterator[None]:
        """So many notifications a second beside the block, each of which is snoozed."""
        publishing = asyncio.create_task(self._publish(rate), name="sleepers")
        try:
            yield
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)
            await asyncio.gather(*self._snoozing)
        finally:
            for task in (publishing, *self._snoozing):
                task.cancel()
            await asyncio.gather(publishing, *self._snoozing, return_exceptions=True)

    async def awake(self) -> None:
        """Returns when all that is due came back, or doesn't come any more."""

        async def all_back() -> bool:
            return self.due <= {*self.returned}

        try:
            await eventually(all_back, "all snoozes are over", LONGEST + BACK_WITHIN_SECONDS)
        except AssertionError as error:
            self._run.say(str(error))  # the ledger has what is missing
        last = max(self._until.values(), default=0.0)
        await asyncio.sleep(max(0.0, last - time.time()) + LATE_SECONDS)

    async def check_inboxes(self) -> None:
        """Each that is to come back has to be in its inbox once."""
        connection = await self._run.site.postgres.connect(self._world.database)
        try:
            rows = await connection.fetch(_ROWS, SERIAL, [UUID(user) for user in self._clients])
        finally:
            await connection.close()
        found = {(user, serial): number for user, serial, number in rows}
        wrong = sum(found.get(key, 0) != 1 for key in self.due)
        if wrong:
            self._run.problems.append(f"{wrong} that were snoozed are not in their inboxes once")

    async def _publish(self, rate: float) -> None:
        chance, users = self._run.chance, [*self._clients]
        while True:
            user = chance.choice(users)
            serial = self._world.load.publish(
                lambda number: self._world.load.expired(number, user)  # noqa: B023
            )
            self._snoozing.add(asyncio.create_task(self._snooze(user, serial), name="sleeper"))
            if chance.random() < 0.1:
                self._clients[chance.choice(users)].cut()
            await asyncio.sleep(chance.expovariate(rate))

    async def _snooze(self, user: str, serial: int) -> None:
        number = await notification_of(self._run, self._world, user, serial)
        received = self._clients[user].received

        async def shown() -> bool:
            return serial in received

        await eventually(shown, "a client received a notification", BACK_WITHIN_SECONDS)
        seconds = self._run.chance.uniform(SHORTEST, LONGEST)
        until = time.time() + seconds
        moment = datetime.fromtimestamp(until, UTC).isoformat()
        self._until[user, serial] = until
        await self._patch(user, f"{number}/users/{user}/snooze", until=moment)
        if self._run.chance.random() < CHANGE_SHARE:
            await asyncio.sleep(self._run.chance.uniform(0, seconds))
            call = self._run.chance.choice(("archive", "unarchive"))
            answer = await self._patch(user, f"{number}/users/{user}/{call}")
            if answer.is_success:  # else it had come back, with another id
                self._stays_away.add((user, serial))

    async def _patch(self, user: str, path: str, **given: str) -> httpx.Response:
        answer = await answered(
            self._run,
            self._world,
            user,
            lambda client: client.patch(f"/notifications/{path}", params=given),
        )
        if not answer.is_success and answer.status_code != HTTPStatus.NOT_FOUND:
            self._run.problems.append(f"{path.rpartition('/')[2]} was answered with {answer.status_code}")
        return answer
