"""`run.py publish`: an event for the hub that `make run` started."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from app.cli.group import new_app
from app.dev import samples

app = new_app()


@app.command()
def publish(
    event: Annotated[str, typer.Argument(help="A JSON file, or an event type, whose sample is sent.")],
) -> None:
    """Publish an event to the hub that `make run` started."""
    print("Published to", asyncio.run(samples.publish_to_running(event)))
