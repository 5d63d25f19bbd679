"""`run.py token`: a token for the hub that `make run` started."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from app.cli.group import new_app
from app.dev import home, tokens

DEMO_USER = UUID(home.DEMO_USER)

app = new_app()


@app.command()
def token(
    user_id: Annotated[UUID, typer.Argument(help="The user.")] = DEMO_USER,
    scope: Annotated[
        str | None,
        typer.Option(help="Scope of a service token, such as notifications:send."),
    ] = None,
) -> None:
    """Print a token of a user, for the hub that `make run` started."""
    jwt = home.read()["jwt"]
    print(tokens.sign(str(user_id), jwt["secret"], issuer=jwt["issuer"], scope=scope))
