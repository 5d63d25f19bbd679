"""One section for each source of events.

To add a source: write its section here, add it to `SourceSections` below, run `make settings`. The source's
folder in `app/sources/` takes this section and no other. The `url` of an optional source is None by default,
and then the source isn't started.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    FilePath,
    SecretStr,
    field_validator,
    model_validator,
)

from app.settings.section import (
    URL_ENCODING,
    Milliseconds,
    Seconds,
    WithBatchSize,
    WithShutdownGrace,
    is_url,
)
from app.settings.services import RedisClientSettings, RedisSettings, check_redis_url
from app.settings.url_options import AMQP_OPTIONS, check_url_options

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]
_MECHANISMS = ", ".join(get_args(SaslMechanism))


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _variable(field: str) -> str:
    return str(KafkaSettings.model_fields[field].validation_alias)


class KafkaSettings(WithBatchSize, WithShutdownGrace):
    """The Kafka topics that the hub consumes events from."""

    title: ClassVar = "Kafka"

    bootstrap_servers: str = Field(
        validation_alias="KAFKA_BOOTSTRAP_SERVERS",
        description="The Kafka brokers to consume events from, such as host:9092,other:9092.",
    )
    group: str = Field(
        default="notification_service_group",
        validation_alias="KAFKA_GROUP",
        description="Consumer group of the hub's nodes.",
    )
    fetch_max_wait_ms: Milliseconds = Field(
        default=500,
        ge=1,
        validation_alias="KAFKA_FETCH_MAX_WAIT_MS",
        description="Longest time that a broker delays a fetch response while it has no records.",
    )
    session_timeout_ms: Milliseconds = Field(
        default=10_000,
        ge=1000,
        validation_alias="KAFKA_SESSION_TIMEOUT_MS",
        description="Time without a heartbeat after which a node is removed from the consumer group, and "
        "its partitions are assigned to other nodes.",
    )
    stalled_after: Seconds = Field(
        default=30.0,
        ge=1,
        validation_alias="KAFKA_STALLED_AFTER",
        description="Time without progress, while there are records to read, after which the consumer is "
        "recreated. Set it to more than a rebalance takes.",
    )
    security_protocol: Annotated[SecurityProtocol, BeforeValidator(_upper)] = Field(
        default="PLAINTEXT",
        validation_alias="KAFKA_SECURITY_PROTOCOL",
        description="How the hub connects to the brokers: PLAINTEXT, SSL (TLS), SASL_PLAINTEXT (a login "
        "without TLS) or SASL_SSL (a login over TLS).",
    )
    sasl_mechanism: Annotated[SaslMechanism | None, BeforeValidator(_upper)] = Field(
        default=None,
        validation_alias="KAFKA_SASL_MECHANISM",
        description="How the hub logs in, with SASL_PLAINTEXT or SASL_SSL: PLAIN, SCRAM-SHA-256, "
        "SCRAM-SHA-512 or OAUTHBEARER.",
    )
    sasl_username: str | None = Field(
        default=None, validation_alias="KAFKA_SASL_USERNAME", description="User name for PLAIN and SCRAM."
    )
    sasl_password: SecretStr | None = Field(
        default=None, validation_alias="KAFKA_SASL_PASSWORD", description="Password for PLAIN and SCRAM."
    )
    sasl_oauth_token_provider: str | None = Field(
        default=None,
        pattern=r"^[\w.]+:\w+$",
        validation_alias="KAFKA_SASL_OAUTH_TOKEN_PROVIDER",
        description=(
            "For OAUTHBEARER, the Python function that returns the token, such as "
            "our_package.kafka:token. It is called without arguments for each connection, may be "
            "async, and returns a token that is still valid for a while."
        ),
    )
    ssl_cafile: FilePath | None = Field(
        default=None,
        validation_alias="KAFKA_SSL_CAFILE",
        description="PEM file of the CAs that brokers' certificates are checked by, with SSL or SASL_SSL. If "
        "unset, the system's CAs.",
    )
    ssl_certfile: FilePath | None = Field(
        default=None,
        validation_alias="KAFKA_SSL_CERTFILE",
        description="PEM file of the hub's client certificate, if brokers ask for one.",
    )
    ssl_keyfile: FilePath | None = Field(
        default=None,
        validation_alias="KAFKA_SSL_KEYFILE",
        description="PEM file of the key of KAFKA_SSL_CERTFILE, if it is not in that file.",
    )
    ssl_password: SecretStr | None = Field(
        default=None, validation_alias="KAFKA_SSL_PASSWORD", description="Password of KAFKA_SSL_KEYFILE."
    )
    ssl_check_hostname: bool = Field(
        default=True,
        validation_alias="KAFKA_SSL_CHECK_HOSTNAME",
        description="Whether a broker's certificate must name its host.",
    )
    notification_topic: str = Field(
        default="service_notifications",
        validation_alias="NOTIFICATION_TOPIC",
        description="Kafka topic of events that become notifications.",
    )
    logout_topic: str = Field(
        default="user_service.user.logout_account",
        validation_alias="LOGOUT_EVENTS_TOPIC",
        description="Kafka topic of logouts.",
    )
    registration_topic: str = Field(
        default="user_service.user.register_account",
        validation_alias="REGISTRATION_EVENTS_TOPIC",
        description="Kafka topic of requests for a one-time code to register.",
    )
    reset_password_topic: str = Field(
        default="user_service.user.reset_password",
        validation_alias="RESET_PASSWORD_EVENTS_TOPIC",
        description="Kafka topic of requests for a one-time code to reset a password.",
    )
    email_change_topic: str = Field(
        default="user_service.user.change_email",
        validation_alias="EMAIL_CHANGE_EVENTS_TOPIC",
        description="Kafka topic of requests for a one-time code to change an email address.",
    )

    @model_validator(mode="after")
    def _check_security(self) -> Self:
        """Nothing that is set may be without effect: the connection would be less secure than meant."""
        sasl, tls = self.security_protocol.startswith("SASL"), self.security_protocol.endswith("SSL")
        for field, needed in (*((name, sasl) for name in _SASL), *((name, tls) for name in _TLS)):
            if getattr(self, field) is not None and not needed:
                kind = "SASL_SSL or SASL_PLAINTEXT" if field in _SASL else "SASL_SSL or SSL"
                raise ValueError(
                    f"{_variable(field)} is set, but KAFKA_SECURITY_PROTOCOL is {self.security_protocol}. "
                    f"Set it to {kind}, or remove {_variable(field)}"
                )
        if sasl and self.sasl_mechanism is None:
            raise ValueError(f"KAFKA_SASL_MECHANISM is not set. Set it to one of {_MECHANISMS}")
        oauth = self.sasl_mechanism == "OAUTHBEARER"
        for field in (
            ("sasl_oauth_token_provider",) if oauth else ("sasl_username", "sasl_password") if sasl else ()
        ):
            if getattr(self, field) is None:
                raise ValueError(f"{_variable(field)} is not set. {self.sasl_mechanism} needs it")
        if self.ssl_certfile is None and (self.ssl_keyfile or self.ssl_password):
            raise ValueError(
                "KAFKA_SSL_CERTFILE is not set. KAFKA_SSL_KEYFILE is the key of that certificate"
            )
        return self

    @property
    def topics(self) -> dict[str, str]:
        """All topics that the hub consumes, by the environment variable that names them."""
        return {
            str(type(self).model_fields[field].validation_alias): getattr(self, field) for field in _TOPICS
        }


_SASL = ("sasl_mechanism", "sasl_username", "sasl_password", "sasl_oauth_token_provider")
_TLS = ("ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_password")
_TOPICS = (
    "notification_topic",
    "logout_topic",
    "registration_topic",
    "reset_password_topic",
    "email_change_topic",
)
TOPIC_VARIABLES = {
    str(KafkaSettings.model_fields[field].validation_alias): str(KafkaSettings.model_fields[field].default)
    for field in _TOPICS
}
"""The default of each Kafka topic, by the environment variable that names it."""


class RabbitMqSettings(WithBatchSize):
    """The RabbitMQ queues that the hub consumes events from. Messages that can't be processed go through the
    exchange `notification.dlx` to `<queue>.dlq`.
    """

    title: ClassVar = "RabbitMQ"

    url: SecretStr | None = Field(
        default=None,
        validation_alias="RABBITMQ_URL",
        description="URL of the RabbitMQ to consume events from, such as amqp://user:password@host:5672/ "
        "(amqps:// for TLS, %2F for the virtual host /, special characters percent-encoded). With amqps, "
        "?cafile=… names a file of CAs, &certfile=…&keyfile=… a client certificate. "
        "If unset, RabbitMQ isn't used.",
    )
    booking_queue: str = Field(
        default="notification.booking_events",
        min_length=1,
        max_length=200,
        validation_alias="BOOKING_EVENTS_QUEUE",
        description="RabbitMQ queue of booking events.",
    )
    payment_queue: str = Field(
        default="notification.payment_events",
        min_length=1,
        max_length=200,
        validation_alias="PAYMENT_EVENTS_QUEUE",
        description="RabbitMQ queue of payment events.",
    )
    notifications_queue: str = Field(
        default="notifications",
        min_length=1,
        max_length=200,
        validation_alias="NOTIFICATIONS_QUEUE",
        description="RabbitMQ queue of all other events.",
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not is_url(url.get_secret_value(), ("amqp", "amqps")):
            raise ValueError(
                f"it must be a URL such as amqp://user:password@host:5672/ (amqps:// for TLS); {URL_ENCODING}"
            )
        if url is not None:
            check_url_options(url.get_secret_value(), AMQP_OPTIONS)
        return url


class RedisStreamsSettings(WithBatchSize, RedisClientSettings):
    """The Redis that services publish events on. Entries that can't be processed go to the stream
    `<stream>.dlq`.
    """

    title: ClassVar = "Redis Streams and Pub/Sub"

    url: SecretStr | None = Field(
        default=None,
        validation_alias="REDIS_EVENTS_URL",
        description="URL of the Redis that services publish events on, such as "
        "redis://:password@host:6379/0. If unset, no events are read from Redis.",
    )
    channel: str = Field(
        default="inventory:low-stock",
        min_length=1,
        validation_alias="LOW_STOCK_CHANNEL",
        description="Pub/Sub channel of events.",
    )
    stream: str = Field(
        default="inventory:low-stock:stream",
        min_length=1,
        validation_alias="LOW_STOCK_STREAM",
        description="Redis stream of events.",
    )
    group: str = Field(
        default="notification_service_group",
        min_length=1,
        validation_alias="REDIS_GROUP",
        description="Consumer group of the hub's nodes on the stream.",
    )
    claim_after: Seconds = Field(
        default=30.0,
        ge=0.1,
        validation_alias="REDIS_CLAIM_AFTER",
        description="Time without activity of a node after which other nodes claim its stream entries.",
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: SecretStr | None) -> SecretStr | None:
        return None if url is None else check_redis_url(url)

    @property
    def connection(self) -> RedisSettings:
        """How to connect. `url` must be set."""
        assert self.url is not None
        return RedisSettings(url=self.url, cluster=False, prefix=self.prefix, timeout=self.timeout)


class SourceSections(BaseModel):
    """The sections of all sources, from which each entry of `app.sources.BROKERS` takes its own."""

    kafka: KafkaSettings
    rabbitmq: RabbitMqSettings
    redis_streams: RedisStreamsSettings
