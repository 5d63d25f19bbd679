"""The events of an experiment: what is sent, at which rate, and what ought to come of it."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from math import ceil, inf
from typing import Any

from confluent_kafka import Producer

from faults.ledger import Due
from tests.support.hub import GROUP

SERIAL = "serial"
"""An unknown field of the data, and a header: the hub hands both through."""
DOMAIN = "faults.example"
GROUPS = [f"00000000-0000-4000-8000-{number:012}" for number in range(20)]
"""Whose names the user service knows."""
NAME = "Family Group"
"""That of all of them."""
CROWD = [f"00000000-0000-4000-8001-{number:012}" for number in range(600)]
"""Receivers that no client listens for."""
MAX_CLIENTS_IN_CROWD = 20
_TICK = 0.01  # seconds
_AT_ONCE = 50
_FLUSH = 1.0


@dataclass(frozen=True)
class Mixture:
    """Of how many events one is special; 0: none."""

    mail_every: int = 50
    """A booking: one notification and one mail."""
    fan_out_every: int = 20
    """Has three receivers."""
    large_every: int = 0
    """Has some clients and many others as its receivers, so that it is written in chunks."""
    twice_every: int = 25
    """Is sent twice."""
    garbage_every: int = 0
    """Can't be handled."""
    group_every: int = 0
    """Doesn't say what its group is called, so the user service is asked."""
    groups: Sequence[str] = tuple(GROUPS)
    """Of which such an event has one."""


class Load:
    """Publishes events to one Kafka topic, and knows what is due for those that the broker acknowledged."""

    def __init__(
        self, bootstrap: str, topic: str, users: Sequence[str], mixture: Mixture, chance: random.Random
    ) -> None:
        """`bootstrap` bypasses the proxy that is made to fail: a publisher's troubles aren't the hub's."""
        self.due = Due()
        self.taken_at: dict[int, float] = {}
        """By `time.monotonic`: when the broker took an event, if that needs no more than its own words."""
        self._topic = topic
        self._users = users
        self._mixture = mixture
        self._chance = chance
        self._mark = f"{chance.getrandbits(48):012x}"
        self._refused: list[str] = []
        self._producer: Any = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "linger.ms": 2,
                "message.timeout.ms": 0,  # never give up: a broker that was away comes back
                "queue.buffering.max.messages": 1_000_000,
                "reconnect.backoff.max.ms": 500,
                "topic.metadata.refresh.interval.ms": 1000,  # new partitions are used at once
                "log_level": 0,
            }
        )

    @asynccontextmanager
    async def publishing(
        self, rate: float, events: float = inf, mixture: Mixture | None = None
    ) -> AsyncIterator[None]:
        """Publish so many events a second beside the block: `events` of them, else until its end. After it
        the broker has them all. `mixture`: another one than that of the world.
        """
        over = asyncio.Event()
        work = self._publish(rate, events, over, mixture or self._mixture)
        publishing = asyncio.create_task(work, name="load")
        try:
            yield
            if events == inf:
                over.set()
            await publishing
        finally:
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)

    def event(self, user: str, *, due: bool = True) -> dict[str, Any]:
        """An event that the experiment publishes. If it isn't due, whatever comes of it is strange."""
        serial = self.due.produced
        self.due.produced += 1
        if due:
            self.due.rows.add((user, serial))
        return self._added(serial, [user])

    def broadcast(self, topic: str, users: Sequence[str], crowd: Sequence[str]) -> None:
        """Publish an event to the followers of a topic: users of the ledger, and others without clients."""
        serial = self.due.produced
        self.due.produced += 1
        self.due.rows.update((user, serial) for user in users)
        self.due.people.update((user, serial) for user in crowd)
        event = self._added(serial, [])
        del event["receivers"]
        value = json.dumps({**event, "audience": {"topic": topic}}).encode()
        self._producer.produce(self._topic, value, on_delivery=partial(self._note, None))

    def publish(self, event_of: Callable[[int], dict[str, Any]]) -> int:
        """Publish an event of which the experiment knows itself what is due. Returns its serial number, which
        `event_of` gets.
        """
        serial = self.due.produced
        self.due.produced += 1
        value = json.dumps(event_of(serial)).encode()
        self._producer.produce(self._topic, value, on_delivery=partial(self._note, serial))
        return serial

    def booking(self, serial: int, user: str, to: str) -> dict[str, Any]:
        """A notification and a mail."""
        return {
            "event_id": f"{self._mark}-{serial}",
            "event_type": "booking.confirmed",
            "user_email": to,
            "user_id": user,
            "booking_id": f"BOOK-{serial}",
            "movie_title": "Movie Name",
            "showtime": "2026-12-15 19:30",
            "seats": ["A1"],
            "total_amount": 25.5,
            SERIAL: serial,
        }

    def expired(self, serial: int, user: str) -> dict[str, Any]:
        """A notification of the category food, whose title names the serial number."""
        data = {"group_name": NAME, "unit_name": f"BOX-{serial}", "storage_name": "Fridge", SERIAL: serial}
        return self._added(serial, [user]) | {"event_type": "food_expired", "data": data}

    async def _publish(self, rate: float, events: float, over: asyncio.Event, mixture: Mixture) -> None:
        begin, sent = time.monotonic(), 0
        while sent < events and not over.is_set():
            due = min(events, (time.monotonic() - begin) * rate)
            for _ in range(min(_AT_ONCE, ceil(due - sent))):  # then others get a turn, however late it is
                self._send(self.due.produced, mixture)
                sent += 1
            self._producer.poll(0)
            await asyncio.sleep(_TICK)
        while await asyncio.to_thread(self._producer.flush, _FLUSH):
            pass
        assert not self._refused, f"the broker refused events: {self._refused[:3]}"

    def _send(self, serial: int, mixture: Mixture) -> None:
        due = self.due
        due.produced += 1
        large = _is_one_of(serial, mixture.large_every)
        if _is_one_of(serial, mixture.garbage_every):
            value = _garbage(serial, self._chance)
            due.dead_letters.add(serial)
        elif _is_one_of(serial, mixture.mail_every) and not large:  # each 400th is a 50th too
            user = self._chance.choice(self._users)
            value = json.dumps(self.booking(serial, user, address(serial))).encode()
            due.rows.add((user, serial))
            due.mails.add(serial)
        else:
            most = MAX_CLIENTS_IN_CROWD if large else 3 if _is_one_of(serial, mixture.fan_out_every) else 1
            receivers = self._chance.sample(self._users, min(most, len(self._users)))
            event = self._added(serial, [*receivers, *CROWD] if large else receivers)
            if large:
                # Others are of another group, so they don't wait for it. Of one group, one node writes them.
                event["group_id"] = self._chance.choice(GROUPS)
            if _is_one_of(serial, mixture.group_every):
                event["group_id"] = self._chance.choice(mixture.groups)
                del event["data"]["group_name"]
            value = json.dumps(event).encode()
            due.rows.update((user, serial) for user in receivers)
        # A repeated event of this kind rightly has a second dead letter.
        twice = _is_one_of(serial, mixture.twice_every) and serial not in due.dead_letters
        for _ in range(2 if twice else 1):
            headers = {SERIAL: str(serial)}
            note = partial(self._note, None if _is_one_of(serial, mixture.group_every) else serial)
            self._producer.produce(self._topic, value, headers=headers, on_delivery=note)

    def _note(self, serial: int | None, error: object, _: object) -> None:
        if error is not None:
            self._refused.append(str(error))
        elif serial is not None:
            self.taken_at.setdefault(serial, time.monotonic())

    def _added(self, serial: int, receivers: Sequence[str]) -> dict[str, Any]:
        return {
            "event_id": f"{self._mark}-{serial}",
            "event_type": "group_user_added",
            "group_id": GROUP,
            "receivers": receivers,
            "data": {"group_name": NAME, "requester_username": "john_doe", SERIAL: serial},
        }


def address(serial: int) -> str:
    """Where the mail of this event goes: nobody else's."""
    return f"e{serial}@{DOMAIN}"


def serial_of(address: str) -> int:
    """The event whose mail goes there."""
    return int(address.removeprefix("e").removesuffix(f"@{DOMAIN}"))


def _is_one_of(serial: int, every: int) -> bool:
    return every > 0 and serial % every == every - 1


def _garbage(serial: int, chance: random.Random) -> bytes:
    """Something that no handler can take, of every kind."""
    whole = {"event_type": "group_user_added", "group_id": GROUP, "receivers": [], "data": {SERIAL: serial}}
    kinds: tuple[bytes, ...] = (
        b"",
        b"not JSON",
        b'{"event_type": "group_user_added", ',
        b"\xff\xfe\x00" + chance.randbytes(50),
        b"[1, 2, 3]",
        b"null",
        json.dumps({**whole, "event_type": "no_such_event"}).encode(),
        json.dumps(whole).encode(),
        json.dumps({**whole, "receivers": ["nobody"], "data": "none"}).encode(),
        b'{"a":' * 5000,
    )
    return chance.choice(kinds)
