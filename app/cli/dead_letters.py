"""What `run.py dlq` does: list, show, replay or drop the dead letters that a filter selects.

Each call returns the exit status: 0 if everything was done, 1 if not. The reason is then on standard error.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.cli import operator_settings
from app.domain.errors import Unavailable
from app.settings import Settings
from app.sources import BROKERS, Broker
from app.sources.dlq import DeadLetter, DlqReader

Act = Callable[[DlqReader, DeadLetter], Awaitable[None]]

MAX_ERROR_CHARS = 60  # in the list


@dataclass(frozen=True)
class DeadLetterFilter:
    """Selects the dead letters that meet every condition that is set."""

    ids: Collection[str] = ()
    source: str | None = None
    reason: str | None = None
    since: datetime | None = None
    limit: int | None = None

    def selects(self, dead_letter: DeadLetter) -> bool:
        """Whether the dead letter meets the conditions. The caller enforces `limit`."""
        late_enough = self.since is None or (dead_letter.time is not None and dead_letter.time >= self.since)
        return (
            (not self.ids or dead_letter.id in self.ids)
            and late_enough
            and self.reason in (None, dead_letter.reason)
        )

    def brokers(self, loaded: Settings) -> Collection[Broker]:
        """The brokers to read: all that are configured, unless ids or a source name some."""
        if self.ids:
            return [broker for broker in BROKERS if any(id.startswith(f"{broker.name}:") for id in self.ids)]
        if self.source is not None:
            return [broker for broker in BROKERS if broker.name == self.source]
        return [broker for broker in BROKERS if broker.configured(loaded)]


class RateLimiter:
    """Spaces calls evenly, at most `rate` a second. Without a rate it does not wait."""

    def __init__(
        self,
        rate: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._between = 1 / rate if rate else 0.0
        self._clock = clock
        self._sleep = sleep
        self._next = clock()

    async def wait(self) -> None:
        """Return when the next call may start."""
        early = self._next - self._clock()
        if early > 0:
            await self._sleep(early)
        self._next = max(self._next, self._clock()) + self._between


class _Traversal:
    """Passes the selected dead letters to a function, broker by broker."""

    def __init__(self, choice: DeadLetterFilter, *, done: bool = False) -> None:
        self._choice = choice
        self._done = done
        self._missing = set(choice.ids)
        self.seen = 0
        self.more = False
        """Whether there are more than the limit."""
        self.failed = False

    async def each(self, act: Act) -> None:
        """Pass each to `act`. A broker that does not answer is reported, and the others are read."""
        loaded = operator_settings.load()
        for broker in self._choice.brokers(loaded):
            if self.more:
                break
            try:
                async with broker.open_dlq(loaded) as reader, aclosing(self._chosen(reader)) as dead_letters:
                    async for dead_letter in dead_letters:
                        await act(reader, dead_letter)
            except Unavailable as error:
                self._fail(str(error))
        for missing in sorted(self._missing):
            self._fail(
                f"No dead letter {missing}. It may have been replayed or dropped. See `run.py dlq list`."
            )

    async def _chosen(self, reader: DlqReader) -> AsyncGenerator[DeadLetter, None]:
        async with aclosing(reader.dead_letters(self._done)) as dead_letters:
            async for dead_letter in dead_letters:
                if not self._choice.selects(dead_letter):
                    continue
                if self.seen == self._choice.limit:
                    self.more = True
                    return
                self.seen += 1
                self._missing.discard(dead_letter.id)
                yield dead_letter

    def _fail(self, why: str) -> None:
        self.failed = True
        print(why, file=sys.stderr)


async def show_list(choice: DeadLetterFilter, done: bool, as_json: bool) -> int:
    """Print a table of the dead letters, or one JSON object a line."""
    traversal = _Traversal(choice, done=done)
    rows: list[tuple[str, ...]] = []

    async def collect(_: DlqReader, dead_letter: DeadLetter) -> None:
        if as_json:
            _say(_json(_described(dead_letter)))
        else:
            rows.append(_row(dead_letter, done))

    await traversal.each(collect)
    if rows:
        _print_table([_HEAD if done else _HEAD[:-1], *rows])
    elif not (as_json or traversal.failed):
        _say(
            "No dead letters"
            + (" match the filter." if choice != DeadLetterFilter(limit=choice.limit) else ".")
        )
    if traversal.more:
        print(f"There are more than {choice.limit}. Use --limit to show more.", file=sys.stderr)
    return int(traversal.failed)


async def show(choice: DeadLetterFilter, raw: bool) -> int:
    """Print one dead letter with all its properties, or only its message, byte by byte."""
    traversal = _Traversal(choice, done=True)

    async def print_it(_: DlqReader, dead_letter: DeadLetter) -> None:
        if raw:
            sys.stdout.buffer.write(dead_letter.body)
            sys.stdout.buffer.flush()
        else:
            _say(_whole(dead_letter))

    await traversal.each(print_it)
    return int(traversal.failed)


async def replay(choice: DeadLetterFilter, dry_run: bool, rate: float | None) -> int:
    """Send the messages to where they came from again, at most `rate` a second."""
    traversal, pace, impossible = _Traversal(choice), RateLimiter(rate), 0
    done = "would be replayed" if dry_run else "replayed"

    async def replay_one(reader: DlqReader, dead_letter: DeadLetter) -> None:
        nonlocal impossible
        if dead_letter.hindrance is not None:
            impossible += 1
            _say(f"{printable(dead_letter.id)}: cannot be replayed: {dead_letter.hindrance}")
            return
        if not dry_run:
            await pace.wait()
            await reader.replay(dead_letter)
        _say(f"{printable(dead_letter.id)}: {done} to {dead_letter.target}")

    await traversal.each(replay_one)
    _say(f"{traversal.seen - impossible} {done}" + (f", {impossible} cannot be" if impossible else ""))
    return int(traversal.failed or impossible > 0)


async def drop(choice: DeadLetterFilter, dry_run: bool) -> int:
    """Remove the dead letters permanently."""
    traversal = _Traversal(choice)

    async def drop_one(reader: DlqReader, dead_letter: DeadLetter) -> None:
        if not dry_run:
            await reader.drop(dead_letter)
        _say(f"{printable(dead_letter.id)}: {'would be dropped' if dry_run else 'dropped'}")

    await traversal.each(drop_one)
    _say(f"{traversal.seen} {'would be dropped' if dry_run else 'dropped'}")
    return int(traversal.failed)


def printable(text: str) -> str:
    """Escape, as Python does, all characters that could move the cursor or forge a line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _json(value: object) -> str:
    """Encode as JSON in one line. Escapes what `printable` escapes, and no other characters."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


_HEAD = ("ID", "TIME", "SOURCE", "PLACE", "REASON", "ERROR", "DONE")


def _row(dead_letter: DeadLetter, done: bool) -> tuple[str, ...]:
    error = (
        dead_letter.error
        if len(dead_letter.error) <= MAX_ERROR_CHARS
        else dead_letter.error[: MAX_ERROR_CHARS - 1] + "…"
    )
    row = (
        dead_letter.id,
        dead_letter.why.get("dlq.time", "-"),
        dead_letter.source,
        dead_letter.place,
        dead_letter.reason,
        error,
    )
    return tuple(map(printable, (*row, dead_letter.done or "-") if done else row))


def _print_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        _say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _described(dead_letter: DeadLetter) -> dict[str, Any]:
    """The properties without the message."""
    return {
        "id": dead_letter.id,
        "source": dead_letter.source,
        "place": dead_letter.place,
        "why": dead_letter.why,
        "headers": {name: _text(value) for name, value in dead_letter.headers},
        "key": None if dead_letter.key is None else _text(dead_letter.key),
        "bytes": len(dead_letter.body),
        "done": dead_letter.done,
        "hindrance": dead_letter.hindrance,
    }


def _whole(dead_letter: DeadLetter) -> str:
    """All properties, then the message."""
    named = {
        "id": dead_letter.id,
        "source": dead_letter.source,
        "place": dead_letter.place,
        **dict(sorted(dead_letter.why.items())),
        **{f"header {name}": _text(value) for name, value in dead_letter.headers},
        "key": "-" if dead_letter.key is None else _text(dead_letter.key),
        "done": dead_letter.done or "-",
        "replay": "possible" if dead_letter.hindrance is None else f"impossible: {dead_letter.hindrance}",
        "message": f"{len(dead_letter.body)} bytes",
    }
    width = max(map(len, named))
    lines = [printable(f"{name.ljust(width)}  {value}") for name, value in named.items()]
    return "\n".join(
        [*lines, "", *map(printable, _text(dead_letter.decoded or dead_letter.body).split("\n"))]
    )


def _text(value: object) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


def _say(line: str) -> None:
    try:
        print(line, flush=True)
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
