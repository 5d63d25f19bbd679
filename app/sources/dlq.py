"""A dead letter as the tool sees it, and the place that holds those of one source."""

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

_NOT_AGAIN = {
    REDACTED: "a secret was taken out of it; its publisher has to send a new one",
    CUT_FROM: "only its beginning was kept; its publisher has to send it again",
    NULL_VALUE: "it had no value, and never is an event",
}


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter."""

    id: str
    """Names it for the operator: source, place and number, with colons between."""
    source: str
    target: str
    """Where a replay puts it: the Kafka topic, the queue or the stream."""
    why: Mapping[str, str]
    """The headers of the format: see `app.sources.dead_letters`."""
    headers: Sequence[tuple[str, Any]]
    """The publisher's."""
    key: bytes | None
    body: bytes
    handle: Any
    """What its shelf knows it by."""
    done: str | None = None
    """What became of it (replayed, dropped), where that is known."""
    properties: str = ""
    """What else its publisher said of it: AMQP's properties."""

    @property
    def texts(self) -> Iterator[bytes]:
        """Everything in it that somebody wrote."""
        yield self.body
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
        return self.why.get(REASON, "-")

    @property
    def error(self) -> str:
        return self.why.get(ERROR, "-")

    @property
    def time(self) -> datetime | None:
        """When it was written, as far as it says so."""
        with suppress(ValueError):
            found = datetime.fromisoformat(self.why.get(TIME, ""))
            return found if found.tzinfo else None
        return None

    @property
    def hindrance(self) -> str | None:
        """Why it can't be replayed; None if it can."""
        for header, hindrance in _NOT_AGAIN.items():
            if header in self.why:
                return hindrance
        if POSITION not in self.why or ATTEMPTS not in self.why:
            return "it doesn't say what its event is known by; this hub didn't write it"
        return None


class DlqReader(Protocol):
    """The dead letters of one source. All calls raise what the driver raises; who opened it translates."""

    @property
    def targets(self) -> Sequence[str]:
        """The Kafka topics, queues or streams that its letters are of."""

    def letters(self, done: bool) -> AsyncGenerator[DeadLetter, None]:
        """Those that are there when it begins, the oldest of each place first; with `done` also those that
        were replayed or dropped, where they are still there.
        """

    async def replay(self, letter: DeadLetter) -> None:
        """Put the message back where it came from, then take the letter away. Interrupted in between it is
        put back again by the next replay, which is safe. Only a letter without hindrance, that `letters` gave
        last.
        """

    async def drop(self, letter: DeadLetter) -> None:
        """Take the letter, which `letters` gave last, away for ever."""

    async def remove(self, unwanted: Callable[[DeadLetter], bool]) -> Counter[str]:
        """Take away all such letters, also those that are done, so that nothing of them can be read any more;
        how many, by target.
        """

    async def keeps(self) -> Mapping[str, str]:
        """The targets whose letters `remove` can't take away, and why."""


async def drop_all(reader: DlqReader, unwanted: Callable[[DeadLetter], bool]) -> Counter[str]:
    """`DlqReader.remove` where dropping a letter removes it."""
    removed: Counter[str] = Counter()
    async with aclosing(reader.letters(done=True)) as letters:
        async for letter in letters:
            if unwanted(letter):
                await reader.drop(letter)
                removed[letter.target] += 1
    return removed
