"""Connections to the mail server: logins, many mails over few of them, and those that die."""

from __future__ import annotations

import asyncio
import time

import pytest
import uvloop

from app.domain.deliveries import Status
from app.outbox import failures
from app.outbox.channel import DeliveryCancelled, Outdated
from app.outbox.email import pool as smtp_pool
from app.outbox.email.channel import EmailChannel
from tests.support.certificates import Authority
from tests.support.mail import HURRY, LOGIN, channel_to, failure, mail
from tests.support.smtp_server import DROP, HANG, SmtpServer, Step, running

# --- the login ----------------------------------------------------------------------------------------------


async def test_a_wrong_password_waits_for_an_operator_and_is_not_tried_again_and_again(
    server: SmtpServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(failures, "monotonic", lambda: now)
    server.login = (LOGIN[0], "another")
    async with channel_to(server, smtp_connections=1) as channel:
        failed = await asyncio.gather(*(failure(channel) for _ in range(20)))
        assert {(each.code, each.retryable) for each in failed} == {("smtp_535", True)}
        assert {str(each) for each in failed} == {"535 5.7.8 bad username or password"}
        assert {each.retry_after for each in failed} == {failures.PAUSE_SECONDS}
        assert server.connections == 1
        logged = [record for record in caplog.records if record.message == "setup_failed"]
        assert [(record.name, record.levelname) for record in logged] == [("hub.mail", "ERROR")]
        server.login = LOGIN
        assert (await failure(channel)).code == "smtp_535"
        now = failures.PAUSE_SECONDS
        await channel.send(mail())


async def test_a_server_that_offers_no_login_or_wants_one(authority: Authority) -> None:
    tls = authority.server("127.0.0.1")
    async with running(SmtpServer(tls)) as server:
        async with channel_to(server, smtp_username="hub", smtp_password=LOGIN[1]) as channel:
            assert (await failure(channel)).code == "login_not_offered"
        server.login = LOGIN
        async with channel_to(server, smtp_username=None) as channel:
            failed = await failure(channel)
            assert (failed.code, failed.retryable, failed.retry_after) == (
                "smtp_530",
                True,
                failures.PAUSE_SECONDS,
            )


# --- many mails over few connections ------------------------------------------------------------------------


async def test_many_mails_go_over_few_connections(server: SmtpServer) -> None:
    async with channel_to(server, smtp_connections=3) as channel:
        await asyncio.gather(*(channel.send(mail(f"n{number}@example.com")) for number in range(60)))
        await channel.send(mail())
    assert len({received.recipient for received in server.messages}) == 61
    assert server.connections == server.most_open == 3
    assert server.commands.count("QUIT") == 3


async def test_two_sends_at_once_do_not_mix(server: SmtpServer, channel: EmailChannel) -> None:
    first, second = mail("an@example.com"), mail("binh@example.com")
    await asyncio.gather(channel.send(first), channel.send(second))
    found = {received.recipient: received.parsed for received in server.messages}
    for outgoing in (first, second):
        assert found[outgoing.address]["Message-ID"] == f"<{outgoing.id}@hub.example>"
        assert found[outgoing.address]["To"] == outgoing.address
    assert server.connections == 2


@pytest.mark.parametrize(
    ("step", "death"),
    [
        (None, "restart"),
        ("rset", DROP),
        ("rset", HANG),
        ("rset", "421 4.4.2 idle for too long"),
        ("rset", "500 5.5.1 what?"),
        ("mail", "421 4.7.0 too many mails in this session"),
    ],
)
async def test_a_connection_that_died_while_idle_is_made_up_for(
    server: SmtpServer, step: Step | None, death: str
) -> None:
    async with channel_to(server, smtp_timeout=HURRY * 2) as channel:
        await channel.send(mail())
        if step is None:
            await server.stop()
            await server.start()
        else:
            server.answer(step, death, times=1)
        await channel.send(mail())
        assert len(server.messages) == server.connections == 2


async def test_only_what_was_not_begun_is_tried_again_at_once(
    server: SmtpServer, channel: EmailChannel
) -> None:
    await channel.send(mail())
    steps: tuple[Step, ...] = ("mail", "rcpt", "data", "end")
    for step in steps:
        server.answer(step, DROP, times=1)
        assert (await failure(channel)).retryable
        await channel.send(mail())
    server.answer("mail", "451 4.3.0 not now", times=1)
    assert (await failure(channel)).code == "smtp_451"


async def test_a_connection_is_left_after_many_mails(
    server: SmtpServer, channel: EmailChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp_pool, "MAX_MAILS_PER_CONNECTION", 3)
    for _ in range(6):
        await channel.send(mail())
    await server.emptied()
    assert server.connections == server.commands.count("QUIT") == 2


async def test_idle_connections_are_left_politely(
    server: SmtpServer, channel: EmailChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp_pool, "MAX_IDLE_SECONDS", 0.2)
    await asyncio.gather(channel.send(mail()), channel.send(mail()))
    await asyncio.sleep(0.1)
    await channel.send(mail())
    assert len(server.open) == 2
    await server.emptied()
    assert server.commands.count("QUIT") == 2
    await channel.send(mail())
    assert server.connections == 3


@pytest.mark.parametrize("fault", [DROP, HANG, "354 go ahead", "250 what?", "421 4.3.2 bye"])
async def test_a_refusal_counts_whatever_the_server_does_after_it(server: SmtpServer, fault: str) -> None:
    server.answer("rcpt", "550 5.1.1 no such user", times=1)
    server.answer("data", fault, times=1)
    async with channel_to(server, smtp_timeout=HURRY) as channel:
        failed = await failure(channel)
        assert (failed.code, failed.retryable) == ("smtp_550", False)
    async with channel_to(server) as channel:
        await channel.send(mail())
        assert len(server.messages) == 1


async def test_closing_cancels_what_is_in_progress(server: SmtpServer, channel: EmailChannel) -> None:
    server.answer("data", HANG)
    sending = asyncio.create_task(failure(channel))
    await server.reached("data")
    await channel.close()
    failed = await sending
    assert (failed.code, failed.retryable) == ("disconnected", True)
    await server.emptied()


async def test_closing_does_not_wait_for_a_server_that_hangs(server: SmtpServer) -> None:
    server.answer("quit", HANG)
    async with channel_to(server, smtp_timeout=60.0) as channel:
        await asyncio.gather(channel.send(mail()), channel.send(mail()))
        begun = time.monotonic()
    assert time.monotonic() - begun < smtp_pool.QUIT_TIMEOUT_SECONDS + 1
    await server.emptied()


async def test_a_cancelled_send_leaves_no_half_conversation(
    server: SmtpServer, channel: EmailChannel
) -> None:
    server.answer("data", HANG, times=1)
    sending = asyncio.create_task(channel.send(mail()))
    await server.reached("data")
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await channel.send(mail("binh@example.com"))
    assert [received.recipient for received in server.messages] == ["binh@example.com"]


@pytest.mark.parametrize("why", [Outdated(), DeliveryCancelled(Status.SUPPRESSED, "it was read")])
async def test_what_the_hub_holds_back_at_the_last_moment_keeps_the_connection(
    server: SmtpServer, channel: EmailChannel, why: Exception
) -> None:
    async def refuse() -> None:
        raise why

    with pytest.raises(type(why)):
        await channel.send(mail(), refuse)
    await channel.send(mail("binh@example.com"))
    assert [received.recipient for received in server.messages] == ["binh@example.com"]
    assert server.connections == 1


def test_under_uvloop(authority: Authority) -> None:
    """The loop that the hub runs on: nothing is left behind there either."""

    async def talk() -> None:
        async with (
            running(SmtpServer(authority.server("127.0.0.1"), login=LOGIN)) as server,
            channel_to(server, smtp_timeout=HURRY * 2) as channel,
        ):
            await asyncio.gather(*(channel.send(mail()) for _ in range(10)))
            faults: tuple[tuple[Step, str], ...] = (("handshake", HANG), ("end", DROP), ("data", HANG))
            for step, fault in faults:
                server.cut_all()
                await server.emptied()
                server.answer(step, fault, times=1)
                assert (await failure(channel)).retryable
            await channel.send(mail())
            assert all(received.secure for received in server.messages)

    uvloop.run(talk())


@pytest.mark.parametrize(
    "words", ["", "no code", "99 what", "999 what", "x" * 100_000, "250-" + "x" * 100_000, "250-y\n251 z"]
)
async def test_nonsense_ends_the_conversation(server: SmtpServer, words: str) -> None:
    async with channel_to(server, smtp_timeout=HURRY) as channel:
        server.answer("rcpt", words, times=1)
        failed = await failure(channel)
        assert (failed.code, failed.retryable) == ("bad_answer", True)
        await channel.send(mail())
        assert server.connections == 2


async def test_what_the_server_says_unasked_ends_a_connection(
    server: SmtpServer, channel: EmailChannel
) -> None:
    await channel.send(mail())
    for link in server.open:
        link.transport.write(b"421 4.4.2 idle for too long\r\n")
    await asyncio.sleep(0.05)
    await channel.send(mail())
    assert server.connections == 2
