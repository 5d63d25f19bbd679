"""`run.py erase`: erase everything that the hub stores about one person."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Annotated

import typer

from app.cli import operator_settings
from app.cli.group import new_app
from app.domain.erasure import NO_INBOX, Found, Place, Subject
from app.domain.errors import ConfigurationError, HubError, Unavailable
from app.domain.user_ids import MAX_FOREIGN_ID_CHARS, foreign_id, parse_uuid
from app.erasure.connections import Connections
from app.erasure.dead_letters import dead_letters
from app.settings import Settings
from app.sources import BROKERS
from app.store.engine import check_schema, make_engine
from app.store.erasure import ErasingStore
from app.store.migrations import head

SCAN_TIMEOUT_SECONDS = 600.0  # for one statement; some scan a table
PROGRESS_SECONDS = 2.0  # between two lines that say how far it has come
MAX_ROUNDS = 3  # each finds what was in progress during the one before
SETTLE_SECONDS = 1.0  # between two rounds
ELSEWHERE = """
Not searched, because the hub does not own it: the topics and queues that events are read from, backups,
logs, mail and SMS that were sent, and the data of the user service."""
CAME_BACK = """
New data was stored during the erasure: the person is still connected, or events for them are in
progress. Revoke their tokens in the user service, and run the command again."""


app = new_app()


class EraseError(HubError):
    """A place that has to be searched does not answer. The text says what was done until then."""


@app.command()
def erase(
    user_id: Annotated[str, typer.Argument(help="A UUID; with --foreign, any id.")],
    address: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="A mail address or phone number of the person that is not in the profile. Repeatable.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what is stored, and remove nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    foreign: Annotated[
        bool, typer.Option("--foreign", help="The id is the user's id in another system.")
    ] = False,
) -> int:
    """Erase everything that the hub stores about one person, and print what that was."""
    if not foreign and parse_uuid(user_id) is None:
        raise typer.BadParameter(
            f"{user_id!r} is not a UUID. Add --foreign if the id comes from another system."
        )
    return asyncio.run(run(operator_settings.load(), user_id, address or (), dry_run=dry_run, sure=yes))


async def run(loaded: Settings, user_id: str, addresses: Sequence[str], *, dry_run: bool, sure: bool) -> int:
    """Erase the person, or with `dry_run` only print what is stored. `sure` skips the confirmation.

    Returns the exit status: 0 if nothing is left that the hub may remove, 1 if something is left or the
    operator declined. Raises `ConfigurationError`, `Unavailable` and `EraseError`.
    """
    if not (dry_run or sure or sys.stdin.isatty()):
        raise ConfigurationError(
            "Cannot ask for confirmation without a terminal. Add --yes, or --dry-run to list only."
        )
    engine = make_engine(loaded.postgres.model_copy(update={"timeout": SCAN_TIMEOUT_SECONDS}))
    async with AsyncExitStack() as opened:
        store = ErasingStore(engine, _ReadingProgress().show)
        opened.push_async_callback(store.close)
        await check_schema(engine, head())
        subject = await _subject(store, loaded, user_id, addresses)
        connections = Connections(loaded.redis)
        brokers = [broker for broker in BROKERS if broker.configured(loaded)]
        retained = [place for broker in brokers for place in broker.retained_events(loaded)]
        places: list[Place] = [connections, *dead_letters(loaded), *retained, store]
        for place in places[:-1]:
            opened.push_async_callback(place.close)
        with _explaining("Nothing was removed: run the command again when it answers."):
            found = await _look(places, subject)  # nothing is removed unless all of them answer
        print("Erasing", ", ".join([user_id, *subject.addresses]))
        _show("There is" if dry_run else "Found", found)
        if dry_run:
            print(ELSEWHERE)
            return 0
        if not (sure or await asyncio.to_thread(_confirmed)):
            print("Nothing was removed.")
            return 1
        return await _erase([*places, connections], places, subject)


class _ReadingProgress:
    """Says on standard error, now and then, how much of a table was read."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def show(self, table: str, share: float) -> None:
        if time.monotonic() > self._said + PROGRESS_SECONDS:
            self._said = time.monotonic()
            print(f"  {table}: {share:.0%}", file=sys.stderr, flush=True)


async def _subject(store: ErasingStore, loaded: Settings, given: str, addresses: Sequence[str]) -> Subject:
    foreign = foreign_id(given)
    user_id = loaded.ingest.user_ids.read(given)
    if user_id is None and foreign is None:
        raise ConfigurationError(f"A user id has 1 to {MAX_FOREIGN_ID_CHARS} characters.")
    subject = Subject(user_id or NO_INBOX, addresses, foreign)
    return Subject(subject.user_id, [*addresses, *await store.addresses(subject)], foreign)


def _confirmed() -> bool:
    return input("\nPermanently remove everything not marked “stays”? yes or no: ").strip() == "yes"


async def _look(places: Iterable[Place], subject: Subject) -> list[Found]:
    return [found for place in places for found in await place.look(subject)]


async def _erase(order: Sequence[Place], places: Sequence[Place], subject: Subject) -> int:
    """Erase in this order, until a search finds nothing.

    Connections are closed before and after the rows are deleted. A client that reconnects in between would
    continue with the old inbox.
    """
    removed: Counter[str] = Counter()
    with _explaining("Some data was not removed: run the command again when it answers."):
        for again in range(MAX_ROUNDS):
            if again:
                await asyncio.sleep(SETTLE_SECONDS)
            for place in order:
                removed.update({found.where: found.number for found in await place.erase(subject)})
            left = [found for found in await _look(places, subject) if found.number]
            if all(found.stays for found in left):
                break
    _show("Removed", [Found(where, number) for where, number in removed.items()])
    _show("Left", left)
    print(ELSEWHERE)
    if all(found.stays for found in left):
        return 0
    print(CAME_BACK)
    return 1


@contextmanager
def _explaining(consequence: str) -> Iterator[None]:
    try:
        yield
    except Unavailable as error:
        raise EraseError(f"{error}. {consequence}") from None


def _show(title: str, found: Sequence[Found]) -> None:
    print(f"\n{title}:")
    width = max((len(each.where) for each in found), default=0)
    for each in found:
        stays = f"   stays: {each.stays}" if each.stays and each.number else ""
        print(f"  {each.where:{width}} {each.number:>7}{stays}")
    if not found:
        print("  nothing")
