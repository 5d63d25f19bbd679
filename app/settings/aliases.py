"""Names of other programs that the hub accepts for its own settings, each with a notice that names ours.

To add a name, extend or add a line of `ALIASES`, and run `make settings`. Our own name always wins.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote

Values = Mapping[str, str]
"""Values by the name of the variable, in capitals."""


class Notice(NamedTuple):
    """What the operator should know about one variable. It never holds a value."""

    event: str
    """The name of the log event."""
    variable: str
    why: str


class Alias(ABC):
    """A setting of ours and the names that other programs give it."""

    ours: str

    @property
    @abstractmethod
    def foreign(self) -> Sequence[str]:
        """All names, those that win first."""

    @abstractmethod
    def used(self, values: Values) -> Sequence[str]:
        """Which of the names would give the value; empty if there aren't enough of them."""

    @abstractmethod
    def value(self, values: Values) -> str | None:
        """The value in our form, from the names that are `used`; None if theirs has no meaning here."""


class Renamed(Alias):
    """Each name alone gives the value."""

    def __init__(self, ours: str, *foreign: str, convert: Callable[[str], str | None] = str) -> None:
        self.ours = ours
        self._foreign = foreign
        self._convert = convert

    @property
    def foreign(self) -> Sequence[str]:
        """As `Alias.foreign`."""
        return self._foreign

    def used(self, values: Values) -> Sequence[str]:
        """As `Alias.used`."""
        return [name for name in self._foreign if name in values][:1]

    def value(self, values: Values) -> str | None:
        """As `Alias.value`."""
        return self._convert(values[self.used(values)[0]])


class Combined(Alias):
    """Several names give the value together."""

    def __init__(
        self, ours: str, make: Callable[[Values, Values], str | None], needed: str, **parts: tuple[str, ...]
    ) -> None:
        """Declare the names.

        Args:
            ours: The setting.
            make: Makes its value of the parts that are given, and of all values.
            needed: The parts without any of which there is no value, separated by spaces.
            parts: The names of each part.
        """
        self.ours = ours
        self._make = make
        self._needed = needed.split()
        self.parts = parts

    @property
    def foreign(self) -> Sequence[str]:
        """As `Alias.foreign`."""
        return [name for names in self.parts.values() for name in names]

    def used(self, values: Values) -> Sequence[str]:
        """As `Alias.used`."""
        found = self._found(values)
        return [*found.values()] if any(part in found for part in self._needed) else []

    def value(self, values: Values) -> str | None:
        """As `Alias.value`."""
        return self._make({part: values[name] for part, name in self._found(values).items()}, values)

    def _found(self, values: Values) -> dict[str, str]:
        """The name that gives each part."""
        given = {part: [name for name in names if name in values] for part, names in self.parts.items()}
        return {part: names[0] for part, names in given.items() if names}


@dataclass(frozen=True)
class Resolution:
    """The values with those of aliases under our names, and what the operator should know about it."""

    values: Values
    origins: Mapping[str, Sequence[str]]
    """The foreign names that gave a setting its value."""
    notices: Sequence[Notice]


def resolve(given: Values, aliases: Iterable[Alias]) -> Resolution:
    """Find the values of our settings among `given`, under our names or those of `aliases`."""
    values = {name: value for name, value in given.items() if not is_service_link(name, value)}
    origins: dict[str, Sequence[str]] = {}
    notices: list[Notice] = []
    for alias in aliases:
        notices += _applied(alias, values, origins)
    notices += (Notice("setting_ignored", name, why) for name, why in UNUSED.items() if name in values)
    return Resolution(values, origins, notices)


def _applied(alias: Alias, values: dict[str, str], origins: dict[str, Sequence[str]]) -> Iterator[Notice]:
    """Add the alias's value to `values`; say what became of each name."""
    used = alias.used(values)
    if not used:
        return
    others = [name for name in alias.foreign if name in values and name not in used]
    if alias.ours in values:
        instead = f"{origins[alias.ours][0]} is used" if alias.ours in origins else f"{alias.ours} is set"
        others = [*used, *others]
    elif (value := alias.value(values)) is None:
        instead = "its value isn't understood"
        others = [*used, *others]
    else:
        values[alias.ours] = value
        origins[alias.ours] = used
        instead = f"{used[0]} is used"
        for name in used:
            yield Notice("setting_alias", name, f"{name} is used for {alias.ours}. Set {alias.ours} instead.")
    for name in others:
        yield Notice("setting_ignored", name, f"{name} is ignored, as {instead}. It would set {alias.ours}.")


def is_service_link(name: str, value: str = "") -> bool:
    """Whether Kubernetes or Docker set the variable, to say where another service is."""
    return bool(_LINK_NAME.fullmatch(name)) or (name.endswith("_PORT") and bool(_LINK.match(value)))


_LINK = re.compile(r"(tcp|udp|sctp)://", re.IGNORECASE)
_LINK_NAME = re.compile(
    r".+_SERVICE_(HOST|PORT(_.+)?)|.+_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?|.+_ENV_.+"
)


def _postgres_url(part: Values, _: Values) -> str:
    host, name = part["host"], _encoded(part.get("name", part.get("user", "")))
    if host.startswith("/"):  # the folder of a Unix socket
        return f"postgresql://{_login(part)}/{name}?host={_encoded(host, safe='/')}"
    return f"postgresql://{_login(part)}{_authority(part)}/{name}"


def _redis_url(part: Values, _: Values) -> str:
    return f"redis{_tls(part)}://{_login(part)}{_authority(part)}/{_encoded(part.get('number', '0'))}"


def _rabbitmq_url(part: Values, _: Values) -> str:
    return f"amqp{_tls(part)}://{_login(part)}{_authority(part)}/{_encoded(part.get('vhost', ''))}"


def _broker(part: Values, _: Values) -> str:
    return part["host"] if "," in part["host"] else _authority({"port": "9092", **part})


def _brokers(value: str) -> str:
    """Without a scheme before each address, which other clients allow."""
    return ",".join(re.sub(r"^\s*[\w+.-]+://", "", each).strip() for each in value.split(","))


def _login(part: Values) -> str:
    user, password = (_encoded(part.get(name, "")) for name in ("user", "password"))
    return f"{user}:{password}@" if password else f"{user}@" if user else ""


def _tls(part: Values) -> str:
    return "s" if _BOOLEANS.get(part.get("tls", "no").strip().lower(), True) else ""


def _encoded(text: str, safe: str = "") -> str:
    """Percent-encoded. Bytes of the environment that aren't UTF-8 stay what they are."""
    return quote(text.encode(errors="surrogateescape"), safe=safe)


def _authority(part: Values) -> str:
    host, port = part["host"].strip(), part.get("port", "").strip()
    if host.count(":") > 1 and not host.startswith("["):
        host = f"[{host}]"  # IPv6
    has_port = re.search(r":\d+$", host) and not host.endswith("]")
    return host if has_port or not port else f"{host}:{port}"


def _security(part: Values, values: Values) -> str | None:
    """By the switches of Django and Flask. On port 465 TLS starts with the first byte, whichever is on."""
    tls, ssl = (_BOOLEANS.get(part.get(name, "no").strip().lower()) for name in ("tls", "ssl"))
    if tls is None or ssl is None:
        return None
    if ssl or values.get("SMTP_PORT") == "465":
        return "tls"
    if "tls" not in part:  # without SSL is no word about STARTTLS
        return "starttls"
    return "starttls" if tls else "none"


def _encryption(value: str) -> str | None:
    return _ENCRYPTIONS.get(value.strip().lower())


_BOOLEANS = dict.fromkeys(("1", "true", "yes", "on", "t", "y"), True) | dict.fromkeys(
    ("0", "false", "no", "off", "f", "n", "none", "null"), False
)
_ENCRYPTIONS = {"tls": "starttls", "starttls": "starttls", "ssl": "tls", "smtps": "tls", "null": "none"}


def _sender(part: Values, values: Values) -> str:
    """`Name <address>`, the name quoted (RFC 5322, 3.2.4)."""
    username = values.get("SMTP_USERNAME", "")
    address = part.get("address") or (username if "@" in username else "no-reply@localhost")
    if "name" not in part:
        return address
    bare = address.rpartition("<")[2].rstrip("> ")
    quoted = re.sub(r'([\\"])', r"\\\1", " ".join(part["name"].split()))
    return f'"{quoted}" <{bare}>'


def _phone_number(value: str) -> str:
    """Without the blanks and signs that make a number readable."""
    bare = re.sub(r"[\s().-]", "", value)
    return bare if re.fullmatch(r"\+?\d+", bare) else value


ALIASES: tuple[Alias, ...] = (
    Renamed("DATABASE_DIRECT_URL", "DIRECT_URL", "DIRECT_DATABASE_URL", "DATABASE_URL_UNPOOLED"),
    Renamed("DATABASE_URL", "POSTGRES_URL", "POSTGRES_URI", "POSTGRESQL_URL", "SQLALCHEMY_DATABASE_URI"),
    Combined(
        "DATABASE_URL",
        _postgres_url,
        "host",
        host=("POSTGRES_DB_HOST",),
        port=("POSTGRES_DB_PORT",),
        user=("POSTGRES_DB_USER", "POSTGRES_DB_USERNAME"),
        password=("POSTGRES_DB_PASSWORD", "POSTGRES_DB_PASS"),
        name=("POSTGRES_DB_NAME", "POSTGRES_DB_DATABASE"),
    ),
    Combined(
        "DATABASE_URL",
        _postgres_url,
        "host",
        host=("POSTGRES_HOST", "POSTGRES_SERVER"),
        port=("POSTGRES_PORT",),
        user=("POSTGRES_USER", "POSTGRES_USERNAME"),
        password=("POSTGRES_PASSWORD",),
        name=("POSTGRES_DB", "POSTGRES_DATABASE", "POSTGRES_DBNAME"),
    ),
    Combined(
        "DATABASE_URL",
        _postgres_url,
        "host",
        host=("DATABASE_HOST", "DB_HOST"),
        port=("DATABASE_PORT", "DB_PORT"),
        user=("DATABASE_USER", "DATABASE_USERNAME", "DB_USER", "DB_USERNAME"),
        password=("DATABASE_PASSWORD", "DB_PASSWORD", "DB_PASS"),
        name=("DATABASE_NAME", "DB_NAME", "DB_DATABASE"),
    ),
    Renamed("REDIS_URL", "REDIS_URI", "REDIS_CONNECTION_STRING"),
    Combined(
        "REDIS_URL",
        _redis_url,
        "host",
        host=("REDIS_HOST", "REDIS_HOSTNAME", "REDIS_SERVER"),
        port=("REDIS_PORT",),
        user=("REDIS_USERNAME", "REDIS_USER"),
        password=("REDIS_PASSWORD", "REDIS_PASS"),
        number=("REDIS_DB", "REDIS_DATABASE"),
        tls=("REDIS_TLS", "REDIS_SSL", "REDIS_USE_TLS", "REDIS_USE_SSL"),
    ),
    Renamed(
        "KAFKA_BOOTSTRAP_SERVERS",
        *("KAFKA_BOOTSTRAP_SERVER", "KAFKA_BROKERS", "KAFKA_BROKER", "KAFKA_SERVERS", "KAFKA_BROKER_URL"),
        *("KAFKA_BROKER_LIST", "KAFKA_SERVER", "KAFKA_URL"),
        convert=_brokers,
    ),
    Combined(
        "KAFKA_BOOTSTRAP_SERVERS",
        _broker,
        "host",
        host=("KAFKA_HOST", "KAFKA_BROKER_HOST"),
        port=("KAFKA_PORT", "KAFKA_BROKER_PORT"),
    ),
    Renamed("KAFKA_GROUP", "KAFKA_GROUP_ID", "KAFKA_CONSUMER_GROUP", "KAFKA_CONSUMER_GROUP_ID"),
    Renamed("KAFKA_SASL_MECHANISM", "KAFKA_SASL_MECHANISMS"),
    Renamed(
        "KAFKA_SASL_USERNAME", "KAFKA_SASL_PLAIN_USERNAME", "KAFKA_SASL_USER", "KAFKA_USERNAME", "KAFKA_USER"
    ),
    Renamed("KAFKA_SASL_PASSWORD", "KAFKA_SASL_PLAIN_PASSWORD", "KAFKA_SASL_PASS", "KAFKA_PASSWORD"),
    Renamed(
        "KAFKA_SSL_CAFILE",
        *("KAFKA_SSL_CA_LOCATION", "KAFKA_SSL_CA_FILE", "KAFKA_SSL_CA", "KAFKA_CA_FILE", "KAFKA_CA_CERT"),
    ),
    Renamed("KAFKA_SSL_CERTFILE", "KAFKA_SSL_CERTIFICATE_LOCATION", "KAFKA_SSL_CERT_FILE", "KAFKA_SSL_CERT"),
    Renamed("KAFKA_SSL_KEYFILE", "KAFKA_SSL_KEY_LOCATION", "KAFKA_SSL_KEY_FILE", "KAFKA_SSL_KEY"),
    Renamed("KAFKA_SSL_PASSWORD", "KAFKA_SSL_KEY_PASSWORD"),
    Renamed("RABBITMQ_URL", "RABBITMQ_URI", "RABBIT_URL", "AMQP_URL", "AMQP_URI", "CLOUDAMQP_URL"),
    Combined(
        "RABBITMQ_URL",
        _rabbitmq_url,
        "host",
        host=("RABBITMQ_HOST", "RABBITMQ_SERVER", "RABBIT_HOST", "AMQP_HOST"),
        port=("RABBITMQ_PORT", "RABBIT_PORT", "AMQP_PORT"),
        user=("RABBITMQ_USER", "RABBITMQ_USERNAME", "RABBIT_USER", "AMQP_USER", "RABBITMQ_DEFAULT_USER"),
        password=(
            *("RABBITMQ_PASSWORD", "RABBITMQ_PASS", "RABBIT_PASSWORD", "AMQP_PASSWORD"),
            "RABBITMQ_DEFAULT_PASS",
        ),
        vhost=("RABBITMQ_VHOST", "RABBITMQ_VIRTUAL_HOST", "AMQP_VHOST", "RABBITMQ_DEFAULT_VHOST"),
        tls=("RABBITMQ_TLS", "RABBITMQ_SSL", "RABBITMQ_USE_TLS", "RABBITMQ_USE_SSL"),
    ),
    Renamed("USER_SERVICE_URL", "USER_SERVICE_BASE_URL", "USER_SERVICE_URI"),
    Renamed("JWT_SECRET", "JWT_SECRET_KEY"),
    Renamed("JWT_ALGORITHM", "JWT_ALG"),
    Renamed("JWT_ISSUER", "JWT_ISS"),
    Renamed("JWT_JWKS_URL", "JWT_JWKS_URI", "JWT_JWKS", "JWKS_URL", "JWKS_URI", "JWK_SET_URL"),
    Renamed("JWT_AUDIENCE", "JWT_AUD"),
    Renamed(
        "SMTP_HOST",
        *("SMTP_SERVER", "SMTP_HOSTNAME", "SMTP_ADDRESS", "EMAIL_HOST", "EMAIL_SERVER", "EMAIL_SMTP_HOST"),
        *("MAIL_SERVER", "MAIL_HOST", "EMAIL_SMTP_SERVER", "MAIL_SMTP_HOST", "SMTP_SERVER_HOST"),
    ),
    Renamed("SMTP_PORT", "SMTP_SERVER_PORT", "EMAIL_PORT", "EMAIL_SMTP_PORT", "MAIL_PORT"),
    Renamed(
        "SMTP_USERNAME",
        *("SMTP_USER", "SMTP_LOGIN", "EMAIL_HOST_USER", "EMAIL_USERNAME", "EMAIL_USER", "MAIL_USERNAME"),
        *("MAIL_USER", "EMAIL_SMTP_USER", "EMAIL_SMTP_USERNAME", "EMAIL_LOGIN"),
    ),
    Renamed(
        "SMTP_PASSWORD",
        *("SMTP_PASS", "EMAIL_HOST_PASSWORD", "EMAIL_PASSWORD", "EMAIL_PASS", "MAIL_PASSWORD", "MAIL_PASS"),
        *("EMAIL_SMTP_PASSWORD", "SENDER_PASSWORD"),
    ),
    Renamed("SMTP_TIMEOUT", "EMAIL_TIMEOUT"),
    Combined(
        "SMTP_SECURITY",
        _security,
        "tls ssl",
        tls=(
            *("EMAIL_USE_TLS", "MAIL_USE_TLS", "SMTP_USE_TLS", "SMTP_TLS", "SMTP_STARTTLS", "MAIL_STARTTLS"),
            *("EMAIL_TLS", "MAIL_TLS", "EMAIL_USE_STARTTLS", "SMTP_USE_STARTTLS"),
        ),
        ssl=(
            *("EMAIL_USE_SSL", "MAIL_USE_SSL", "SMTP_USE_SSL", "SMTP_SSL", "SMTP_SECURE", "MAIL_SSL_TLS"),
            *("EMAIL_SSL", "MAIL_SSL"),
        ),
    ),
    Renamed("SMTP_SECURITY", "MAIL_ENCRYPTION", "SMTP_ENCRYPTION", convert=_encryption),
    Combined(
        "MAIL_FROM",
        _sender,
        "address name",
        address=(
            *("FROM_EMAIL", "EMAIL_FROM", "EMAIL_SENDER", "SENDER_EMAIL", "SMTP_FROM", "SMTP_FROM_EMAIL"),
            *("SMTP_SENDER", "MAIL_DEFAULT_SENDER", "DEFAULT_FROM_EMAIL", "MAIL_FROM_ADDRESS", "MAIL_SENDER"),
            *("EMAIL_FROM_ADDRESS", "FROM_ADDRESS", "SMTP_FROM_ADDRESS", "MAIL_FROM_EMAIL"),
            "EMAIL_SENDER_ADDRESS",
        ),
        name=(
            *("FROM_NAME", "EMAIL_FROM_NAME", "SMTP_FROM_NAME", "MAIL_FROM_NAME", "SENDER_NAME"),
            "EMAIL_SENDER_NAME",
        ),
    ),
    Renamed(
        "TWILIO_FROM",
        *("TWILIO_PHONE_NUMBER", "TWILIO_FROM_NUMBER", "TWILIO_NUMBER", "TWILIO_FROM_PHONE_NUMBER"),
        "TWILIO_SENDER",
        convert=_phone_number,
    ),
    Renamed("TWILIO_ACCOUNT_SID", "TWILIO_SID"),
    Renamed("TWILIO_AUTH_TOKEN", "TWILIO_TOKEN"),
    Renamed("TWILIO_MESSAGING_SERVICE_SID", "TWILIO_MESSAGING_SID", "TWILIO_SERVICE_SID"),
)
"""Each line after those that its value is made of."""

_AUDIT = "The audit of deliveries is in Postgres, which DATABASE_URL names."
UNUSED: Mapping[str, str] = {
    name: f"{name} is ignored: the hub uses no MongoDB. {_AUDIT}"
    for name in ("MONGODB_URI", "MONGODB_URL", "MONGO_URI", "MONGO_URL")
}
"""Names that other programs need and the hub doesn't, and what to know about each."""

FOREIGN = frozenset(name for alias in ALIASES for name in alias.foreign) | UNUSED.keys()
