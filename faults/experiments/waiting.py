"""What waits while nodes die, services are away and clocks are wrong: digests, escalations, snoozes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from faults.disturb import FAST_REBALANCE, WRONG, some_faults, wrong_clocks
from faults.experiment import Run, experiment
from faults.ledger import SENT
from faults.readers import FoundItem, Readers
from faults.sleepers import Sleepers
from faults.world import World

RATE = 25.0
SECONDS = 180.0
PEOPLE = 20
PEOPLE_RATE = 10.0
WINDOW = 10.0
"""Seconds that a digest waits for more from its first message on."""
AFTER = 8.0
"""Seconds after which what is unread is escalated."""
EARLY_SECONDS = 1.0
"""That something may be early: clocks are compared over the network."""
LATE_SECONDS = WRONG / 2
"""That something may be late, by faults that never last so long."""
_FAULTS = (
    "of 3 nodes one is 5 minutes ahead and one 5 minutes behind; meanwhile kill -9 of a node, 6 times, a "
    "restart of Postgres, and a Redis that is away for 10 s while a node starts"
)
_SETTINGS = {**FAST_REBALANCE, "DELIVERY_LEASE": "10"}
_JOINED = """
select digest_id::text, array_agg(event_id) as events from deliveries
where digest_id <> id and address = any($1::text[]) group by digest_id
"""


@experiment(
    "digests",
    f"digests by mail, one each {WINDOW:.0f} s to each of {PEOPLE} people, who read some of what they hold; "
    f"{_FAULTS}",
    promises="1, 2, 4",
    may_repeat=SENT,
)
async def digests(run: Run) -> None:
    settings = {**_SETTINGS, "DIGESTS": f"bookings.email=every {WINDOW:.0f}s"}
    async with run.world(settings=settings, own_settings=wrong_clocks()) as world:
        readers = Readers(run, world, PEOPLE)
        await readers.introduce()
        async with (
            world.load.publishing(RATE),
            readers.notified(PEOPLE_RATE, world.load.booking, WINDOW * 1.2),
        ):
            await _disturb(run, world)
        await readers.finished()
        items = await readers.found()
        world.load.due.digest_items |= readers.unread
        world.waited.digest_items += [(item.serial, item.message_id) for item in items]
        first = await _first_of_digests(run, world, readers)
        due = {item: first[_id_in(item.message_id)] + WINDOW for item in items}
        _note_deviations(run, "a digest", due)


@experiment(
    "escalations",
    f"a mail after {AFTER:.0f} s to each of {PEOPLE} people who has not read a notification; {_FAULTS}",
    promises="1, 2, 4",
    may_repeat=SENT,
)
async def escalations(run: Run) -> None:
    settings = {**_SETTINGS, "ESCALATIONS": f"food.email=after {AFTER:.0f}s if unread"}
    async with run.world(settings=settings, own_settings=wrong_clocks()) as world:
        readers = Readers(run, world, PEOPLE)
        await readers.introduce()
        expired = world.load.expired
        async with (
            world.load.publishing(RATE),
            readers.notified(PEOPLE_RATE, lambda serial, user, _: expired(serial, user), AFTER * 1.5),
        ):
            await _disturb(run, world)
        await readers.finished()
        items = await readers.found()
        world.load.due.steps |= readers.unread
        world.waited.steps += [(item.serial, item.message_id) for item in items]
        _note_deviations(run, "a step", {item: readers.published_at[item.serial] + AFTER for item in items})


@experiment(
    "snoozes",
    f"{PEOPLE} people snooze notifications for 4 to 12 s, and archive or unarchive some before that is over; "
    f"{_FAULTS}",
    promises="1, 2, 3",
    may_repeat=SENT,
)
async def snoozes(run: Run) -> None:
    async with run.world(settings=_SETTINGS, own_settings=wrong_clocks()) as world:
        async with Sleepers(run, world, PEOPLE) as sleepers, world.load.publishing(RATE):
            async with sleepers.snoozing(PEOPLE_RATE):
                await _disturb(run, world)
            await sleepers.awake()
        world.load.due.snoozes |= sleepers.due
        world.waited.snoozes += sleepers.returned
        await sleepers.check_inboxes()
        early, late = sleepers.deviations
        _note(run, "the end of a snooze", early, late)


async def _disturb(run: Run, world: World) -> None:
    """All faults, one after the other, with pauses in which what waited comes to its end."""
    faults, seconds = some_faults(run), run.sized(SECONDS, least=9)
    await world.stored(50)
    for fault in faults:
        await asyncio.sleep(seconds / len(faults))
        run.say(fault.what)
        await fault.inject(run, world)


async def _first_of_digests(run: Run, world: World, readers: Readers) -> Mapping[str, float]:
    """When the first event was published of all that joined a digest, by the digest's id."""
    connection = await run.site.postgres.connect(world.database)
    try:
        rows = await connection.fetch(_JOINED, [*readers.addresses.values()])
    finally:
        await connection.close()
    return {
        digest: min(readers.published_at[int(event.rpartition("-")[2])] for event in events)
        for digest, events in rows
    }


def _id_in(message_id: str) -> str:
    return message_id[1:37]


def _note_deviations(run: Run, what: str, due: Mapping[FoundItem, float]) -> None:
    """Of the first mail about each event; later ones may be copies of it."""
    first: dict[tuple[int, str], FoundItem] = {}
    for item in sorted(due, key=lambda item: item.received_at):
        first.setdefault((item.serial, item.message_id), item)
    off: Sequence[float] = [item.received_at - due[item] for item in first.values()]
    _note(run, what, -min(off, default=0.0), max(off, default=0.0))


def _note(run: Run, what: str, early: float, late: float) -> None:
    run.figure(f"{what} was early by at most", max(0.0, early), "s", at_most=EARLY_SECONDS)
    run.figure(f"{what} was late by at most", max(0.0, late), "s")
    if early > EARLY_SECONDS and run.size < 1:  # at full size that is a problem already
        run.problems.append(f"{what} was {early:.1f} s early")
    if late > LATE_SECONDS:
        run.problems.append(f"{what} was {late:.0f} s late")
