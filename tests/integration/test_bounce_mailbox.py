"""`run.py bounces`: what it reads over IMAP, and what that changes in a real Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from pydantic import SecretStr

from app.auth.secrets import SecretBox
from app.domain.deliveries import Status
from app.domain.errors import ConfigurationError, Unavailable
from app.outbox.email.bounce_mailbox import BounceMailbox, MailboxFailed
from app.outbox.email.return_path import ReturnPath
from app.server.bounce_process import BounceReader
from app.settings.bounces import BounceSettings
from tests.support.imap_server import PASSWORD, USER, FakeMailbox, run_imap
from tests.support.outbox import Scene, mail

MAILS = Path(__file__).parent.parent / "unit" / "bounces"
PATH = ReturnPath(
    "bounces+*@hub.example", SecretBox((), SecretStr("k" * 40), SecretStr("postgresql://p/hub"))
)


@pytest.fixture(name="mailbox")
def _mailbox() -> Iterator[FakeMailbox]:
    with run_imap() as mailbox:
        yield mailbox


def settings(mailbox: FakeMailbox, **changes: object) -> BounceSettings:
    values = {"host": "127.0.0.1", "port": mailbox.port, "security": "none", "username": USER}
    return BounceSettings.model_validate({**values, "password": PASSWORD, **changes})


def bounce(name: str, delivery: UUID) -> bytes:
    return (MAILS / f"{name}.eml").read_bytes().replace(b"RETURN-PATH", PATH.of(delivery).encode())


async def sent(scene: Scene, address: str) -> UUID:
    (delivery,) = await scene.ask(mail(address), category="food")
    await scene.ends(delivery, Status.SENT)
    return delivery


async def test_a_hard_bounce_suppresses_its_address_and_a_soft_one_does_not(
    scene: Scene, mailbox: FakeMailbox
) -> None:
    await scene.node()
    gone, full, away = [await sent(scene, f"{name}@receiver.example") for name in ("gone", "full", "away")]
    first = mailbox.add(bounce("postfix_unknown", gone))
    mailbox.add(bounce("exchange_full", full))
    mailbox.add(bounce("out_of_office", away))
    mailbox.add((MAILS / "ses_unknown.eml").read_bytes())  # to nobody that the hub knows
    reader = BounceReader(settings(mailbox), scene.store.reports, PATH)
    await reader.read()
    rows = {
        name: (await scene.store.get(each)) for name, each in (("gone", gone), ("full", full), ("away", away))
    }
    found = {name: row[0] for name, row in rows.items() if row is not None}
    assert {name: row.status for name, row in found.items()} == {
        "gone": Status.FAILED,
        "full": Status.FAILED,
        "away": Status.SENT,
    }
    said = (
        "550 5.1.1 <gone@receiver.example>: Recipient address rejected: User unknown in virtual mailbox table"
    )
    assert (found["gone"].reason, found["gone"].error_code) == ("the address bounced", "dsn_5.1.1")
    assert found["gone"].error == said
    (next_one,) = await scene.ask(mail("Gone@receiver.example"), category="bookings")
    reason = await scene.ends(next_one, Status.SUPPRESSED)
    assert reason == f"the address is suppressed: it bounced: {said}"
    await sent(scene, "full@receiver.example")
    assert all("\\Seen" in flags for flags in mailbox.flags.values())
    mailbox.flags[first].clear()
    await reader.read()
    assert len(await scene.store.events(gone)) == 1, "it was read before"


async def test_what_cannot_be_recorded_stays_unread(mailbox: FakeMailbox) -> None:
    class Down:
        async def record(self, _: object) -> int:
            raise Unavailable("postgres", "it is down")

    uid = mailbox.add(bounce("postfix_unknown", UUID(int=1)))
    reader = BounceReader(settings(mailbox), Down(), PATH)  # type: ignore[arg-type]
    with pytest.raises(Unavailable):
        await reader.read()
    assert mailbox.flags == {uid: set()}


async def test_only_reports_are_deleted_and_a_token_logs_in(mailbox: FakeMailbox) -> None:
    mailbox.token = "ya29.token"
    report, other = mailbox.add(b"To: a\r\n\r\n"), mailbox.add(b"To: b\r\n\r\n")
    given = settings(mailbox, password=None, delete=True)

    def read() -> None:
        with BounceMailbox(given, mailbox.token) as box:
            assert box.unread() == [str(report), str(other)]
            assert box.fetch(str(other)) == b"To: b\r\n\r\n"
            assert box.fetch("99") is None
            box.done(str(report), report=True)
            box.done(str(other), report=False)

    await asyncio.to_thread(read)
    assert mailbox.flags == {other: {"\\Seen"}}


@pytest.mark.parametrize("fails", ["LOGIN", "SELECT", "UID SEARCH", "UID FETCH", "UID STORE", "connect"])
async def test_a_failure_says_what_failed_and_no_password(mailbox: FakeMailbox, fails: str) -> None:
    mailbox.add(b"To: a\r\n\r\n")
    mailbox.fails = fails
    port = 1 if fails == "connect" else mailbox.port
    reader = BounceReader(settings(mailbox, port=port), None, PATH)  # type: ignore[arg-type]
    with pytest.raises(MailboxFailed, match="BOUNCE_IMAP_HOST") as caught:
        await reader.read()
    assert PASSWORD not in str(caught.value)


async def test_a_wrong_password_is_in_no_text(mailbox: FakeMailbox) -> None:
    reader = BounceReader(settings(mailbox, password="wrong-hunter3-hunter3"), None, PATH)  # type: ignore[arg-type]
    with pytest.raises(MailboxFailed, match="AUTHENTICATIONFAILED") as caught:
        await reader.read()
    assert "hunter3" not in str(caught.value)


@pytest.mark.parametrize("changes", [{"host": None}, {"username": None}, {"password": None}])
def test_settings_that_lack_something_are_named(changes: dict[str, object]) -> None:
    values = {"host": "imap.example", "username": USER, "password": PASSWORD, **changes}
    with pytest.raises(ConfigurationError, match="BOUNCE_IMAP_"):
        BounceReader(BounceSettings.model_validate(values), None, PATH)  # type: ignore[arg-type]
