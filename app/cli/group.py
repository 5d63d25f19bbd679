"""Typer as this project uses it: plain text, no shell completion, commands imported when they are called."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Annotated, Any, ClassVar, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_command

Workers = Annotated[
    str | None,
    typer.Option(metavar="N", help="Number of processes on this machine (WORKERS). Each is a node."),
]
"""The option that the root and `serve` share."""


def new_app(**options: Any) -> typer.Typer:
    """Create a Typer application whose help and errors are plain text.

    Tracebacks stay Python's own: Typer's show local variables, and these hold passwords and tokens.
    """
    return typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        **options,
    )


class LazyCommand(NamedTuple):
    """The module that holds a command as `app`, and the line that the list of commands shows for it."""

    module: str
    summary: str


class LazyGroup(TyperGroup):
    """A group that imports the module of a command when that command is called, and not for the list."""

    lazy: ClassVar[Mapping[str, LazyCommand]] = {}

    def list_commands(self, ctx: object) -> list[str]:
        """The names of the commands, in the order of the help."""
        return list(self.lazy)

    def get_command(self, ctx: object, cmd_name: str) -> Any:
        """Import a command when it is called; None if there is no such command."""
        command = self.lazy.get(cmd_name)
        return command and get_command(import_module(command.module).app)

    def format_commands(self, ctx: object, formatter: Any) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.summary) for name, command in self.lazy.items()])
