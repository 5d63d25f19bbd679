"""Publishers with transactions: what they abort never happened, what hangs has not happened yet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from confluent_kafka import Producer

from faults.experiment import Run, experiment
from faults.logouts import logouts
from faults.world import World
from tests.support.hub import new_user
from tests.support.mailbox import new_address

RATE = 100.0
EVENTS = 20  # of one transaction
TIMEOUT = 10.0  # seconds after which the broker aborts a transaction that hangs
CAUGHT_UP_WITHIN = 2 * TIMEOUT + 10.0  # the broker looks for such transactions every 10 s
STALLED_AFTER = 5.0  # seconds; less than a transaction hangs

Records = Sequence[tuple[str, Mapping[str, Any]]]
"""Kafka topics, and what goes there."""


@experiment(
    "transactions",
    "for 2 minutes, beside plain events: one transaction a second is committed, one is aborted after events, "
    "a logout and a code were written, and 3 hang until the broker aborts them",
    promises="1, 2, 3, 6, 7",
)
async def transactions(run: Run) -> None:
    seconds, hanging = run.sized(120, least=20), run.sized(3)
    settings = {"KAFKA_STALLED_AFTER": str(STALLED_AFTER)}
    async with (
        run.world(nodes=2, settings=settings) as world,
        logouts(run, world),
        world.load.publishing(RATE),
        _untouched(run, world) as (user, address),
    ):
        publisher = await asyncio.to_thread(_transactional, run, "commits-and-aborts", 60.0)
        worst = 0.0
        for number in range(hanging):
            end = time.monotonic() + seconds / hanging
            while time.monotonic() < end:
                await asyncio.to_thread(_write, publisher, _events(world, due=True), commit=True)
                aborted = [*_events(world, due=False), *_never(world, user, address)]
                await asyncio.to_thread(_write, publisher, aborted, commit=False)
                await asyncio.sleep(1)
            worst = max(worst, await _hang(run, world, number))
        run.figure("caught up after one hung, at most", worst, "s", at_most=CAUGHT_UP_WITHIN)
        _not_recreated(run, world)


def _events(world: World, *, due: bool) -> Records:
    chosen = world.chance.choices(world.users, k=EVENTS)
    return [(world.nodes[0].topic, world.load.event(user, due=due)) for user in chosen]


def _never(world: World, user: str, address: str) -> Records:
    """A logout and a code that are aborted."""
    hub = world.nodes[0]
    logout = {"event_type": "account_logged_out", "user_id": user, "access_token_id": "x"}
    code = {"email": address, "otp_code": "123456", "action": "register"}
    return [(hub.logout_topic, logout), (hub.environment["REGISTRATION_EVENTS_TOPIC"], code)]


async def _hang(run: Run, world: World, number: int) -> float:
    """Leave a transaction open, with events behind it: how long until they are there."""
    publisher = await asyncio.to_thread(_transactional, run, f"hangs-{number}", TIMEOUT)
    publisher.begin_transaction()
    _produce(publisher, _events(world, due=False))
    await asyncio.to_thread(publisher.flush)
    await asyncio.sleep(TIMEOUT / 2)
    run.say("a transaction hangs")
    return TIMEOUT / 2 + await world.caught_up()


def _transactional(run: Run, name: str, timeout: float) -> Any:
    publisher: Any = Producer(
        {
            "bootstrap.servers": run.site.kafka.bootstrap,
            "transactional.id": name,
            "transaction.timeout.ms": round(timeout * 1000),
            "log_level": 0,
        }
    )
    publisher.init_transactions(30)
    return publisher


def _write(publisher: Any, records: Records, *, commit: bool) -> None:
    publisher.begin_transaction()
    _produce(publisher, records)
    publisher.flush()  # so that the broker has what is aborted
    if commit:
        publisher.commit_transaction(30)
    else:
        publisher.abort_transaction(30)


def _produce(publisher: Any, records: Records) -> None:
    for topic, event in records:
        publisher.produce(topic, msgspec.json.encode(event))


@asynccontextmanager
async def _untouched(run: Run, world: World) -> AsyncIterator[tuple[str, str]]:
    """Somebody whose connection stays, and who gets no code."""
    user, address = new_user(), new_address()
    async with world.nodes[0].socket(user) as socket:
        yield user, address
        if socket.close_code is not None:
            run.problems.append(f"an aborted logout ended a connection with {socket.close_code}")
    if sent := world.mails.others[address]:
        run.problems.append(f"{len(sent)} mails of codes that were aborted")


def _not_recreated(run: Run, world: World) -> None:
    """A consumer behind an open transaction waits, it doesn't stall."""
    stalled = sum(node.log.read_text().count('"consumer_stalled"') for node in world.nodes)
    if stalled:
        run.problems.append(f"{stalled} times an open transaction was taken for a stall")
