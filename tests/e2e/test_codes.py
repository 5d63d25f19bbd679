"""One-time codes, from Kafka to a mailbox: at once, never stale, and nowhere but in the mail."""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer
from pydantic import SecretStr

from app.auth.secrets import SecretBox
from app.auth.unsubscribe_tokens import UnsubscribeTokens, Unsubscription
from app.dev.mail import MailCatcher
from tests.support.hub import NO_TLS, REST, Hub, added, close_code, eventually, new_user, running_hub, token
from tests.support.mailbox import mailed, mails, new_address, text_of, with_mail
from tests.support.services import BROKER

AT_ONCE = 3.0  # seconds
PUBLIC_URL = "https://hub.example"


@pytest_asyncio.fixture(scope="module")
async def hub(
    environment: dict[str, str], mailbox: MailCatcher, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Hub]:
    own = with_mail(environment, mailbox, PUBLIC_URL=PUBLIC_URL)
    async with running_hub(own, tmp_path_factory.mktemp("codes") / "log") as running:
        yield running


def request(address: str, code: str, action: str = "register") -> dict[str, str]:
    return {"email": address, "otp_code": code, "action": action}


def new_code() -> str:
    """Recognisable wherever it might leak."""
    return f"CANARY{secrets.token_hex(8).upper()}"


@pytest.mark.parametrize(
    ("setting", "action"),
    [
        ("REGISTRATION_EVENTS_TOPIC", "register"),
        ("RESET_PASSWORD_EVENTS_TOPIC", "reset_password"),
        ("EMAIL_CHANGE_EVENTS_TOPIC", "change_email"),
    ],
)
async def test_each_kafka_topic_mails_its_code(
    hub: Hub, mailbox: MailCatcher, setting: str, action: str
) -> None:
    address, code = new_address(), new_code()
    await hub.publish(request(address, code, action), topic=hub.environment[setting])
    (message,) = await mailed(mailbox, address)
    assert code in text_of(message)
    html = message.get_body(("html",))
    assert html is not None
    assert code in html.get_content()
    assert code not in str(message["Subject"])
    assert message["Message-ID"].endswith("@family.example>")


async def test_an_action_that_does_not_fit_its_kafka_topic_is_dead_lettered_without_its_code(
    hub: Hub, mailbox: MailCatcher
) -> None:
    topic = hub.environment["REGISTRATION_EVENTS_TOPIC"]
    code, broken = new_code(), new_code()
    await hub.publish(
        request(new_address(), code, "change_email"), f'{{"otp_code": "{broken}"'.encode(), topic=topic
    )

    async def both() -> list[Any] | None:
        dead_letters = await hub.records(f"{topic}.dlq")
        return dead_letters if len(dead_letters) >= 2 else None

    dead_letters = await eventually(both, "two dead letters")
    assert {dict(dead_letter.headers)["dlq.reason"] for dead_letter in dead_letters} == {
        b"wrong_action",
        b"not_json",
    }
    everything = repr(
        [(dead_letter.key, dead_letter.value, dead_letter.headers) for dead_letter in dead_letters]
    )
    assert code not in everything
    assert broken not in everything
    address = new_address()
    await hub.publish(request(address, new_code()), topic=topic)
    await mailed(mailbox, address)


async def test_a_code_stands_nowhere_but_in_its_mail(hub: Hub, mailbox: MailCatcher) -> None:
    address, code = new_address(), new_code()
    await hub.publish(request(address, code), topic=hub.environment["REGISTRATION_EVENTS_TOPIC"])
    await mailed(mailbox, address)

    async def sent() -> bool:
        rows = await hub.rows("select status from deliveries where address = $1", address)
        return [row["status"] for row in rows] == ["sent"]

    await eventually(sent, "the row says so")
    assert code not in hub.log.read_text()
    for table in ("deliveries", "delivery_attempts", "processed_events", "notifications"):
        rows = await hub.rows(f"select t::text as text from {table} t")
        assert not [row for row in rows if code in row["text"]], table
    assert code not in await hub.metrics()


async def test_an_aborted_code_is_not_mailed_and_an_aborted_logout_ends_no_session(
    hub: Hub, mailbox: MailCatcher, pytestconfig: pytest.Config
) -> None:
    if "mock" in pytestconfig.stash[BROKER].description:
        pytest.skip("the embedded broker returns aborted records")
    aborted, committed, code = new_address(), new_address(), new_code()
    stays, leaves = new_user(), new_user()
    producer = AIOKafkaProducer(
        bootstrap_servers=hub.environment["KAFKA_BOOTSTRAP_SERVERS"], transactional_id=f"codes-{stays}"
    )

    async def send(address: str, user: str) -> None:
        event = {"event_type": "account_logged_out", "user_id": user, "access_token_id": "x"}
        sent = {hub.environment["REGISTRATION_EVENTS_TOPIC"]: request(address, code), hub.logout_topic: event}
        for topic, body in sent.items():
            await producer.send_and_wait(topic, json.dumps(body).encode(), partition=0)

    await producer.start()
    try:
        async with hub.socket(stays) as staying, hub.socket(leaves) as leaving:
            await asyncio.sleep(1.1)  # a logout ends no session that began in its own second
            await producer.begin_transaction()
            await send(aborted, stays)
            await producer.abort_transaction()
            async with producer.transaction():
                await send(committed, leaves)
            await mailed(mailbox, committed)
            assert await close_code(leaving) == 4500
            await (await staying.ping())
        assert mails(mailbox, aborted) == []
    finally:
        await producer.stop()


async def test_a_code_does_not_wait_behind_a_backlog_of_notifications(hub: Hub, mailbox: MailCatcher) -> None:
    users = [new_user() for _ in range(50)]
    await hub.publish(*(added(user) for user in users for _ in range(100)))
    address, begun = new_address(), time.monotonic()
    await hub.publish(request(address, new_code()), topic=hub.environment["REGISTRATION_EVENTS_TOPIC"])
    await mailed(mailbox, address, within=AT_ONCE)
    assert time.monotonic() - begun < AT_ONCE


async def test_the_log_of_deliveries_is_for_services_with_the_scope(hub: Hub, mailbox: MailCatcher) -> None:
    address = new_address()
    await hub.publish(request(address, new_code()), topic=hub.environment["REGISTRATION_EVENTS_TOPIC"])
    await mailed(mailbox, address)
    scopes = "notifications:send deliveries:read"
    reader = {"Authorization": f"Bearer {token('booking-service', scope=scopes)}"}
    async with httpx.AsyncClient(base_url=hub.http + REST, verify=NO_TLS) as client:

        async def listed() -> list[dict[str, Any]] | None:
            answer = await client.get("/deliveries", params={"status": "sent", "limit": 5}, headers=reader)
            assert answer.status_code == 200
            return [each for each in answer.json() if each["address"] == address] or None

        (found,) = await eventually(listed, "the delivery is listed")
        answer = await client.get(f"/deliveries/{found['id']}", headers=reader)
        assert [each["outcome"] for each in answer.json()["tries"]] == ["sent"]
        path = f"/deliveries/{found['id']}/resend"
        refused = await client.post(path, headers=reader)
        assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
        resender = {"Authorization": f"Bearer {token('x', scope='deliveries:resend')}"}
        conflict = await client.post(path, headers=resender)
        assert (conflict.status_code, conflict.json()["code"]) == (409, "not_resendable")
        for headers, status in (({}, 401), ({"Authorization": f"Bearer {token(new_user())}"}, 403)):
            assert (await client.get("/deliveries", headers=headers)).status_code == status
        for bad in ("status=lost", "since=yesterday", "limit=0", "channel=pigeon", "before=x"):
            answer = await client.get(f"/deliveries?{bad}", headers=reader)
            assert (answer.status_code, answer.json()["code"]) == (400, "bad_parameter"), bad
        first = await client.get("/deliveries?limit=2&channel=email", headers=reader)
        second = await client.get(hub.http + first.links["next"]["url"], headers=reader)
        assert not {each["id"] for each in first.json()} & {each["id"] for each in second.json()}


async def test_no_mail_is_lost_by_kills_and_at_most_one_doubled_by_each(
    environment: dict[str, str], mailbox: MailCatcher, tmp_path: Path
) -> None:
    """Killed again and again while codes are on their way; whatever is doubled has the same Message-ID."""
    own = with_mail(environment, mailbox, KAFKA_GROUP=f"killed-{new_user()}", DELIVERY_LEASE="2")
    hub = Hub(own, tmp_path / "log", command=("run.py", "--workers", "2"))
    addresses = [new_address() for _ in range(60)]
    kills = 4
    await hub.start()
    try:
        for number, address in enumerate(addresses):
            event = {**request(address, new_code()), "event_id": address}
            await hub.publish(event, topic=own["REGISTRATION_EVENTS_TOPIC"])
            if number % 15 == 14:
                kill_one(hub)
        for address in addresses:
            await mailed(mailbox, address, within=40)
        await asyncio.sleep(3.0)  # a lease: what is to come twice has come
        all_mails = [mails(mailbox, address) for address in addresses]
        assert sum(len(found) - 1 for found in all_mails) <= kills
        for found in all_mails:
            assert len({message["Message-ID"] for message in found}) == 1
    finally:
        await hub.stop()
        print(hub.log.read_text()[-4000:])


def kill_one(hub: Hub) -> None:

    assert hub.process is not None
    for worker in psutil.Process(hub.process.pid).children()[:1]:
        worker.send_signal(signal.SIGKILL)


async def test_an_address_that_unsubscribed_stays_so_over_a_restart(hub: Hub, mailbox: MailCatcher) -> None:
    """The last test of this hub, which it restarts."""
    address = new_address()
    (message,) = await sent_food(hub, mailbox, address, 1)
    link = str(message["List-Unsubscribe"]).strip("<>")
    assert str(message["List-Unsubscribe-Post"]) == "List-Unsubscribe=One-Click"
    path = link.removeprefix(PUBLIC_URL)
    wanted = Unsubscription("food", "email", None, address)
    others = SecretBox((), SecretStr("another hub's secret, as long as it has to be"), SecretStr(""))
    for forged in (f"{path[:-6]}AAAAAA", f"/unsubscribe/{UnsubscribeTokens((), others).make(wanted)}"):
        assert await one_click(hub, forged) == 404
    await sent_food(hub, mailbox, address, 2)
    assert await one_click(hub, path) == 200
    await hub.stop()
    await hub.start()
    for to, category, status in ((address.upper(), "food", "suppressed"), (address, "bookings", "sent")):
        body = {"type": "email", "to": to, "title": "T", "message": "M", "category": category}
        assert await became(hub, body) == status
    assert len(await mailed(mailbox, address, 3)) == 3
    assert await one_click(hub, path) == 200, "the key is the same, and to ask again does no harm"


async def sent_food(hub: Hub, mailbox: MailCatcher, address: str, count: int) -> list[Any]:
    """Send a mail of the category food; the `count` mails there are then."""
    assert await became(hub, {"type": "email", "to": address, "message": "M", "category": "food"}) == "sent"
    return await mailed(mailbox, address, count)


async def one_click(hub: Hub, path: str) -> int:
    """What a mail program does (RFC 8058), without cookie and token. The status of the answer."""
    async with httpx.AsyncClient(base_url=hub.http, verify=NO_TLS) as client:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = await client.post(path, content="List-Unsubscribe=One-Click", headers=form)
    return answer.status_code


async def became(hub: Hub, message: dict[str, Any]) -> str:
    """Send a message; what became of its delivery."""
    login = {"Authorization": f"Bearer {token('kitchen', scope='notifications:send deliveries:read')}"}
    async with httpx.AsyncClient(base_url=hub.http + REST, headers=login, verify=NO_TLS) as client:
        sent = (await client.post("/notifications", json=message)).raise_for_status().json()

        async def done() -> str | None:
            (found,) = (await client.get("/deliveries", params={"event_id": sent["id"]})).json()
            return str(found["status"]) if found["finished_at"] else None

        return str(await eventually(done, "the mail is done with"))
