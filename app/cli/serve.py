"""`run.py serve`: run the hub."""

from __future__ import annotations

from contextlib import nullcontext

import typer

from app import settings
from app.cli.group import Workers, new_app
from app.server import supervisor

app = new_app()


@app.command()
def serve(context: typer.Context, workers: Workers = None) -> int:
    """Serve until SIGTERM or Ctrl-C. The settings are listed in .env.example."""
    loaded = settings.load(workers=context.obj if workers is None else workers)
    with supervisor.share_metrics() if loaded.server.workers > 1 else nullcontext():
        from app.server import app as server  # imports prometheus_client: not before `share_metrics`

        return server.run(loaded)
