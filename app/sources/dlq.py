"""A dead letter as `run.py dlq` shows it, and the reader of one broker's dead letters."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from app.sources.dead_letters import (
    ATTEMPTS,
    CHANNEL,
    CUT_FROM,
    ERROR,
    NULL_VALUE,
    POSITION,
    QUEUE,
    REASON,
    REDACTED,
    STREAM,
    TIME,
    TOPIC,
)

_NOT_REPLAYABLE = {
    REDACTED: "its secret was redacted; the publisher has to send a new event",
    CUT_FROM: "the message is truncated; the publisher has to send it again",
    NULL_VALUE: "the record has no value (a tombstone), so it is not an event",
}


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter."""

    id: str
    """Identifies it to the operator: broker, place and number, with colons between."""
    source: str
    target: str
    """Where a replay publishes it: the Kafka topic, the queue or the stream."""
    why: Mapping[str, str]
    """The headers of the format: see `app.sources.dead_letters`."""
    headers: Sequence[tuple[str, Any]]
    """The publisher's."""
    key: bytes | None
    body: bytes
    handle: Any
    """What its reader identifies it by."""
    done: str | None = None
    """Its state (replayed, dropped), where the broker keeps that."""
    properties: str = ""
    """Further metadata that the publisher set: AMQP's properties."""
    decoded: bytes | None = None
    """The body without its content encoding, where the broker has those."""

    @property
    def texts(self) -> Iterator[bytes]:
        """All text in it, for a search."""
        yield self.body
        yield self.decoded or b""
        yield self.key or b""
        yield self.properties.encode()
        for name, value in (*self.headers, *self.why.items()):
            yield name.encode()
            yield value if isinstance(value, bytes) else str(value).encode()

    @property
    def place(self) -> str:
        """Where it came from."""
        return next(
            (self.why[name] for name in (TOPIC, QUEUE, STREAM, CHANNEL) if name in self.why), self.target
        )

    @property
    def reason(self) -> str:
        """The code of the reason; `-` if it has none."""
        return self.why.get(REASON, "-")

    @property
    def error(self) -> str:
        """The error as text; `-` if it has none."""
        return self.why.get(ERROR, "-")

    @property
    def time(self) -> datetime | None:
        """When it was written, if it says so."""
        with suppress(ValueError):
            found = datetime.fromisoformat(self.why.get(TIME, ""))
            return found if found.tzinfo else None
        return None

    @property
    def hindrance(self) -> str | None:
        """Why it can't be replayed; None if it can be."""
        for header, hindrance in _NOT_REPLAYABLE.items():
            if header in self.why:
                return hindrance
        if POSITION not in self.why or ATTEMPTS not in self.why:
            return "it has no deduplication key: this hub did not write it"
        return None


class DlqReader(Protocol):
    """The dead letters of one broker. All calls raise what the driver raises; `open_dlq` translates it."""

    @property
    def targets(self) -> Sequence[str]:
        """The Kafka topics, queues or streams that have a DLQ here."""

    def dead_letters(self, done: bool) -> AsyncGenerator[DeadLetter, None]:
        """Yield those that exist at the start, the oldest of each place first.

        With `done` also those that were replayed or dropped, where the broker still has them.
        """

    async def replay(self, dead_letter: DeadLetter) -> None:
        """Publish the message to where it came from, then remove the dead letter.

        An interrupted replay is repeated by the next one, which is safe: the event has the same deduplication
        key. `dead_letter` has no hindrance, and is the one that `dead_letters` yielded last.
        """

    async def drop(self, dead_letter: DeadLetter) -> None:
        """Remove the dead letter that `dead_letters` yielded last, permanently."""

    async def remove(self, unwanted: Callable[[DeadLetter], bool]) -> Counter[str]:
        """Remove all such dead letters, also those that are done, so that none of their content can be read;
        return how many, by target.
        """

    async def keeps(self) -> Mapping[str, str]:
        """The targets whose dead letters `remove` can't remove, and why."""


async def drop_all(reader: DlqReader, unwanted: Callable[[DeadLetter], bool]) -> Counter[str]:
    """Implement `DlqReader.remove` for a broker where dropping a dead letter removes it."""
    removed: Counter[str] = Counter()
    async with aclosing(reader.dead_letters(done=True)) as dead_letters:
        async for dead_letter in dead_letters:
            if unwanted(dead_letter):
                await reader.drop(dead_letter)
                removed[dead_letter.target] += 1
    return removed
