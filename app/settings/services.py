"""Sections of the services that the hub can't run without: Postgres, Redis, the user service."""

from __future__ import annotations

import re
from typing import ClassVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from app.settings.section import URL_ENCODING, Seconds, Section, is_url
from app.settings.url_options import REDIS_OPTIONS, check_url_options

_DATABASE = re.compile(r"(?:/[0-9]{0,5})?")


class PostgresSettings(Section):
    """The database that stores notifications, inboxes and deliveries."""

    title: ClassVar = "Postgres"

    url: SecretStr = Field(
        validation_alias="DATABASE_URL",
        description="The URL of the Postgres database that stores notifications, such as "
        "postgresql://user:password@host:5432/hub.",
    )
    direct_url: SecretStr | None = Field(
        default=None,
        validation_alias="DATABASE_DIRECT_URL",
        description="The URL of the same database without a pooler. Set it if DATABASE_URL leads to "
        "pgbouncer in transaction mode, or to another pooler that changes the server connection between "
        "transactions. LISTEN and migrations use it. The hub then uses no named prepared statements "
        "through `DATABASE_URL`.",
    )
    pool_size: int = Field(
        default=10,
        ge=2,
        validation_alias="DATABASE_POOL_SIZE",
        description=(
            "Number of Postgres connections of one node. Three of every ten are reserved for incoming events."
        ),
    )
    timeout: Seconds = Field(
        default=10.0,
        gt=0,
        validation_alias="DATABASE_TIMEOUT",
        description="Time limit of one statement, and of an idle transaction. Postgres cancels what takes "
        "longer. Behind a pooler, set DATABASE_DIRECT_URL.",
    )

    @property
    def pooled(self) -> bool:
        """Whether the server connection may be another one in each transaction."""
        return self.direct_url is not None

    @property
    def session_url(self) -> SecretStr:
        """The URL for what needs one server connection for longer than a transaction."""
        return self.direct_url or self.url

    @field_validator("url", "direct_url")
    @classmethod
    def _check_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not _is_postgres(url.get_secret_value()):
            raise ValueError(
                f"it must be a URL such as postgresql://user:password@host:5432/hub; {URL_ENCODING}"
            )
        return url


class RedisClientSettings(Section):
    """What all Redis clients of the hub share."""

    prefix: str = Field(
        default="hub",
        pattern=r"^[\w.:-]+$",
        validation_alias="REDIS_PREFIX",
        description="Prefix of all keys and channels. Hubs that share a Redis, but not a database, need "
        "different prefixes.",
    )
    timeout: Seconds = Field(
        default=2.0,
        gt=0,
        validation_alias="REDIS_TIMEOUT",
        description="Time limit of one reply from Redis, and of one connection attempt.",
    )


class RedisSettings(RedisClientSettings):
    """The Redis that holds revoked tokens and connects the nodes."""

    title: ClassVar = "Redis"

    url: SecretStr = Field(
        validation_alias="REDIS_URL",
        description="The URL of the Redis that holds revoked tokens and connects the nodes, such as "
        "redis://:password@host:6379/0, or redis://user:password@host:6379/0 for an ACL user (rediss:// for "
        "TLS; then ?ssl_ca_certs=… names a file of CAs, &ssl_certfile=…&ssl_keyfile=… a client certificate).",
    )
    cluster: bool = Field(
        default=False,
        validation_alias="REDIS_CLUSTER",
        description="Whether REDIS_URL is a node of a Redis Cluster.",
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: SecretStr) -> SecretStr:
        return check_redis_url(url)


class UserServiceSettings(Section):
    """The service that knows the groups and their members."""

    title: ClassVar = "User service"

    url: str = Field(
        validation_alias="USER_SERVICE_URL",
        description=(
            "The base URL of the user service, from which the hub reads groups and their members, "
            "such as http://user-service:8000."
        ),
    )
    timeout: Seconds = Field(
        default=2.0,
        gt=0,
        validation_alias="USER_SERVICE_TIMEOUT",
        description="Time limit of one call.",
    )
    cache: Seconds = Field(
        default=15.0,
        ge=0,
        validation_alias="USER_SERVICE_CACHE",
        description="How long the members of a group are cached.",
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        if not is_url(url, ("http", "https")):
            raise ValueError("it must be a URL such as http://user-service:8000")
        return url


def check_redis_url(url: SecretStr) -> SecretStr:
    """Returns the URL. Raises `ValueError`, which doesn't repeat it, unless it is one of a Redis.

    The client would take database 0 where the path is no number: another than the one with the blocklist.
    """
    if not is_url(url.get_secret_value(), ("redis", "rediss", "unix")):
        raise ValueError(
            f"it must be a URL such as redis://:password@host:6379/0 (rediss:// for TLS); {URL_ENCODING}"
        )
    parts = urlsplit(url.get_secret_value())
    if parts.scheme != "unix" and not _DATABASE.fullmatch(parts.path):
        raise ValueError("its path must be the number of a database, as in redis://:password@host:6379/0")
    check_url_options(url.get_secret_value(), REDIS_OPTIONS)
    return url


def _is_postgres(url: str) -> bool:
    try:
        scheme = make_url(url).get_backend_name()
    except (ArgumentError, ValueError):  # the error's own text would show a piece of the password
        return False
    return scheme in ("postgresql", "postgres")
