"""kill -9 while a provider's HTTP API has a mail or SMS: none is lost, and whoever gets two can tell."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import asyncpg
import pytest

from tests.e2e.test_killed_between_event_and_mail import lease_over, waits_for_a_lock
from tests.support.hub import Hub, eventually, new_user
from tests.support.mail_apis import DOMAIN, KEY, SES_KEY, FakeMailApi, run_mail_api
from tests.support.mailbox import new_address
from tests.support.twilio_server import SERVICE, SID, TOKEN, FakeTwilio, run_twilio


class Api(Protocol):
    """A stand-in for a provider."""

    calls: int
    awake: threading.Event


class Case(NamedTuple):
    """A provider that runs, and how the hub reaches it."""

    api: Api
    settings: dict[str, str]
    channel: str
    addresses: tuple[str, str]

    def came(self) -> Counter[tuple[str, str]]:
        """How often it took which message: its address, and what makes a duplicate known."""
        if isinstance(self.api, FakeTwilio):
            return Counter((form["To"], form["Body"]) for form in self.api.sent)
        assert isinstance(self.api, FakeMailApi)
        return Counter((each.to, each.headers["Message-ID"]) for each in self.api.arrived)


@contextmanager
def case(name: str) -> Iterator[Case]:
    if name == "twilio":
        with run_twilio() as twilio:
            settings = {
                "TWILIO_ENDPOINT": twilio.address,
                "TWILIO_ACCOUNT_SID": SID,
                "TWILIO_AUTH_TOKEN": TOKEN,
                "TWILIO_MESSAGING_SERVICE_SID": SERVICE,
                "TWILIO_TIMEOUT": "60",
            }
            yield Case(twilio, settings, "sms", ("+84912345678", "+84912345679"))
        return
    with run_mail_api(name) as api:
        mark = name.upper()
        keys = {
            "sendgrid": {"SENDGRID_API_KEY": KEY},
            "mailgun": {"MAILGUN_API_KEY": KEY, "MAILGUN_DOMAIN": DOMAIN},
            "ses": {
                "SES_REGION": "eu-central-1",
                "SES_ACCESS_KEY_ID": SES_KEY,
                "SES_SECRET_ACCESS_KEY": "ses-hunter2-hunter2",
            },
        }
        settings = {"EMAIL_PROVIDERS": name, f"{mark}_ENDPOINT": api.address, "MAIL_API_TIMEOUT": "60"}
        yield Case(api, settings | keys[name], "email", (new_address(), new_address()))


@pytest.mark.parametrize(
    "name",
    ["sendgrid", *(pytest.param(each, marks=pytest.mark.slow) for each in ("mailgun", "ses", "twilio"))],
)
async def test_a_message_survives_a_kill_while_its_provider_answers(
    environment: dict[str, str], tmp_path: Path, name: str
) -> None:
    with case(name) as given:
        own = {
            **environment,
            **given.settings,
            "MAIL_FROM": f"Hub <no-reply@{DOMAIN}>",
            "DELIVERY_LEASE": "600",
            "KAFKA_GROUP": f"killed-{new_user()}",
        }
        hub = Hub(own, tmp_path / "log")
        await hub.start()
        try:
            await killed(hub, given)
            await hub.start()
            await lease_over(hub)

            async def all_sent() -> bool:
                query = "select status from deliveries where address = any($1)"
                rows = await hub.rows(query, list(given.addresses))
                return [row["status"] for row in rows] == ["sent"] * 2

            await eventually(all_sent, "every delivery is sent")
        finally:
            await hub.stop()
            print(hub.log.read_text()[-4000:])
        came = given.came()
    assert sorted(address for address, _ in came) == sorted(given.addresses), "a double is the same message"
    assert set(came.values()) == {2}, "the provider had both, and the hub couldn't know"


async def killed(hub: Hub, given: Case) -> None:
    """Kill the hub while the provider has two messages: one not answered, one whose answer isn't stored."""
    api, answers = given.api, (threading.Event(), threading.Event())
    for number, (address, answer) in enumerate(zip(given.addresses, answers, strict=True), 1):
        api.awake = answer
        message = {"type": given.channel, "to": address, "message": "Dinner is ready", "event_id": address}
        await hub.publish(message)

        async def called(count: int = number) -> bool:
            return api.calls == count

        await eventually(called, "the provider is called")
    lock = await asyncpg.connect(hub.database)
    try:
        await lock.execute("begin; lock table deliveries in exclusive mode")
        answers[1].set()
        await waits_for_a_lock(hub, "update deliveries")
        await hub.kill()
    finally:
        await lock.close()
        for answer in answers:
            answer.set()
