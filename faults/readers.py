"""People beside those of the ledger, who read some of their notifications: what is due to them by mail.

Each has an address. What they never read is due. A mail about what they have read is a failure, if it was
received so much later that the hub knew.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, NamedTuple
from uuid import UUID

import httpx

from faults.experiment import Run
from faults.load import SERIAL
from faults.world import Node, World
from tests.support.hub import eventually, new_user
from tests.support.mailbox import new_address, text_of

READ_SHARE = 0.4
SLACK_SECONDS = 3.0
"""That a mail may take from its last look at the inbox to the mail catcher, on a busy machine."""
NAMED = re.compile(r"\b(?:BOOK|BOX)-([0-9]+)")
"""How a mail names the serial number of an event."""
FINISHED_WITHIN_SECONDS = 120.0
ATTEMPT_SECONDS = 5.0
TRY_AGAIN = (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS)

MISSED = (httpx.HTTPError, AttributeError)
"""AttributeError: of anyio on uvloop, if a node dies right after it accepted the connection."""

Ask = Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]


class FoundItem(NamedTuple):
    """An event that a mail names."""

    serial: int
    message_id: str
    received_at: float


async def answered(run: Run, world: World, user: str, ask: Ask) -> httpx.Response:
    """The answer of a node that gives one, as clients get it that try again until then."""
    while True:
        node: Node = run.chance.choice(world.nodes)
        try:
            async with node.client(user) as client:
                client.timeout = ATTEMPT_SECONDS
                answer = await ask(client)
            if answer.status_code not in TRY_AGAIN:
                return answer
        except MISSED:
            pass
        await asyncio.sleep(0.2)


class Readers:
    """They read as soon as they may: some at once, some when it is due, some too late."""

    def __init__(self, run: Run, world: World, count: int) -> None:
        self._run = run
        self._world = world
        self.addresses = {new_user(): new_address() for _ in range(count)}
        self.published_at: dict[int, float] = {}
        """Unix seconds at which the broker can have had an event at the earliest, by its serial number."""
        self._tried_at: dict[int, float] = {}
        self._read_at: dict[int, float] = {}
        self._reading: set[asyncio.Task[None]] = set()

    @property
    def unread(self) -> set[int]:
        """The events that nobody read, or tried to."""
        return self.published_at.keys() - self._tried_at.keys()

    async def introduce(self) -> None:
        """Give them profiles."""
        connection = await self._run.site.postgres.connect(self._world.database)
        try:
            rows = [(UUID(user), address, "en") for user, address in self.addresses.items()]
            await connection.copy_records_to_table(
                "preferences", records=rows, columns=("user_id", "email", "locale")
            )
        finally:
            await connection.close()

    @asynccontextmanager
    async def notified(
        self, rate: float, event_of: Callable[[int, str, str], dict[str, Any]], read_within: float
    ) -> AsyncIterator[None]:
        """So many events a second beside the block, of a serial number, a user and an address. Some are read
        within so many seconds; at the end all these have been.
        """
        publishing = asyncio.create_task(self._publish(rate, event_of, read_within), name="readers")
        try:
            yield
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)
            await asyncio.gather(*self._reading)
        finally:
            for task in (publishing, *self._reading):
                task.cancel()
            await asyncio.gather(publishing, *self._reading, return_exceptions=True)

    async def finished(self) -> None:
        """Returns when no delivery waits any more. One that never ends is a problem."""

        async def look() -> bool:
            connection = await self._run.site.postgres.connect(self._world.database)
            try:
                left = await connection.fetchval("select count(*) from deliveries where finished_at is null")
            finally:
                await connection.close()
            return bool(left == 0)

        try:
            await eventually(look, "all deliveries are finished", FINISHED_WITHIN_SECONDS)
        except AssertionError as error:
            self._run.problems.append(str(error))

    async def found(self) -> list[FoundItem]:
        """What the mails name, but for what was read when they were already on their way."""
        await asyncio.to_thread(self._world.mails.read)
        items = [*self._items()]
        late = [item for item in items if self._was_read_just_before(item)]
        self._run.figure(
            "read after the mail, or while it was on its way", len({item.serial for item in late})
        )
        return [item for item in items if item not in late]

    def _items(self) -> Iterator[FoundItem]:
        for address in self.addresses.values():
            for message, received_at in self._world.mails.others[address]:
                for serial in {int(number) for number in NAMED.findall(text_of(message))}:
                    yield FoundItem(serial, str(message["Message-ID"]), received_at)

    def _was_read_just_before(self, item: FoundItem) -> bool:
        if item.serial not in self._tried_at:
            return False
        return item.received_at < self._read_at[item.serial] + SLACK_SECONDS

    async def _publish(
        self, rate: float, event_of: Callable[[int, str, str], dict[str, Any]], read_within: float
    ) -> None:
        chance, people = self._run.chance, [*self.addresses.items()]
        while True:
            user, address = chance.choice(people)
            now = time.time()
            serial = self._world.load.publish(lambda number: event_of(number, user, address))  # noqa: B023
            self.published_at[serial] = now
            if chance.random() < READ_SHARE:
                pause = chance.uniform(0, read_within)
                self._reading.add(asyncio.create_task(self._read(serial, user, pause), name="reader"))
            await asyncio.sleep(chance.expovariate(rate))

    async def _read(self, serial: int, user: str, pause: float) -> None:
        await asyncio.sleep(pause)
        number = await notification_of(self._run, self._world, user, serial)
        self._tried_at[serial] = time.time()
        path = f"/notifications/{number}/users/{user}/read"
        answer = await answered(self._run, self._world, user, lambda client: client.patch(path))
        self._read_at[serial] = time.time()
        if not answer.is_success:
            self._run.problems.append(f"reading was answered with {answer.status_code}")


async def notification_of(run: Run, world: World, user: str, serial: int) -> int:
    """The id of the notification of an event, once it is in the user's inbox."""
    path = f"/notifications/users/{user}"
    while True:
        answer = await answered(run, world, user, lambda client: client.get(path, params={"limit": 100}))
        for each in answer.raise_for_status().json():
            if each["raw_data"].get(SERIAL) == serial:
                return int(each["id"])
        await asyncio.sleep(0.2)
