"""The hub's command. Without arguments it serves, with the settings of the environment."""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import nullcontext
from uuid import UUID

from app.cli import dlq as dead_letters
from app.domain.errors import HubError


def _serve(arguments: argparse.Namespace) -> int:
    from app import settings
    from app.server import supervisor as workers

    loaded = settings.load(workers=arguments.workers)
    with workers.share_metrics() if loaded.workers > 1 else nullcontext():
        from app.server import app as server

        return server.run(loaded)


def _dev(_: argparse.Namespace) -> None:
    from app.dev import run

    run.run()


def _token(arguments: argparse.Namespace) -> None:
    from app.dev import home, tokens

    jwt = home.read()["jwt"]
    print(tokens.sign(str(arguments.user_id), jwt["secret"], issuer=jwt["issuer"], scope=arguments.scope))


def _publish(arguments: argparse.Namespace) -> None:
    from app.dev import home, samples

    dev = home.read()
    sample = samples.load(arguments.event)
    print("Published to", asyncio.run(samples.publish(dev["kafka"], dev["topics"], sample)))


def _mail_test(arguments: argparse.Namespace) -> int:
    from app.cli import mail_test as smtp_check

    return asyncio.run(smtp_check.run(arguments.to))


def _erase(arguments: argparse.Namespace) -> int:
    from app import settings
    from app.cli import erase as command

    return asyncio.run(
        command.run(
            settings.load(),
            arguments.user_id,
            arguments.address,
            dry_run=arguments.dry_run,
            sure=arguments.yes,
        )
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__)
    parser.set_defaults(command=_serve)
    _add_workers(parser, None)
    commands = parser.add_subparsers(title="commands", metavar="")
    serve = commands.add_parser("serve", help="serve (the default); settings: .env.example")
    serve.set_defaults(command=_serve)
    _add_workers(serve, argparse.SUPPRESS)
    commands.add_parser("dev", help="serve with everything embedded: `make run`").set_defaults(command=_dev)
    token = commands.add_parser("token", help="print a token of a user, for the hub that `make run` started")
    token.add_argument("user_id", type=UUID)
    token.add_argument("--scope", help="makes it a service's, such as notifications:send")
    token.set_defaults(command=_token)
    publish = commands.add_parser("publish", help="publish an event to the hub that `make run` started")
    publish.add_argument("event", help="a JSON file, or an event type: its sample is sent")
    publish.set_defaults(command=_publish)
    mail = commands.add_parser("mail", help="mail test --to you@example.com: check the SMTP settings")
    test = mail.add_subparsers(title="commands", metavar="test", required=True).add_parser(
        "test", help="go the way of a mail step by step; says what is wrong and how to mend it"
    )
    test.add_argument("--to", required=True, metavar="ADDRESS", help="who gets it")
    test.set_defaults(command=_mail_test)
    erase = commands.add_parser("erase", help="remove all that is known of a person, and say what that was")
    erase.add_argument("user_id", type=UUID)
    erase.add_argument(
        "--address",
        action="append",
        default=[],
        help="a mail address or phone number of theirs that their profile doesn't name; any number of times",
    )
    erase.add_argument("--dry-run", action="store_true", help="only say what there is")
    erase.add_argument("--yes", action="store_true", help="don't ask")
    erase.set_defaults(command=_erase)
    dead_letters.add(commands)
    return parser


def _add_workers(parser: argparse.ArgumentParser, default: str | None) -> None:
    parser.add_argument(
        "--workers", metavar="N", default=default, help="processes on this machine (WORKERS); each is a node"
    )


def main() -> int:
    """Run the command; returns its exit status."""
    arguments = _parser().parse_args()
    try:
        status: int | None = arguments.command(arguments)
    except HubError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status or 0


if __name__ == "__main__":
    sys.exit(main())
