"""`run.py dev`: the hub with all services embedded."""

from __future__ import annotations

from app.cli.group import new_app
from app.dev import run

app = new_app()


@app.command()
def dev() -> None:
    """Serve with Postgres, Redis, a Kafka broker and a mail catcher embedded, as `make run` does."""
    run.run()
