"""The root of the command line: `run.py` calls `main`."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import ClassVar

import typer
from typer.main import get_command

from app.cli.group import LazyCommand, LazyGroup, Workers, new_app
from app.domain.errors import HubError

COMMANDS = {
    "serve": LazyCommand("app.cli.serve", "Serve (the default). Settings: .env.example"),
    "migrate": LazyCommand("app.cli.migrate", "Bring the database to the newest migration"),
    "outbox": LazyCommand("app.cli.outbox", "Deliver mail and SMS in a separate process"),
    "bounces": LazyCommand("app.cli.bounces", "Read the mails that mail servers send back (IMAP)"),
    "mail": LazyCommand("app.cli.mail_test", "mail test --to you@example.com: check the settings of mail"),
    "vapid": LazyCommand("app.cli.vapid", "Make the key that signs web push"),
    "check": LazyCommand("app.cli.check", "Check events before they are published: check event.json"),
    "erase": LazyCommand("app.cli.erase", "Erase everything that the hub stores about one person"),
    "dlq": LazyCommand("app.cli.dlq", "List, show, replay or drop dead letters"),
    "webhooks": LazyCommand("app.cli.webhooks", "Add, list, rotate, enable, replay or remove webhooks"),
    "broadcasts": LazyCommand("app.cli.broadcasts", "List, show, pause, resume or cancel broadcasts"),
    "parked": LazyCommand(
        "app.cli.parked", "List, show, replay or drop events that wait for the user service"
    ),
}
DEVELOPMENT_COMMANDS = {
    "dev": LazyCommand("app.cli.dev", "Serve with all services embedded (`make run`)"),
    "token": LazyCommand("app.cli.token", "Print a token for the hub that `make run` started"),
    "publish": LazyCommand("app.cli.publish", "Publish an event to the hub that `make run` started"),
    "generate": LazyCommand("app.cli.generate", "Write the files that are generated from the code"),
}


class _Root(LazyGroup):
    # The image has no app.dev, so these commands cannot work there.
    lazy: ClassVar = {**COMMANDS, **(DEVELOPMENT_COMMANDS if find_spec("app.dev") else {})}


def _exit(status: int | None, **_: object) -> None:
    """Make the value that a command returns the exit status."""
    raise typer.Exit(status or 0)


app = new_app(cls=_Root, invoke_without_command=True, result_callback=_exit)


@app.callback()
def _root(context: typer.Context, workers: Workers = None) -> int | None:
    """The command line of the notification hub.

    Without a command it serves, with the settings of the environment.
    """
    context.obj = workers
    if context.invoked_subcommand is not None:
        return None
    from app.cli.serve import serve

    return serve(context)


def main() -> None:
    """Run the command that `sys.argv` names, and exit.

    The exit status is 0, or 1 if the command failed, 2 for wrong usage, 130 after Ctrl-C. The text of a
    `HubError` goes to standard error.
    """
    try:
        get_command(app).main(prog_name="run.py")
    except HubError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
