"""A deployment that keeps the settings of the services that the hub replaces, and their ids of users."""

from __future__ import annotations

import json
from typing import Any

import httpx
import redis as redis_py

from tests.clients import contract
from tests.clients.conftest import SENDER, STOREKEEPER
from tests.clients.mails import mail_to, readable
from tests.support.hub import NO_TLS, Hub, eventually, token
from tests.support.smtp_server import SmtpServer


async def test_a_mail_is_sent_with_the_settings_of_the_old_service(
    old_deployment: Hub, login_server: SmtpServer, address: str
) -> None:
    body = {"email": address, "subject": "Xin chào", "text": "Hello!"}
    bearer = token("booking-service", scope="notifications:send")
    async with httpx.AsyncClient(verify=NO_TLS, base_url=old_deployment.http, timeout=20) as client:
        answer = await client.post(
            "/notify/email?wait=sent", json=body, headers={"Authorization": f"Bearer {bearer}"}
        )
    assert (answer.status_code, answer.json()["status"]) == (200, "sent"), answer.text
    mail = await mail_to(login_server, address)
    assert mail["Subject"] == "Xin chào"
    (sender,) = mail["From"].addresses
    assert (sender.display_name, sender.addr_spec) == ("Old Cinema", SENDER)


async def test_each_foreign_name_is_warned_about_with_ours(old_deployment: Hub) -> None:
    lines = [json.loads(line) for line in old_deployment.log.read_text().splitlines() if line.startswith("{")]
    said = {line["variable"]: line for line in lines if line.get("variable")}
    ours = {
        "SMTP_SERVER": "SMTP_HOST",
        "EMAIL_PORT": "SMTP_PORT",
        "EMAIL_USERNAME": "SMTP_USERNAME",
        "EMAIL_PASSWORD": "SMTP_PASSWORD",
        "EMAIL_USE_TLS": "SMTP_SECURITY",
        "FROM_EMAIL": "MAIL_FROM",
        "FROM_NAME": "MAIL_FROM",
        "POSTGRES_DB_HOST": "DATABASE_URL",
        "POSTGRES_DB_NAME": "DATABASE_URL",
        "KAFKA_BROKERS": "KAFKA_BOOTSTRAP_SERVERS",
        "JWT_SECRET_KEY": "JWT_SECRET",
        "MONGODB_URI": "Postgres",
    }
    for name, named in ours.items():
        assert name in said, f"{name} in {said.keys()}"
        assert said[name]["level"].lower() == "warning"
        assert named in said[name]["why"]
    assert "not a real password" not in old_deployment.log.read_text()


async def test_a_person_with_the_id_of_another_system_has_an_inbox(old_deployment: Hub) -> None:
    bearer = token("booking-service", scope="notifications:send")
    async with httpx.AsyncClient(verify=NO_TLS, base_url=old_deployment.http) as service:
        for user_id in (1, "user_123"):
            body = {"type": "in_app", "message": "Hello!", "user_id": user_id}
            answer = await service.post(
                "/notifications", json=body, headers={"Authorization": f"Bearer {bearer}"}
            )
            assert answer.status_code == 202, answer.text
    for user_id in ("1", "user_123"):
        headers = {"Authorization": f"Bearer {token(user_id)}"}
        async with httpx.AsyncClient(verify=NO_TLS, base_url=old_deployment.http, headers=headers) as own:
            for path in (f"/users/{user_id}/notifications", "/api/v1/notifications/"):
                answer = await own.get(path)
                assert answer.status_code == 200, answer.text
                (listed,) = answer.json()
                contract.conforms(listed, {"id": contract.integer, "message": contract.filled})
            assert (await own.get("/users/2/notifications")).status_code == 403


async def test_low_stock_without_receivers_reaches_those_of_the_settings(
    old_deployment: Hub, login_server: SmtpServer
) -> None:
    alert: dict[str, Any] = {"product_name": "Espresso beans 1 kg", "current_stock": "3", "threshold": 10}
    environment = old_deployment.environment
    with redis_py.Redis.from_url(environment["REDIS_EVENTS_URL"]) as client:
        client.publish(environment["LOW_STOCK_CHANNEL"], json.dumps(alert))
        client.xadd(environment["LOW_STOCK_STREAM"], {"data": json.dumps(alert)})
    mail = await mail_to(login_server, STOREKEEPER)
    assert "Espresso beans 1 kg" in readable(mail)
    headers = {"Authorization": f"Bearer {token('warehouse-7')}"}
    async with httpx.AsyncClient(verify=NO_TLS, base_url=old_deployment.http, headers=headers) as own:

        async def came() -> Any:
            return (await own.get("/api/v1/notifications/")).json()

        (listed,) = await eventually(came, "the alert in the inbox")
    assert "Espresso beans 1 kg" in listed["title"] + listed["content"]
    contract.notification(listed)
