"""How Kafka clients connect, as the settings say: which are refused, and what aiokafka gets."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from app.domain.errors import ConfigurationError
from app.settings import load
from app.sources.kafka.clients import check_security, connection
from tests.support.certificates import Authority
from tests.support.settings import settings_on

LOGIN = {"kafka_sasl_username": "hub", "kafka_sasl_password": "hunter2"}


def connected(**changes: Any) -> dict[str, Any]:
    return connection(settings_on("redis://redis", **changes).kafka)


def refusal(**changes: Any) -> str:
    with pytest.raises(ConfigurationError) as refused:
        connected(**changes)
    assert "hunter2" not in str(refused.value)
    return str(refused.value)


def test_without_settings_the_connection_is_plain() -> None:
    arguments = connected()
    assert arguments["security_protocol"] == "PLAINTEXT"
    assert arguments["ssl_context"] is None
    assert not any(name.startswith("sasl") for name in arguments)


@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL", "sasl_ssl"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "scram-sha-512"])
def test_a_login_is_passed_on(protocol: str, mechanism: str) -> None:
    arguments = connected(kafka_security_protocol=protocol, kafka_sasl_mechanism=mechanism, **LOGIN)
    assert arguments["security_protocol"] == protocol.upper()
    assert arguments["sasl_mechanism"] == mechanism.upper()
    assert (arguments["sasl_plain_username"], arguments["sasl_plain_password"]) == ("hub", "hunter2")
    assert (arguments["ssl_context"] is not None) == protocol.upper().endswith("SSL")


def test_tls_checks_brokers_by_the_given_ca_and_shows_a_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context: ssl.SSLContext = connected(
        kafka_security_protocol="SSL",
        kafka_ssl_cafile=str(authority.certificate),
        kafka_ssl_certfile=str(authority.issue("client.example")),
    )["ssl_context"]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert len(context.get_ca_certs()) == 1
    lenient = connected(kafka_security_protocol="SSL", kafka_ssl_check_hostname="false")["ssl_context"]
    assert (lenient.verify_mode, lenient.check_hostname) == (ssl.CERT_REQUIRED, False)


def test_a_file_that_is_no_certificate_refuses_the_start() -> None:
    kafka = settings_on("redis://redis", kafka_security_protocol="SSL", kafka_ssl_certfile=__file__).kafka
    with pytest.raises(ConfigurationError, match="KAFKA_SSL"):
        check_security(kafka)


def later() -> str:
    return "a token"


async def later_still() -> str:
    return "a token"


@pytest.mark.parametrize("function", ["later", "later_still"])
async def test_oauth_asks_the_function_that_is_named(function: str) -> None:
    arguments = connected(
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_mechanism="OAUTHBEARER",
        kafka_sasl_oauth_token_provider=f"{__name__}:{function}",
    )
    assert await arguments["sasl_oauth_token_provider"].token() == "a token"


@pytest.mark.parametrize("named", ["no.such.module:token", f"{__name__}:no_such", "token", "a b:c"])
def test_a_function_that_is_not_there_refuses_the_start(named: str) -> None:
    oauth = {"kafka_security_protocol": "SASL_SSL", "kafka_sasl_mechanism": "OAUTHBEARER"}
    assert "KAFKA_SASL_OAUTH_TOKEN_PROVIDER" in refusal(**oauth, kafka_sasl_oauth_token_provider=named)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (LOGIN, "KAFKA_SECURITY_PROTOCOL"),
        ({"kafka_sasl_mechanism": "PLAIN"}, "KAFKA_SECURITY_PROTOCOL"),
        ({"kafka_security_protocol": "SSL", **LOGIN}, "KAFKA_SECURITY_PROTOCOL"),
        ({"kafka_ssl_cafile": __file__}, "KAFKA_SECURITY_PROTOCOL"),
        ({"kafka_security_protocol": "TLS"}, "KAFKA_SECURITY_PROTOCOL"),
        ({"kafka_security_protocol": "SASL_SSL"}, "KAFKA_SASL_MECHANISM"),
        ({"kafka_security_protocol": "SASL_SSL", **LOGIN}, "KAFKA_SASL_MECHANISM"),
        ({"kafka_security_protocol": "SASL_SSL", "kafka_sasl_mechanism": "GSSAPI"}, "KAFKA_SASL_MECHANISM"),
        ({"kafka_security_protocol": "SASL_SSL", "kafka_sasl_mechanism": "PLAIN"}, "KAFKA_SASL_USERNAME"),
        (
            {"kafka_security_protocol": "SASL_SSL", "kafka_sasl_mechanism": "OAUTHBEARER"},
            "KAFKA_SASL_OAUTH_TOKEN_PROVIDER",
        ),
        ({"kafka_security_protocol": "SSL", "kafka_ssl_cafile": "/no/such/file"}, "KAFKA_SSL_CAFILE"),
        ({"kafka_security_protocol": "SSL", "kafka_ssl_keyfile": __file__}, "KAFKA_SSL_CERTFILE"),
    ],
)
def test_what_would_be_without_effect_or_is_missing_refuses_the_start(
    changes: dict[str, str], named: str
) -> None:
    assert named in refusal(**changes)


ENVIRONMENT = {
    "DATABASE_URL": "postgresql://postgres/hub",
    "REDIS_URL": "redis://redis",
    "USER_SERVICE_URL": "http://users",
    "KAFKA_BOOTSTRAP_SERVERS": "kafka:9092",
    "JWT_ALGORITHM": "HS256",
    "JWT_SECRET": "a secret for tests, long enough to be accepted",
}


@pytest.mark.parametrize(
    ("name", "value", "nearest"),
    [
        ("KAFKA_SECURITY_PROTOCOLL", "SASL_SSL", "KAFKA_SECURITY_PROTOCOL"),
        ("KAFKA_SASL_PASSWD", "hunter2", "KAFKA_SASL_PASSWORD"),
        ("KAFKA_TLS_CAFILE", "/ca.pem", "KAFKA_SSL_CAFILE"),
    ],
)
def test_an_unknown_kafka_variable_refuses_the_start(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, nearest: str
) -> None:
    for variable, given in {**ENVIRONMENT, name: value}.items():
        monkeypatch.setenv(variable, given)
    with pytest.raises(ConfigurationError) as refused:
        load(_env_file="")
    assert f"{name} is no setting. The nearest one is {nearest}." in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KAFKA_PORT", "tcp://10.0.0.3:9092"),
        ("KAFKA_SERVICE_HOST", "10.0.0.3"),
        ("KAFKA_PORT_9092_TCP_ADDR", "10.0.0.3"),
        ("KAFKA_HEAP_OPTS", "-Xmx512m"),
        ("KAFKA_SASL_MECHANISM", ""),
    ],
)
def test_what_kubernetes_or_kafka_itself_sets_does_not(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    for variable, given in {**ENVIRONMENT, name: value}.items():
        monkeypatch.setenv(variable, given)
    assert load(_env_file="").kafka.security_protocol == "PLAINTEXT"
