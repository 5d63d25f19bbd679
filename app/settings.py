"""Every setting, from the environment (or a `.env` file), checked once at start (12factor.net/config)."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import timedelta
from typing import Annotated, Literal
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from app.domain.channels import CHANNELS
from app.domain.errors import ConfigurationError
from app.domain.preferences import CATEGORIES, CHOICES
from app.texts.brand import Brand
from app.texts.i18n import LOCALES

TOPIC_SETTINGS = (
    "notification_topic",
    "logout_events_topic",
    "registration_events_topic",
    "reset_password_events_topic",
    "email_change_events_topic",
)
MIN_SECRET_BYTES = 32  # RFC 7518, 3.2: an HS256 key is at least as long as its hash


class Settings(BaseSettings):
    """The hub's settings. An environment variable has the field's name in capitals."""

    model_config = SettingsConfigDict(env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=1, le=65535)
    workers: int = Field(1, ge=1, le=256, description="processes of this machine; each is a node")
    proxies_count: int = Field(
        0,
        ge=0,
        description="proxies in front, each of which adds to X-Forwarded-For; 0: clients come directly",
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    database_url: SecretStr
    database_pool_size: int = Field(10, ge=2)
    database_timeout: float = Field(10.0, gt=0, description="seconds one statement may take")
    redis_url: SecretStr
    redis_cluster: bool = Field(False, description="whether redis_url names a server of a Redis Cluster")
    redis_prefix: str = Field(
        "hub",
        pattern=r"^[\w.:-]+$",
        description="begins all keys; hubs that share a Redis need different ones",
    )
    redis_timeout: float = Field(2.0, gt=0, description="seconds one answer may take")
    user_service_url: str
    user_service_timeout: float = Field(2.0, gt=0, description="seconds one call may take")
    user_service_cache: float = Field(15.0, ge=0, description="seconds a group is remembered")

    kafka_bootstrap_servers: str
    kafka_group: str = "notification_service_group"
    kafka_fetch_max_wait_ms: int = Field(500, ge=1)
    kafka_session_timeout_ms: int = Field(10_000, ge=1000, description="a node silent so long has left")
    kafka_stalled_after: float = Field(
        30.0, ge=1, description="seconds a consumer with more to read may stand still; then it is made anew"
    )
    notification_topic: str = "service_notifications"
    logout_events_topic: str = "user_service.user.logout_account"
    redis_events_url: SecretStr | None = Field(
        None, description="the Redis that services publish events on; without it none are read from Redis"
    )
    low_stock_channel: str = Field("inventory:low-stock", min_length=1, description="of Pub/Sub")
    low_stock_stream: str = Field("inventory:low-stock:stream", min_length=1)
    redis_group: str = Field("notification_service_group", min_length=1)
    redis_claim_after: float = Field(
        30.0, ge=0.1, description="seconds a node is silent until others take its stream entries over"
    )
    batch_size: int = Field(1000, ge=1, le=10_000, description="events in one transaction, at most")
    event_ids_kept: int = Field(
        30, ge=1, description="days an event is known: sent again in that time it changes nothing"
    )
    retention_days: int = Field(
        0, ge=0, le=36500, description="days notifications and deliveries are kept; 0: for ever"
    )

    rabbitmq_url: SecretStr | None = Field(None, description="without it nothing is read from RabbitMQ")
    booking_events_queue: str = Field("notification.booking_events", min_length=1, max_length=200)
    payment_events_queue: str = Field("notification.payment_events", min_length=1, max_length=200)
    notifications_queue: str = Field("notifications", min_length=1, max_length=200)
    http_wait: float = Field(
        10.0,
        gt=0,
        le=25,
        description="seconds a request that sends waits for Postgres, or for a group to be known",
    )

    jwt_algorithm: Literal["RS256", "HS256"]
    jwt_secret: SecretStr | None = None
    jwt_public_key: str | None = None
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    metrics_token: SecretStr | None = Field(
        None, description="who sends it may read /metrics; without it that takes the scope metrics:read"
    )

    registration_events_topic: str = "user_service.user.register_account"
    reset_password_events_topic: str = "user_service.user.reset_password"  # noqa: S105 - a Kafka topic
    email_change_events_topic: str = "user_service.user.change_email"
    otp_ttl: float = Field(600.0, gt=0, description="seconds a one-time code may be sent after its event")
    otp_cooldown: float = Field(30.0, ge=0, description="seconds between two codes to one address")
    otp_hourly_cap: int = Field(10, ge=1, description="codes to one address in an hour; more are suppressed")
    delivery_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (), description="Fernet keys that codes are encrypted with; the first encrypts, all decrypt"
    )
    delivery_lease: float = Field(
        120.0, gt=0, description="seconds until one whose node died is tried again; longer than an attempt"
    )
    delivery_give_up: float = Field(
        24 * 3600.0, gt=0, description="seconds after which a delivery that keeps failing has failed"
    )

    smtp_host: str | None = Field(None, description="without it mail is simulated")
    smtp_port: int = Field(587, ge=1, le=65535)
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="none sends everything in plain text"
    )
    smtp_username: str | None = None
    smtp_password: SecretStr | None = None
    smtp_timeout: float = Field(
        10.0, gt=0, description="seconds one answer of the server may take; six times that after the mail"
    )
    smtp_connections: int = Field(
        4, ge=1, le=100, description="kept open to the server, at most; and as many again for codes"
    )
    mail_from: str = Field("Notification hub <no-reply@localhost>", description="name and address")
    brand_name: str = "Notification hub"
    brand_color: str = Field("#0b6e99", pattern="^#[0-9a-fA-F]{6}$", description="of the header and buttons")
    brand_logo_url: str | None = Field(None, pattern="^https://", description="shown instead of the name")
    brand_footer: str = Field("", description="the last line of every mail, such as the sender's address")
    unsubscribe_url: str | None = Field(
        None, pattern="^https://", description="of mail that isn't transactional"
    )
    attachments_dir: str | None = Field(None, description="files in it may be attached by their path")
    attachments_max_bytes: int = Field(5 * 1024 * 1024, ge=0, description="of one mail, all together")
    twilio_account_sid: str | None = Field(None, description="without it SMS is simulated")
    twilio_auth_token: SecretStr | None = None
    twilio_messaging_service_sid: str | None = None
    twilio_endpoint: str = "https://api.twilio.com"
    twilio_concurrency: int = Field(16, ge=1, description="calls under way at once, at most")
    twilio_timeout: float = Field(10.0, gt=0, description="seconds one call may take")

    preferences_off: Annotated[tuple[str, ...], NoDecode] = Field(
        ("inventory.email", "inventory.sms"),
        description="what is off unless a person switches it on, such as food.email; the rest is on",
    )
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = ()
    default_locale: str = LOCALES[0]
    shutdown_grace: float = Field(
        10.0, gt=0, description="seconds from SIGTERM to the last closed connection"
    )

    ws_ping_interval: float = Field(20.0, gt=0, description="seconds; one unanswered ping ends a connection")
    ws_answer_timeout: float = Field(
        4.0, gt=0, description="seconds until a ping that goes with a notification must be answered"
    )
    ws_write_buffer: int = Field(1024 * 1024, ge=4096, description="bytes a slow client may leave unread")
    ws_max_message: int = Field(16 * 1024, ge=125, description="bytes of one message from a client")
    ws_max_frames: int = Field(200, ge=1, description="frames from a client in one ping interval")
    ws_max_per_user: int = Field(20, ge=1)
    ws_max_per_address: int = Field(1000, ge=1, description="on one node; IPv6 by /64; loopback is free")
    ws_max_upgrades: int = Field(500, ge=1, description="under way at once; more are told to come back")
    ws_max_connections: int = Field(15_000, ge=1, description="of this node; more are sent elsewhere")

    @field_validator("database_url")
    @classmethod
    def _check_database(cls, url: SecretStr) -> SecretStr:
        if not _is_postgres(url.get_secret_value()):
            raise ValueError(f"write it as postgresql://user:password@host:5432/hub; {_ESCAPED}")
        return url

    @field_validator("metrics_token")
    @classmethod
    def _check_metrics_token(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and not re.fullmatch(r"[!-~]{32,}", token.get_secret_value()):
            raise ValueError("use at least 32 letters and digits, such as `openssl rand -hex 32` gives")
        return token

    @field_validator("redis_url", "redis_events_url")
    @classmethod
    def _check_redis(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not _is_address(url.get_secret_value(), ("redis", "rediss", "unix")):
            raise ValueError(f"write it as redis://:password@host:6379/0, or rediss:// for TLS; {_ESCAPED}")
        return url

    @field_validator("rabbitmq_url")
    @classmethod
    def _check_rabbitmq(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not _is_address(url.get_secret_value(), ("amqp", "amqps")):
            raise ValueError(f"write it as amqp://user:password@host:5672/, or amqps:// for TLS; {_ESCAPED}")
        return url

    @field_validator("user_service_url")
    @classmethod
    def _check_user_service(cls, url: str) -> str:
        if not _is_address(url, ("http", "https")):
            raise ValueError("it is no address; write it as http://user-service:8000")
        return url

    @field_validator("allowed_origins", "delivery_keys", "preferences_off", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("preferences_off")
    @classmethod
    def _check_choices(cls, choices: tuple[str, ...]) -> tuple[str, ...]:
        for choice in choices:
            if choice not in CHOICES:
                raise ValueError(
                    f"{choice!r} is no choice; write category.channel, with one of {', '.join(CATEGORIES)}, "
                    f"and one of {', '.join(CHANNELS)}"
                )
        return choices

    @field_validator("delivery_keys")
    @classmethod
    def _check_keys(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for key in keys:
            try:
                Fernet(key.get_secret_value())
            except ValueError:
                raise ValueError(
                    "a key has 32 bytes in URL-safe base64, such as Fernet.generate_key() of the Python "
                    "package cryptography gives"
                ) from None
        return keys

    @field_validator("allowed_origins")
    @classmethod
    def _check_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_origin(origin) for origin in origins)

    @field_validator("default_locale")
    @classmethod
    def _check_locale(cls, locale: str) -> str:
        if locale not in LOCALES:
            raise ValueError(f"{locale!r} has no catalogue; choose one of {', '.join(LOCALES)}")
        return locale

    @model_validator(mode="after")
    def _check_key(self) -> Settings:
        if self.jwt_algorithm == "HS256":
            if self.jwt_secret is None:
                raise ValueError("JWT_SECRET is not set; HS256 needs the secret that signs the tokens")
            if len(self.jwt_secret.get_secret_value().encode()) < MIN_SECRET_BYTES:
                raise ValueError(f"JWT_SECRET is too short to be safe; use at least {MIN_SECRET_BYTES} bytes")
        else:
            if self.jwt_public_key is None:
                raise ValueError("JWT_PUBLIC_KEY is not set; RS256 needs the PEM public key of the issuer")
            try:
                key = load_pem_public_key(self.jwt_key.encode())
            except (ValueError, UnsupportedAlgorithm):
                key = None
            if not isinstance(key, RSAPublicKey):
                raise ValueError("JWT_PUBLIC_KEY is no RSA public key in PEM (-----BEGIN PUBLIC KEY-----)")
        return self

    @property
    def topics(self) -> dict[str, str]:
        """The Kafka topics that events come in on, by the name of their setting."""
        return {name.upper(): getattr(self, name) for name in TOPIC_SETTINGS}

    @property
    def retention(self) -> timedelta | None:
        """How long notifications and deliveries are kept; None: for ever."""
        return timedelta(days=self.retention_days) if self.retention_days else None

    @property
    def brand(self) -> Brand:
        """Whose mail it is."""
        return Brand(self.brand_name, self.brand_color, self.brand_logo_url, self.brand_footer)

    @property
    def jwt_key(self) -> str:
        """What tokens are verified with."""
        if self.jwt_algorithm == "HS256" and self.jwt_secret is not None:
            return self.jwt_secret.get_secret_value()
        return (self.jwt_public_key or "").replace("\\n", "\n")


_ESCAPED = "in user and password write special characters as %xx"


def _is_address(url: str, schemes: Collection[str]) -> bool:
    try:
        parts = urlsplit(url)
        there = bool(parts.path if parts.scheme == "unix" else parts.hostname)
        return parts.scheme in schemes and there and parts.port != 0
    except ValueError:  # the error's own text would show a piece of the password
        return False


def _is_postgres(url: str) -> bool:
    try:
        scheme = make_url(url).get_backend_name()
    except (ArgumentError, ValueError):  # likewise
        return False
    return scheme in ("postgresql", "postgres")


def _origin(text: str) -> str:
    """The origin as browsers write it (RFC 6454, 6.2): lower case, no default port."""
    text = text.strip()
    try:
        parts = urlsplit(text.rstrip("/").lower())
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.path or parts.query or "*" in text:
        raise ValueError(
            f"{text.rpartition('@')[2]!r} is no origin; write each as https://app.example.com, no wildcard"
        )
    shown = "" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2].partition(':')[0]}{shown}"


_DEFAULT_PORTS = {"http": 80, "https": 443}


def load(**given: object) -> Settings:
    """The settings of this environment, but for those `given` that aren't None.

    Raises `ConfigurationError` with one sentence for each setting that is missing or unsafe.
    """
    try:
        # the other fields come from the environment
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        raise ConfigurationError("\n".join(_sentence(problem) for problem in error.errors())) from None


_WHAT = {
    "database_url": "the Postgres to keep notifications in, such as postgresql://user:password@host:5432/hub",
    "redis_url": "the Redis that knows revoked tokens, such as redis://host:6379/0",
    "kafka_bootstrap_servers": "the Kafka brokers to read events from, such as host:9092",
    "user_service_url": "where groups and their members are asked for, such as http://user-service:8000",
    "jwt_algorithm": "how tokens are signed: RS256 (with JWT_PUBLIC_KEY) or HS256 (with JWT_SECRET)",
}


def _sentence(problem: object) -> str:
    assert isinstance(problem, dict)
    field = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "missing":
        return f"{field.upper()} is not set. Set it to {_WHAT[field]}."
    text = str(problem["msg"]).removeprefix("Value error, ")
    return f"{field.upper()}: {text}." if field else f"{text}."
