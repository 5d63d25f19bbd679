"""`run.py publish`: an event for the hub that `make run` started."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import msgspec
import typer

from app.cli.group import new_app
from app.dev import samples

app = new_app()


@app.command()
def publish(
    event: Annotated[str, typer.Argument(help="A JSON file, or an event type, whose sample is sent.")],
) -> int:
    """Publish an event to the hub that `make run` started.

    An event that the hub would dead-letter isn't published: the exit status is 1, and the lines are those of
    `run.py check`.
    """
    from app.cli.check_events import event_checker

    sample = samples.load(event)
    checker, inputs = event_checker()
    place = next((each for each in inputs if each.setting == sample.setting), inputs[0])
    problems = checker.check(msgspec.json.encode(sample.message), place)
    for problem in problems:
        print(f"{event}: {problem}", file=sys.stderr)
    if any(problem.fatal for problem in problems):
        print("Not published.", file=sys.stderr)
        return 1
    print("Published to", asyncio.run(samples.publish_to_running(sample)))
    return 0
