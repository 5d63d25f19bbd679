"""`run.py outbox`: deliver mail and SMS in a separate process."""

from __future__ import annotations

from app import settings
from app.cli.group import new_app

app = new_app()


@app.command()
def outbox() -> int:
    """Deliver until SIGTERM or Ctrl-C, with the settings of the hub.

    Rendering and sending mail then takes no time from the nodes that push. Set OUTBOX_IN_PROCESS=false for
    these; as many of this process may run as you like.
    """
    from app.server import outbox_process

    return outbox_process.run(settings.load())
