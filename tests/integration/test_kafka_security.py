"""Kafka with TLS and logins: each client of the hub connects as the settings say, on a real broker."""

from __future__ import annotations

import asyncio
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiokafka import TopicPartition
from confluent_kafka import admin as _admin

from app.domain.errors import Unavailable
from app.sources.kafka.delete_records import removing
from app.sources.kafka.dlq import open_dlq
from app.sources.kafka.watchdog import ask_ends
from tests.support.certificates import Authority
from tests.support.hub import free_port
from tests.support.kafka.apache import ApacheKafka
from tests.support.kafka_source import running
from tests.support.services import BROKER
from tests.support.settings import settings_on

USER, PASSWORD = "hub", "correct-horse"
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
_MODULES = "org.apache.kafka.common.security"

kafka_admin: Any = _admin  # it has no types

pytestmark = pytest.mark.slow  # it starts a separate broker


class Secured(NamedTuple):
    """A broker with a listener for logins over TLS, one for client certificates, and one that is open."""

    login: str
    certificate: str
    plain: str
    authority: Authority
    client: Path
    broker: ApacheKafka


def listener(name: str, authority: Authority, **more: str) -> dict[str, str]:
    settings = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(authority.issue("127.0.0.1")),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.certificate),
        **{key.replace("__", "-").replace("_", "."): value for key, value in more.items()},
    }
    return {f"listener.name.{name}.{key}": value for key, value in settings.items()}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Secured]:
    if "jars by Maven" not in pytestconfig.stash[BROKER].description:
        pytest.skip("it takes Apache Kafka's jars")
    folder = tmp_path_factory.mktemp("secured")
    authority = Authority(folder)
    login, certificate = (f"127.0.0.1:{free_port()}" for _ in range(2))
    plain = f'{_MODULES}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
    scram = f"{_MODULES}.scram.ScramLoginModule required;"
    oauth = f'{_MODULES}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";'
    more = {
        "listeners": f"LOGIN://{login},CERTIFICATE://{certificate}",
        "advertised.listeners": f"LOGIN://{login},CERTIFICATE://{certificate}",
        "listener.security.protocol.map": "LOGIN:SASL_SSL,CERTIFICATE:SSL",
        **listener("login", authority, sasl_enabled_mechanisms=",".join(MECHANISMS)),
        "listener.name.login.plain.sasl.jaas.config": plain,
        "listener.name.login.scram-sha-256.sasl.jaas.config": scram,
        "listener.name.login.scram-sha-512.sasl.jaas.config": scram,
        "listener.name.login.oauthbearer.sasl.jaas.config": oauth,
        **listener("certificate", authority, ssl_client_auth="required"),
    }
    broker = ApacheKafka(folder / "home", more=more)
    broker.start()
    try:
        admin = kafka_admin.AdminClient({"bootstrap.servers": broker.bootstrap})
        for kind in (kafka_admin.ScramMechanism.SCRAM_SHA_256, kafka_admin.ScramMechanism.SCRAM_SHA_512):
            user = kafka_admin.UserScramCredentialUpsertion(
                USER, kafka_admin.ScramCredentialInfo(kind, 4096), PASSWORD.encode()
            )
            for done in admin.alter_user_scram_credentials([user]).values():
                done.result(10)
        client = authority.issue("client.example")
        yield Secured(login, certificate, broker.bootstrap, authority, client, broker)
    finally:
        broker.stop()


async def token() -> str:
    """One that is not signed, which a broker takes that is set up for tests."""

    def part(value: dict[str, Any]) -> str:
        return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    now = int(time.time())
    return f"{part({'alg': 'none'})}.{part({'sub': USER, 'iat': now, 'exp': now + 600})}."


def login(secured: Secured, mechanism: str, password: str = PASSWORD) -> dict[str, Any]:
    changes: dict[str, Any] = {
        "kafka_bootstrap_servers": secured.login,
        "kafka_security_protocol": "SASL_SSL",
        "kafka_sasl_mechanism": mechanism,
        "kafka_ssl_cafile": str(secured.authority.certificate),
    }
    if mechanism == "OAUTHBEARER":
        return {**changes, "kafka_sasl_oauth_token_provider": f"{__name__}:token"}
    return {**changes, "kafka_sasl_username": USER, "kafka_sasl_password": password}


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_events_come_over_tls_after_a_login(secured: Secured, mechanism: str) -> None:
    """`running` publishes on the open listener, and waits until the source has consumed."""
    async with running(secured.plain, **login(secured, mechanism)) as scene:
        kafka = scene.settings.kafka
        ends = await ask_ends(kafka, [TopicPartition(scene.topic, number) for number in range(2)])
        assert sum(ends.values()) == 1
        async with removing(kafka) as remove_before:
            await remove_before({TopicPartition(scene.topic, 0): 0})
        async with open_dlq(kafka) as reader:
            assert [letter async for letter in reader.dead_letters(False)] == []


async def test_events_come_to_who_shows_a_certificate(secured: Secured) -> None:
    changes = {
        "kafka_bootstrap_servers": secured.certificate,
        "kafka_security_protocol": "SSL",
        "kafka_ssl_cafile": str(secured.authority.certificate),
    }
    async with running(secured.plain, **changes, kafka_ssl_certfile=str(secured.client)):
        pass
    with pytest.raises(Unavailable):
        async with asyncio.timeout(20), open_dlq(settings_on("redis://redis", **changes).kafka):
            pass


@pytest.mark.parametrize(
    "wrong", [{"kafka_sasl_password": "wrong"}, {"kafka_ssl_cafile": None}], ids=["password", "CA"]
)
async def test_nobody_connects_with_a_wrong_password_or_to_an_unknown_broker(
    secured: Secured, wrong: dict[str, Any]
) -> None:
    kafka = settings_on("redis://redis", **{**login(secured, "SCRAM-SHA-512"), **wrong}).kafka
    with pytest.raises(Unavailable) as refused:
        async with asyncio.timeout(20), open_dlq(kafka):
            pass
    assert PASSWORD not in str(refused.value)
