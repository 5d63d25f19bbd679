"""`run.py check event.json`: what the hub would do with an event, before it is published."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from app.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from app.sources.broker import EventInput
    from app.sources.check import EventChecker

STDIN = "-"
LINES_SUFFIXES = (".jsonl", ".ndjson")
_OTP_TTL_SECONDS = 600.0  # of one-time codes; no check depends on it


class NamedEvent(NamedTuple):
    """An event to check, and what to call it."""

    name: str
    value: bytes


def events(
    files: Annotated[
        list[str],
        typer.Argument(help="JSON files with one event, or with one event per line; - is standard input."),
    ],
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="NAME",
            help=(
                "Where the events are published: the name of a Kafka topic, queue, stream or "
                "channel, or http. By default, the check infers it from the event."
            ),
        ),
    ] = None,
) -> int:
    """Check events: would the hub process each, or dead-letter it, and why.

    Prints a line for each problem. The exit status is 1 if an event would be dead-lettered. Warnings name
    fields that are left out, or kept in raw_data only. It needs no services.
    """
    logging.getLogger("hub").addHandler(logging.NullHandler())  # what it would log is printed
    checker, inputs = event_checker()
    named = None if source is None else _input(source, inputs)
    refused = checked = 0
    for event in (each for file in files for each in _read(file)):
        place = named or checker.input_of(event.value, inputs)
        problems = checker.check(event.value, place)
        for problem in problems:
            print(f"{event.name}: {problem}")
        checked += 1
        refused += any(problem.fatal for problem in problems)
    events = "1 event" if checked == 1 else f"{checked} events"
    print(f"{events} checked, {refused} would be dead-lettered", file=sys.stderr)
    return 1 if refused else 0


def event_checker() -> tuple[EventChecker, Sequence[EventInput]]:
    """A checker with the settings of the environment, and all that the hub reads events from."""
    from app import settings
    from app.sources import BROKERS
    from app.sources.check import HTTP, EventChecker
    from handlers.registry import handlers

    loaded = settings.load_events()
    ingest = loaded.ingest
    table = handlers(
        _OTP_TTL_SECONDS, ingest.user_ids, ingest.stock_receivers, image_hosts=ingest.image_hosts
    )
    inputs = [place for broker in BROKERS for place in broker.inputs(loaded)]
    return EventChecker(table, ingest.default_locale), [*inputs, HTTP]


def _input(name: str, inputs: Sequence[EventInput]) -> EventInput:
    for place in inputs:
        if place.name == name:
            return place
    known = ", ".join(place.name for place in inputs)
    raise ConfigurationError(f"--from {name!r} is not one of {known}")


def _read(file: str) -> Iterator[NamedEvent]:
    name = "standard input" if file == STDIN else file
    try:
        content = sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{name}: {error.strerror}") from None
    if not is_lines(file, content):
        yield NamedEvent(name, content)
        return
    for number, line in enumerate(content.splitlines(), 1):
        if line.strip():
            yield NamedEvent(f"{name}:{number}", line)


def is_lines(file: str, content: bytes) -> bool:
    """Whether each line is an event: the whole is no JSON, and its first line is."""
    from app.sources.check import is_json

    if file.endswith(LINES_SUFFIXES):
        return True
    lines = content.split(b"\n", 1)
    return len(lines) == 2 and bool(lines[1].strip()) and is_json(lines[0]) and not is_json(content)
