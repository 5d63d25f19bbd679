"""The command `generate`, behind `make generated`."""

from __future__ import annotations

from typer.main import get_command

from app.cli.group import new_app

app = new_app()


@app.command()
def generate() -> None:
    """Write all files that are generated from the code: reference pages, .env.example, AsyncAPI, versions."""
    from app.cli.main import app as root
    from app.dev.generate import write

    write(get_command(root))
