"""kill -9 at every step between an event and its mail's 250: no mail is lost, and who gets two can tell."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from pathlib import Path

import asyncpg

from tests.e2e.test_codes import new_code, request
from tests.support.hub import Hub, eventually, new_user
from tests.support.mailbox import new_address
from tests.support.smtp_server import HANG, SmtpServer, Step, running

CONVERSATION: tuple[Step, ...] = ("connect", "ehlo", "mail", "rcpt", "data", "middle", "end")


async def test_a_mail_survives_a_kill_at_every_step(environment: dict[str, str], tmp_path: Path) -> None:
    async with running(SmtpServer(extensions=())) as server:  # each command is answered before the next
        own = {
            **environment,
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(server.port),
            "SMTP_SECURITY": "none",
            "SMTP_CONNECTIONS": "10",
            "SMTP_TIMEOUT": "60",
            "DELIVERY_LEASE": "600",
            "KAFKA_GROUP": f"killed-{new_user()}",
        }
        hub = Hub(own, tmp_path / "log")
        await hub.start()
        try:
            addresses = await killed_at_every_step(hub, server)
            await hub.start()
            await lease_over(hub)

            async def all_sent() -> bool:
                rows = await hub.rows("select status from deliveries where address = any($1)", addresses)
                return [row["status"] for row in rows] == ["sent"] * len(addresses)

            await eventually(all_sent, "every delivery is sent")
        finally:
            await hub.stop()
            print(hub.log.read_text()[-4000:])
    ids = defaultdict(set)
    for message in server.messages:
        ids[message.recipient].add(message.parsed["Message-ID"])
    came = Counter(message.recipient for message in server.messages)
    once, heard, noted = addresses[:-3], addresses[-3], addresses[-2]
    uncommitted = addresses[-1]
    assert {address: came[address] for address in (*once, uncommitted)} == dict.fromkeys(
        (*once, uncommitted), 1
    )
    assert (came[heard], came[noted]) == (2, 2), "the server had those, and the hub couldn't know"
    assert all(len(found) == 1 for found in ids.values()), "a double has the same Message-ID"


async def killed_at_every_step(hub: Hub, server: SmtpServer) -> list[str]:
    """One code for each step of the conversation, then one whose 250 isn't noted yet, one that isn't
    committed yet; all in progress when the hub is killed. Their addresses, in this order.
    """
    topic = hub.environment["REGISTRATION_EVENTS_TOPIC"]
    addresses = [new_address() for _ in range(len(CONVERSATION) + 2)]
    go_on = asyncio.Event()
    for step, address in zip(CONVERSATION, addresses, strict=False):
        before = server.times(step)
        server.answer(step, HANG, times=1)
        await hub.publish({**request(address, new_code()), "event_id": address}, topic=topic)
        await server.reached(step, before + 1)
    noted, uncommitted = addresses[-2:]
    server.answer("data", go_on, times=1)
    before = server.times("data")
    await hub.publish({**request(noted, new_code()), "event_id": noted}, topic=topic)
    await server.reached("data", before + 1)
    lock = await asyncpg.connect(hub.database)
    try:
        await lock.execute("begin; lock table deliveries in exclusive mode")
        go_on.set()
        await waits_for_a_lock(hub, "update deliveries")
        await hub.publish({**request(uncommitted, new_code()), "event_id": uncommitted}, topic=topic)
        await waits_for_a_lock(hub, "insert into processed_events")  # of the same statement
        await hub.kill()
    finally:
        await lock.close()
    server.calm()
    return addresses


async def waits_for_a_lock(hub: Hub, statement: str) -> None:
    async def waits() -> bool:
        rows = await hub.rows(
            "select 1 from pg_stat_activity where datname = current_database()"
            " and wait_event_type = 'Lock' and query ilike $1",
            f"%{statement}%",
        )
        return bool(rows)

    await eventually(waits, f"{statement!r} waits for the lock")


async def lease_over(hub: Hub) -> None:
    """As if the ten minutes had passed that nobody else touches what the dead node had taken."""
    await hub.rows("update deliveries set next_attempt_at = now() where status = 'sending'")
