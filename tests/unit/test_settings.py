"""Settings: what is missing or unsafe is said in a sentence, and no secret is."""

from __future__ import annotations

import subprocess
import sys
import traceback
from pathlib import Path
from uuid import uuid4, uuid5

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.domain.errors import ConfigurationError
from app.settings import Settings, load, load_section
from app.settings.channels import SmtpSettings
from app.settings.edge import COMPAT_SERVICES
from tests.support.hub import ROOT

SECRET = "hunter2-" * 5
REQUIRED = ("DATABASE_URL", "REDIS_URL", "USER_SERVICE_URL", "KAFKA_BOOTSTRAP_SERVERS", "JWT_ALGORITHM")
PEM = (
    generate_private_key(65537, 2048)
    .public_key()
    .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    .decode()
    .strip()
    .replace("\n", "\\n")
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A complete environment, and no other setting."""
    monkeypatch.chdir(tmp_path)
    for variable in Settings.variables():
        monkeypatch.delenv(variable.name, raising=False)
    monkeypatch.setenv("DATABASE_URL", f"postgresql://hub:{SECRET}@db/hub")
    monkeypatch.setenv("REDIS_URL", f"redis://:{SECRET}@redis/0")
    monkeypatch.setenv("USER_SERVICE_URL", "http://users")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092")
    monkeypatch.setenv("JWT_ALGORITHM", "HS256")
    monkeypatch.setenv("JWT_SECRET", SECRET)
    return monkeypatch


def refusal(environment: pytest.MonkeyPatch, **changes: str | None) -> str:
    """What `load` says of these changes; no value of a secret is in it."""
    for name, value in changes.items():
        if value is None:
            environment.delenv(name)
        else:
            environment.setenv(name, value)
    with pytest.raises(ConfigurationError) as refused:
        load()
    shown = "".join(traceback.format_exception(refused.value))
    assert "hunter2" not in shown
    return str(refused.value)


def test_a_complete_environment_is_enough_and_the_rest_has_defaults() -> None:
    settings = load()
    assert settings.ingest.default_locale == "vi"
    assert settings.kafka.notification_topic == "service_notifications"
    assert settings.kafka.group == "notification_service_group"
    assert settings.http.allowed_origins == settings.websocket.allowed_origins == ()


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("value", [None, ""])
def test_what_is_not_set_is_named_with_what_to_set(
    environment: pytest.MonkeyPatch, name: str, value: str | None
) -> None:
    sentence = refusal(environment, **{name: value})
    assert sentence.startswith(f"{name} is not set. Set it to ")
    assert sentence.endswith(".")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"JWT_SECRET": None}, "JWT_SECRET is not set. HS256 requires the secret that signs the tokens."),
        ({"JWT_SECRET": "hunter2"}, "JWT_SECRET is too short. Use at least 32 bytes."),
        (
            {"JWT_ALGORITHM": "RS256"},
            "JWT_PUBLIC_KEY is not set. RS256 requires the PEM public key of the issuer.",
        ),
        (
            {"JWT_ALGORITHM": "RS256", "JWT_PUBLIC_KEY": "-----BEGIN PRIVATE KEY-----\nhunter2"},
            "JWT_PUBLIC_KEY is not an RSA public key in PEM format (-----BEGIN PUBLIC KEY-----).",
        ),
        (
            {"JWT_ALGORITHM": "RS256, none"},
            "JWT_ALGORITHM: unknown algorithm 'none'; known are RS256, ES256, EdDSA, HS256.",
        ),
        (
            {"JWT_ALGORITHM": "RS256,ES256", "JWT_PUBLIC_KEY": PEM},
            "JWT_PUBLIC_KEY has no key for ES256, which JWT_ALGORITHM lists.",
        ),
        (
            {"JWT_ALGORITHM": "ES256", "JWT_PUBLIC_KEY": PEM},
            "JWT_PUBLIC_KEY is an RSA public key. Add RS256 to JWT_ALGORITHM.",
        ),
        (
            {"JWT_ALGORITHM": "RS256", "JWT_PUBLIC_KEY": f"{PEM}{PEM}".replace("MII", "hunter2", 1)},
            "JWT_PUBLIC_KEY, block 1 of 2, is not an RSA public key in PEM format "
            "(-----BEGIN PUBLIC KEY-----).",
        ),
        (
            {"JWT_ALGORITHM": "HS256", "JWT_SECRET": None, "JWT_JWKS_URL": "https://users.example.com/jwks"},
            "JWT_SECRET is not set. HS256 requires the secret that signs the tokens.",
        ),
        (
            {"JWT_ALGORITHM": "RS256", "JWT_JWKS_URL": "ftp://users.example.com/jwks"},
            "JWT_JWKS_URL: it must be an http or https URL, or the path of a file.",
        ),
        (
            {"ALLOWED_ORIGINS": "*"},
            "ALLOWED_ORIGINS: '*' is not an origin; "
            "write each as https://app.example.com, without wildcards.",
        ),
        (
            {"ALLOWED_ORIGINS": "https://app.example.com, https://*.example.com"},
            "ALLOWED_ORIGINS: 'https://*.example.com' is not an origin; "
            "write each as https://app.example.com, without wildcards.",
        ),
        (
            {"DATABASE_URL": "postgresql://hub:hunter2@db:port/hub"},
            "DATABASE_URL: it must be a URL such as postgresql://user:password@host:5432/hub; "
            "percent-encode special characters in user and password.",
        ),
        (
            {"REDIS_URL": "redis://:hunter2\u2100@redis"},
            "REDIS_URL: it must be a URL such as redis://:password@host:6379/0 (rediss:// for TLS); "
            "percent-encode special characters in user and password.",
        ),
        *(
            (
                {"REDIS_URL": f"redis://:hunter2@redis/{database}"},
                "REDIS_URL: its path must be the number of a database, as in redis://:password@host:6379/0.",
            )
            for database in ("hub", "-1", "0x1", "0/1", "٠", "1.0")
        ),
        (
            {"FOREIGN_USER_IDS": "map"},
            "FOREIGN_USER_IDS=map needs FOREIGN_USER_ID_NAMESPACE. Set it to a UUID that is used for nothing "
            "else, such as the output of uuidgen, and keep it.",
        ),
        (
            {"LOW_STOCK_RECEIVERS": "stock@example.com, user_123"},
            "LOW_STOCK_RECEIVERS: 'user_123': it is no user id (a UUID), mail address or phone number.",
        ),
        (
            {"LOW_STOCK_RECEIVERS": "@example.com"},
            "LOW_STOCK_RECEIVERS: '@example.com': the address has invalid characters before the @.",
        ),
        ({"DEFAULT_LOCALE": "fr"}, "DEFAULT_LOCALE: 'fr' is not supported; use one of vi, en, ru."),
        (
            {"COMPAT_ROUTES": "mail-service, fax-service,x"},
            "COMPAT_ROUTES: unknown service 'fax-service', 'x'; "
            "known are message-service, mail-service, in-app-service, all.",
        ),
        ({"REST_ENVELOPE": "soap"}, "REST_ENVELOPE: Input should be 'none' or 'jsend'."),
    ],
)
def test_what_is_unsafe_or_wrong_is_refused_with_a_sentence(
    environment: pytest.MonkeyPatch, changes: dict[str, str | None], sentence: str
) -> None:
    assert refusal(environment, **changes) == sentence


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("FOREIGN_USER_IDS", "keep"),
        ("FOREIGN_USER_ID_NAMESPACE", "hub"),
        ("PORT", "http"),
        ("BATCH_SIZE", "0"),
        ("DATABASE_POOL_SIZE", "1"),
        ("REDIS_TIMEOUT", "0"),
        ("WS_MAX_MESSAGE", "1"),
        ("LOG_LEVEL", "loud"),
        ("ALLOWED_ORIGINS", "app.example.com"),
        ("ALLOWED_ORIGINS", "https://app.example.com/path"),
        ("ALLOWED_ORIGINS", "null"),
    ],
)
def test_a_value_out_of_range_is_refused_naming_its_setting(
    environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    assert refusal(environment, **{name: value}).startswith(f"{name}: ")


def test_every_missing_setting_has_a_sentence_of_its_own(environment: pytest.MonkeyPatch) -> None:
    lines = refusal(environment, **dict.fromkeys(REQUIRED)).splitlines()
    assert sorted(line.split()[0] for line in lines) == sorted(REQUIRED)


@pytest.mark.parametrize(
    ("value", "served"),
    [
        (None, ()),
        ("", ()),
        ("mail-service", ("mail-service",)),
        (" in-app-service, mail-service,in-app-service,", ("in-app-service", "mail-service")),
        ("all", COMPAT_SERVICES),
        ("mail-service, all", COMPAT_SERVICES),
    ],
)
def test_the_services_whose_paths_are_served_are_a_list(
    environment: pytest.MonkeyPatch, value: str | None, served: tuple[str, ...]
) -> None:
    if value is not None:
        environment.setenv("COMPAT_ROUTES", value)
    assert load().http.compat_routes == served


def test_choices_may_be_written_in_capitals(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("LOG_LEVEL", "INFO")
    environment.setenv("SMTP_SECURITY", "TLS")
    settings = load()
    assert (settings.server.log_level, settings.smtp.security) == ("info", "tls")


def test_origins_are_a_list_with_commas(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ALLOWED_ORIGINS", " https://a.example/ ,http://localhost:8000, ")
    assert load().websocket.allowed_origins == ("https://a.example", "http://localhost:8000")


def test_a_public_key_may_stand_on_one_line(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("JWT_ALGORITHM", "RS256")
    environment.setenv("JWT_PUBLIC_KEY", PEM)
    assert [key.algorithm for key in load().auth.static_keys] == ["RS256"]


def test_with_rs256_the_secret_is_no_key(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("JWT_ALGORITHM", "RS256")
    environment.setenv("JWT_PUBLIC_KEY", PEM)
    assert SECRET.encode() not in [key.key for key in load().auth.static_keys]


def test_settings_show_no_secret() -> None:
    settings = load()
    assert "hunter2" not in f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"
    assert [key.key for key in settings.auth.static_keys] == [SECRET.encode()]


def test_a_dotenv_file_is_read_and_the_environment_stands_before_it(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.delenv("REDIS_URL")
    (tmp_path / ".env").write_text(
        "REDIS_URL=redis://from-file\nKAFKA_BOOTSTRAP_SERVERS=file:9092\nOTHER=1\n"
    )
    settings = load()
    assert settings.redis.url.get_secret_value() == "redis://from-file"
    assert settings.kafka.bootstrap_servers == "kafka:9092"


def test_without_settings_the_hub_does_not_start_and_says_what_to_set(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, str(ROOT / "run.py")],
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    lines = ended.stderr.splitlines()
    assert sorted(line.partition(" is not set. Set it to ")[0] for line in lines) == sorted(REQUIRED)


@pytest.mark.parametrize(
    "wrong",
    [
        {
            "JWT_ALGORITHM": "RS256",
            "JWT_PUBLIC_KEY": "-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----",
        },
        {"DATABASE_URL": "garbage"},
        {"REDIS_URL": "garbage"},
        {"REDIS_EVENTS_URL": "garbage"},
        {"USER_SERVICE_URL": "users:8000"},
        {"RABBITMQ_URL": "http://rabbitmq"},
        {"RABBITMQ_URL": "amqp://"},
        {"RABBITMQ_URL": "amqp://hub:hunter2/x@rabbitmq"},
        {"RABBITMQ_URL": "amqp://hub:[hunter2@rabbitmq"},
        {"ALLOWED_ORIGINS": "https://[bad"},
    ],
    ids=str,
)
def test_a_value_that_can_not_work_is_refused_at_start(
    wrong: dict[str, str], environment: pytest.MonkeyPatch
) -> None:
    assert refusal(environment, **wrong)


@pytest.mark.parametrize("url", ["amqp://hub:hunter2@rabbitmq:5672/", "amqps://rabbitmq/%2Fhub"])
def test_rabbitmq_is_off_until_it_has_an_address(environment: pytest.MonkeyPatch, url: str) -> None:
    assert load().rabbitmq.url is None
    environment.setenv("RABBITMQ_URL", url)
    settings = load()
    assert settings.rabbitmq.url is not None
    assert settings.rabbitmq.url.get_secret_value() == url
    assert "hunter2" not in f"{settings!r} {settings.model_dump_json()}"


def test_an_origin_is_kept_as_browsers_write_it(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ALLOWED_ORIGINS", "https://App.Example.com:443/, http://localhost:8000")
    assert load().websocket.allowed_origins == ("https://app.example.com", "http://localhost:8000")


def test_a_variable_of_several_sections_reaches_each_and_is_reported_once(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("BATCH_SIZE", "7")
    settings = load()
    sections = (settings.ingest, settings.kafka, settings.rabbitmq, settings.redis_streams)
    assert {section.batch_size for section in sections} == {7}
    assert len(refusal(environment, BATCH_SIZE="0").splitlines()) == 1


def test_a_given_value_overrides_the_environment_unless_it_is_none(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("WORKERS", "2")
    assert load(workers=3).server.workers == 3
    assert load(workers=None).server.workers == 2


def test_one_section_can_be_read_whatever_the_others_hold(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("DATABASE_URL")
    environment.setenv("PORT", "http")
    environment.setenv("SMTP_HOST", "mail.example.com")
    assert load_section(SmtpSettings).host == "mail.example.com"
    environment.setenv("SMTP_PORT", "0")
    with pytest.raises(ConfigurationError, match=r"^SMTP_PORT: "):
        load_section(SmtpSettings)


def test_a_section_that_a_test_constructs_does_not_read_the_environment(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("SMTP_HOST", "mail.example.com")
    assert SmtpSettings().host is None


def test_receivers_of_low_stock_are_users_and_addresses(environment: pytest.MonkeyPatch) -> None:
    user, namespace = uuid4(), uuid4()
    environment.setenv("LOW_STOCK_RECEIVERS", f"{str(user).upper()}, user_1,stock@example.com,+84912345678,")
    environment.setenv("FOREIGN_USER_IDS", "map")
    environment.setenv("FOREIGN_USER_ID_NAMESPACE", str(namespace))
    assert load().ingest.stock_receivers == (
        [user, uuid5(namespace, "user_1")],
        [("email", "stock@example.com"), ("sms", "+84912345678")],
    )
