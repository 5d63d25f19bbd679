"""Names of other programs for our settings, and names that no setting has: what is used, and the notices."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given as given_by_chance
from hypothesis.strategies import binary, dictionaries, sampled_from, text
from sqlalchemy.engine import make_url

from app.dev import settings_reference
from app.domain.errors import ConfigurationError
from app.outbox.email.message import sender
from app.settings import Settings, load, load_section, notices
from app.settings.aliases import ALIASES, FOREIGN, UNUSED, resolve
from app.settings.channels import SmsSettings, SmtpSettings
from tests.support.settings import by_name

PASSWORD = "p@ss/w:rd#%? é"
REQUIRED = {
    "DATABASE_URL": "postgresql://postgres/hub",
    "REDIS_URL": "redis://redis/0",
    "USER_SERVICE_URL": "http://users",
    "KAFKA_BOOTSTRAP_SERVERS": "kafka:9092",
    "JWT_ALGORITHM": "HS256",
    "JWT_SECRET": "a secret for tests, long enough to be accepted",
}
OURS = {variable.name for variable in Settings.variables()}


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The required settings and nothing else; no `.env`."""
    monkeypatch.chdir(tmp_path)
    with mock.patch.dict(os.environ, REQUIRED, clear=True):
        yield


def given(**values: str | None) -> None:
    """Set the variables, or with None unset them."""
    for name, value in values.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


def value_of(name: str) -> object:
    found = by_name(load())[name]
    return found.get_secret_value() if hasattr(found, "get_secret_value") else found


def said() -> dict[str, str]:
    """The notices by the variable that they are about."""
    found = notices()
    assert len({notice.variable for notice in found}) == len(found)
    return {notice.variable: notice.why for notice in found}


ONE_TO_ONE = [
    *(("SMTP_HOST", name, "mail.example.com") for name in ("SMTP_SERVER", "EMAIL_HOST", "MAIL_SERVER")),
    *(("SMTP_PORT", name, "2525") for name in ("EMAIL_PORT", "MAIL_PORT")),
    *(
        ("SMTP_USERNAME", n, "me")
        for n in ("SMTP_USER", "EMAIL_USERNAME", "EMAIL_HOST_USER", "MAIL_USERNAME")
    ),
    *(("SMTP_PASSWORD", n, PASSWORD) for n in ("EMAIL_PASSWORD", "EMAIL_HOST_PASSWORD", "SMTP_PASS")),
    *(("MAIL_FROM", name, "a@example.com") for name in ("FROM_EMAIL", "EMAIL_FROM", "EMAIL_SENDER")),
    *(("MAIL_FROM", name, "Shop <a@example.com>") for name in ("MAIL_DEFAULT_SENDER", "SMTP_FROM")),
    *(("MAIL_FROM", name, "a@example.com") for name in ("SMTP_FROM_ADDRESS", "MAIL_FROM_EMAIL")),
    ("SMTP_HOST", "EMAIL_SMTP_SERVER", "mail.example.com"),
    ("TWILIO_FROM", "TWILIO_PHONE_NUMBER", "+15005550006"),
    ("KAFKA_BOOTSTRAP_SERVERS", "KAFKA_BROKERS", "one:9092,two:9092"),
    ("KAFKA_BOOTSTRAP_SERVERS", "KAFKA_BOOTSTRAP_SERVER", "one:9092"),
    ("RABBITMQ_URL", "AMQP_URL", "amqp://guest@rabbitmq/"),
    ("DATABASE_URL", "POSTGRES_URL", "postgresql://db/hub"),
    ("JWT_SECRET", "JWT_SECRET_KEY", "another secret that is long enough, as 32 bytes are"),
]


@pytest.mark.parametrize("place", ["environment", ".env", "lower case"])
@pytest.mark.parametrize(
    ("ours", "foreign", "value"), ONE_TO_ONE, ids=[foreign for _, foreign, _ in ONE_TO_ONE]
)
def test_a_name_of_another_program_sets_ours_and_the_notice_names_it(
    ours: str, foreign: str, value: str, place: str
) -> None:
    given(**{ours: None, "SMTP_HOST": None if ours == "SMTP_HOST" else "mail.example.com"})
    if place == ".env":
        Path(".env").write_text(f"{foreign}='{value}'\n", "utf-8")
    else:
        given(**{foreign.lower() if place == "lower case" else foreign: value})
    assert str(value_of(ours)) == value
    assert said().keys() == {foreign}
    assert ours in said()[foreign]
    assert value not in said()[foreign]


def test_our_name_wins_and_the_notice_says_so() -> None:
    given(SMTP_HOST="ours.example.com", SMTP_SERVER="theirs.example.com", EMAIL_HOST="other.example.com")
    assert value_of("SMTP_HOST") == "ours.example.com"
    assert said().keys() == {"SMTP_SERVER", "EMAIL_HOST"}
    assert all("SMTP_HOST is set" in why for why in said().values())


def test_our_name_in_the_file_wins_over_another_in_the_environment() -> None:
    Path(".env").write_text("SMTP_HOST=ours.example.com\n")
    given(SMTP_SERVER="theirs.example.com")
    assert value_of("SMTP_HOST") == "ours.example.com"


def test_of_several_names_one_is_used_and_the_others_are_said_to_be_ignored() -> None:
    given(SMTP_SERVER="one.example.com", EMAIL_HOST="two.example.com")
    assert value_of("SMTP_HOST") == "one.example.com"
    assert "SMTP_SERVER is used" in said()["EMAIL_HOST"]


@pytest.mark.parametrize("value", ["", None])
def test_an_empty_name_counts_as_unset(value: str | None) -> None:
    given(SMTP_SERVER=value, SMTP_HOST="")
    assert value_of("SMTP_HOST") is None
    assert said() == {}


def test_postgres_in_parts_is_a_url_with_its_special_characters_encoded() -> None:
    given(DATABASE_URL=None, POSTGRES_DB_HOST="db", POSTGRES_DB_PORT="5433", POSTGRES_DB_USER="us:er@x")
    given(POSTGRES_DB_PASSWORD=PASSWORD, POSTGRES_DB_NAME="hub")
    url = make_url(str(value_of("DATABASE_URL")))
    assert (url.host, url.port, url.database) == ("db", 5433, "hub")
    assert (url.username, url.password) == ("us:er@x", PASSWORD)
    assert len(said()) == 5
    assert all("DATABASE_URL" in why and PASSWORD not in why for why in said().values())


@pytest.mark.parametrize(
    ("parts", "ours", "url"),
    [
        ({"POSTGRES_DB_HOST": "db", "POSTGRES_DB_NAME": "hub"}, "DATABASE_URL", "postgresql://db/hub"),
        (
            {"POSTGRES_HOST": "db", "POSTGRES_USER": "u", "POSTGRES_PASSWORD": "p", "POSTGRES_DB": "hub"},
            "DATABASE_URL",
            "postgresql://u:p@db/hub",
        ),
        (
            {"POSTGRES_DB_HOST": "::1", "POSTGRES_DB_PORT": "5432", "POSTGRES_DB_USER": "u"},
            "DATABASE_URL",
            "postgresql://u@[::1]:5432/u",
        ),
        (
            {"POSTGRES_DB_HOST": "db:6000", "POSTGRES_DB_PORT": "5432", "POSTGRES_DB_NAME": "hub"},
            "DATABASE_URL",
            "postgresql://db:6000/hub",
        ),
        ({"REDIS_HOST": "r", "REDIS_PORT": "6380", "REDIS_DB": "2"}, "REDIS_URL", "redis://r:6380/2"),
        ({"REDIS_HOST": "r", "REDIS_PASSWORD": "a/b"}, "REDIS_URL", "redis://:a%2Fb@r/0"),
        (
            {"REDIS_HOST": "r", "REDIS_PASSWORD": os.fsdecode(b"\xff"), "REDIS_SSL": "true"},
            "REDIS_URL",
            "rediss://:%FF@r/0",
        ),
        ({"DB_HOST": "db", "DB_NAME": "hub"}, "DATABASE_URL", "postgresql://db/hub"),
        ({"KAFKA_HOST": "k"}, "KAFKA_BOOTSTRAP_SERVERS", "k:9092"),
        ({"KAFKA_HOST": "k", "KAFKA_PORT": "tcp://10.0.0.7:9092"}, "KAFKA_BOOTSTRAP_SERVERS", "k:9092"),
        ({"KAFKA_BROKER": "kafka://k:1, l:2"}, "KAFKA_BOOTSTRAP_SERVERS", "k:1,l:2"),
        (
            {"RABBITMQ_HOST": "q", "RABBITMQ_USER": "u", "RABBITMQ_PASSWORD": "p", "RABBITMQ_VHOST": "/"},
            "RABBITMQ_URL",
            "amqp://u:p@q/%2F",
        ),
    ],
    ids=str,
)
def test_parts_make_a_url(parts: dict[str, str], ours: str, url: str) -> None:
    given(**{ours: None, **parts})
    assert value_of(ours) == url


def test_parts_without_a_host_are_nothing_and_nobody_is_warned() -> None:
    """Compose has the passwords of its servers in `.env`."""
    given(POSTGRES_PASSWORD="p", REDIS_PASSWORD="p", RABBITMQ_PASSWORD="p", GATEWAY_PORT="8080")
    assert value_of("RABBITMQ_URL") is None
    assert said() == {}


LINKS = {
    "REDIS_SERVICE_HOST": "10.0.0.2",
    "REDIS_SERVICE_PORT": "6379",
    "REDIS_SERVICE_PORT_REDIS": "6379",
    "REDIS_PORT": "tcp://10.0.0.2:6379",
    "REDIS_PORT_6379_TCP": "tcp://10.0.0.2:6379",
    "REDIS_PORT_6379_TCP_PROTO": "tcp",
    "REDIS_PORT_6379_TCP_ADDR": "10.0.0.2",
    "REDIS_PORT_6379_TCP_PORT": "6379",
    "KAFKA_PORT": "tcp://10.0.0.3:9092",
    "SMTP_PORT": "tcp://10.0.0.4:25",
    "EMAIL_PORT": "udp://10.0.0.4:25",
    "POSTGRES_DB_PORT": "tcp://10.0.0.5:5432",
    "USER_SERVICE_SERVICE_HOST": "10.0.0.6",
    "USER_SERVICE_PORT": "tcp://10.0.0.6:80",
    "USER_SERVICE_PORT_80_TCP": "tcp://10.0.0.6:80",
}


def test_links_to_services_of_kubernetes_are_no_values_and_no_unknown_settings() -> None:
    before = load()
    given(**LINKS)
    assert load() == before
    assert said() == {}


def test_variables_of_the_servers_images_are_no_unknown_settings() -> None:
    names = ("KAFKA_ADVERTISED_LISTENERS", "KAFKA_NODE_ID", "KAFKA_HEAP_OPTS", "KAFKA_CFG_NODE_ID")
    given(**dict.fromkeys((*names, "RABBITMQ_DEFAULT_VHOST", "RABBITMQ_NODENAME", "REDIS_VERSION"), "x"))
    given(
        HTTP_PROXY="http://proxy",
        HTTPS_PROXY="http://proxy",
        USER_ID="1000",
        LOG_FILE="x",
        DEFAULT_REGION="x",
        EMAIL_BACKEND="x",
    )
    assert said() == {}


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("SMTP_HOTS", "SMTP_HOST"),
        ("KAFKA_BOOTSTRAP_SERVRS", "KAFKA_BOOTSTRAP_SERVERS"),
        ("WS_PING_INTERVALL", "WS_PING_INTERVAL"),
        ("OTP_TIME_TO_LIVE", "OTP_TTL"),
        ("BATCHSIZE", None),
        ("BATCH_SIZES", "BATCH_SIZE"),
        ("RABBITMQ_QUEUE", "RABBITMQ_URL"),
        ("ws_max_mesage", "WS_MAX_MESSAGE"),
        ("USER_SERVICE_CACHING", "USER_SERVICE_CACHE"),
    ],
)
@pytest.mark.parametrize("place", ["environment", ".env"])
def test_an_unknown_name_with_one_of_our_prefixes_is_named_with_the_nearest_setting(
    name: str, nearest: str | None, place: str
) -> None:
    secret = "hunter2-in-a-typo"
    if place == ".env":
        Path(".env").write_text(f"{name}={secret}\nOTHER=1\n")
    else:
        given(**{name: secret})
    found = said()
    assert [*found] == ([] if nearest is None else [name.upper()])
    if nearest is not None:
        assert nearest in found[name.upper()].split(" is no setting")[1].rstrip(".").split()
    assert secret not in str(found)


@given_by_chance(dictionaries(sampled_from(sorted(FOREIGN)), text() | binary().map(os.fsdecode), max_size=12))
def test_whatever_the_values_are_names_are_resolved_and_no_notice_holds_one(values: dict[str, str]) -> None:
    values = {name: f"hunter2{value}" for name, value in values.items()}
    resolution = resolve(values, ALIASES)
    assert "hunter2" not in str(resolution.notices)
    assert {notice.variable for notice in resolution.notices} <= values.keys()


def test_no_setting_of_ours_is_taken_for_another_s() -> None:
    given(**dict.fromkeys(OURS, "x"))
    assert said() == {}
    assert not OURS & FOREIGN


def test_a_start_that_fails_names_the_misspelt_variable_too() -> None:
    given(KAFKA_BOOTSTRAP_SERVERS=None, KAFKA_BOOTSTRAP_SERVRS="kafka:9092", EMAIL_PORT="hunter2")
    with pytest.raises(ConfigurationError) as refused:
        load()
    assert "hunter2" not in str(refused.value)
    missing, wrong, origin, misspelt = str(refused.value).splitlines()
    assert missing.startswith("KAFKA_BOOTSTRAP_SERVERS is not set.")
    assert wrong.startswith("SMTP_PORT: ")
    assert origin == "SMTP_PORT is set by EMAIL_PORT."
    assert misspelt.startswith("KAFKA_BOOTSTRAP_SERVRS is no setting.")


@pytest.mark.parametrize("name", sorted(UNUSED))
def test_mongodb_is_said_to_be_unused(name: str) -> None:
    given(**{name: f"mongodb://u:{PASSWORD}@mongo/audit"})
    load()
    assert "Postgres" in said()[name]
    assert PASSWORD not in said()[name]


@pytest.mark.parametrize(
    ("switches", "security"),
    [
        ({}, "starttls"),
        ({"EMAIL_USE_TLS": "True"}, "starttls"),
        ({"EMAIL_USE_TLS": "1", "EMAIL_PORT": "465"}, "tls"),
        ({"EMAIL_USE_TLS": "false"}, "none"),
        ({"EMAIL_USE_TLS": "False", "EMAIL_USE_SSL": "True"}, "tls"),
        ({"EMAIL_USE_SSL": "no"}, "starttls"),
        ({"EMAIL_USE_TLS": "no", "EMAIL_PORT": "465"}, "tls"),
        ({"MAIL_USE_SSL": "yes"}, "tls"),
        ({"MAIL_TLS": "True", "MAIL_SSL": "False"}, "starttls"),
        ({"EMAIL_SSL": "true"}, "tls"),
        ({"EMAIL_USE_TLS": "true", "SMTP_SECURITY": "none"}, "none"),
        ({"EMAIL_USE_TLS": "perhaps"}, "starttls"),
        ({"MAIL_ENCRYPTION": "ssl"}, "tls"),
        ({"SMTP_PORT": "465"}, "tls"),
        ({"SMTP_PORT": "465", "SMTP_SECURITY": "starttls"}, "starttls"),
    ],
    ids=str,
)
def test_the_switches_of_other_mailers_choose_the_encryption(switches: dict[str, str], security: str) -> None:
    given(EMAIL_HOST="mail.example.com", **switches)
    assert value_of("SMTP_SECURITY") == security


@pytest.mark.parametrize(
    "name", ["Shop", "Nhà hàng Phở", "Mai, Tom & Co.", 'The "Best" \\ Shop', "Кухня <дома>", "=?utf-8?q?x?="]
)
def test_a_name_and_an_address_are_a_sender_together(name: str) -> None:
    given(FROM_NAME=name, FROM_EMAIL="shop@example.com")
    read = sender(str(value_of("MAIL_FROM")))
    assert (read.name, str(read.mailbox)) == (name, "shop@example.com")
    assert said().keys() == {"FROM_NAME", "FROM_EMAIL"}


def test_a_name_alone_goes_with_the_user_name() -> None:
    given(SMTP_HOST="mail.example.com", EMAIL_USERNAME="me@example.com", FROM_NAME="Shop")
    assert value_of("MAIL_FROM") == '"Shop" <me@example.com>'


@pytest.mark.parametrize(
    ("username", "mail_from", "expected"),
    [
        ("me@example.com", None, "me@example.com"),
        ("apikey", None, "Notification hub <no-reply@localhost>"),
        ("me@example.com", "Shop <shop@example.com>", "Shop <shop@example.com>"),
        ("a b@example.com", None, "Notification hub <no-reply@localhost>"),
    ],
)
def test_mail_is_from_the_user_name_where_that_is_an_address(
    username: str, mail_from: str | None, expected: str
) -> None:
    given(SMTP_HOST="mail.example.com", SMTP_USERNAME=username, MAIL_FROM=mail_from)
    assert value_of("MAIL_FROM") == expected


@pytest.mark.parametrize("name", ["SMTP_USERNAME", "EMAIL_USERNAME"])
def test_a_user_name_without_a_mail_server_is_refused(name: str) -> None:
    given(**{name: "me@example.com"})
    with pytest.raises(ConfigurationError, match="Set SMTP_HOST to") as refused:
        load()
    assert name in str(refused.value)


def test_what_is_simulated_is_said_with_what_to_set() -> None:
    mail, sms = load().simulated
    assert "SMTP_HOST" in mail
    assert "TWILIO_ACCOUNT_SID" in sms
    given(SMTP_HOST="mail.example.com", TWILIO_ACCOUNT_SID="AC1")
    assert load().simulated == []


def test_a_phone_number_may_be_written_for_people() -> None:
    given(TWILIO_PHONE_NUMBER="+1 (500) 555-0006")
    assert load_section(SmsSettings).sender == "+15005550006"
    given(TWILIO_PHONE_NUMBER="My Shop")
    assert load_section(SmsSettings).sender == "My Shop"
    given(TWILIO_PHONE_NUMBER="not-a-sender!")
    with pytest.raises(ConfigurationError, match="TWILIO_FROM is set by TWILIO_PHONE_NUMBER") as refused:
        load_section(SmsSettings)
    assert str(refused.value).startswith("TWILIO_FROM has a form that isn't accepted. Set it to number that")


@pytest.mark.parametrize("name", ["SMTP_HOST", "SMTP_SERVER"])
def test_a_mail_server_is_a_host_name_alone(name: str) -> None:
    for value in (" mail.example.com ", "::1", "10.0.0.1"):
        given(**{name: value})
        assert value_of("SMTP_HOST") == value.strip()
    for value in ("mail.example.com:587", "smtp://mail.example.com", "https://mail.example.com/", "a b"):
        given(**{name: value})
        with pytest.raises(ConfigurationError, match="SMTP_HOST: it must be a host name alone"):
            load()


def test_one_section_reads_other_names_too() -> None:
    given(EMAIL_HOST="mail.example.com", DATABASE_URL=None)
    assert load_section(SmtpSettings).host == "mail.example.com"


def test_the_reference_lists_each_name() -> None:
    text = settings_reference.REFERENCE.read_text("utf-8")
    assert all(f"`{name}`" in text for name in FOREIGN)
    assert {alias.ours for alias in ALIASES} <= OURS
