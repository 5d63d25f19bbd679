"""`run.py bounces`: read the mails that mail servers send back."""

from __future__ import annotations

from typing import Annotated

import typer

from app import settings
from app.cli.group import new_app

app = new_app()


@app.command()
def bounces(
    once: Annotated[bool, typer.Option("--once", help="Read what is unread now, and end.")] = False,
) -> int:
    """Read the mailbox of MAIL_RETURN_PATH over IMAP, until SIGTERM or Ctrl-C.

    Each delivery that a mail server reports about gets the report, and an address that nothing can be
    delivered to is suppressed. See docs/how-to/bounces.md.
    """
    from app.server import bounce_process

    return bounce_process.run(settings.load(), once=once)
