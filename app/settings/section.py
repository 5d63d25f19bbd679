"""What all settings sections share: the base class, the units, the checks of addresses."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, ClassVar, NamedTuple
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo


class Unit(NamedTuple):
    """What a number counts; shown in the settings reference."""

    name: str


Seconds = Annotated[float, Unit("seconds")]
PeoplePerSecond = Annotated[float, Unit("people a second")]
Milliseconds = Annotated[int, Unit("milliseconds")]
Days = Annotated[int, Unit("days")]
Bytes = Annotated[int, Unit("bytes")]


def split(value: object) -> object:
    """The parts of a text that are separated by commas; anything else as it is."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def lower(value: object) -> object:
    """A text in lower case, as the choices of a setting are written; anything else as it is."""
    return value.strip().lower() if isinstance(value, str) else value


CommaSeparated = Annotated[tuple[str, ...], BeforeValidator(split)]


class Section(BaseModel):
    """The settings of one adapter.

    A section doesn't read the environment by itself: `app.settings.load` does, for all sections at once. So a
    test can construct a section from the fields that it needs. Each field names its environment variable in
    `validation_alias`, and has a description. Two sections may read the same variable: declare the field in
    a base class of both.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", validate_by_alias=True, validate_by_name=True)

    title: ClassVar[str]
    """The heading in the settings reference."""


class Variable(NamedTuple):
    """An environment variable and the field that it sets."""

    name: str
    section: str
    field: str
    info: FieldInfo


def variables(section: str, declared: type[Section]) -> list[Variable]:
    """The environment variables of one section, in the order of its fields."""
    return [
        Variable(str(info.validation_alias), section, field, info)
        for field, info in declared.model_fields.items()
    ]


class WithBatchSize(Section):
    """A section of a part that works in batches."""

    batch_size: int = Field(
        default=1000,
        ge=1,
        le=10_000,
        validation_alias="BATCH_SIZE",
        description="Maximum number of events that are stored in one transaction.",
    )


class WithShutdownGrace(Section):
    """A section of a part that takes time to stop."""

    shutdown_grace: Seconds = Field(
        default=10.0,
        gt=0,
        validation_alias="SHUTDOWN_GRACE",
        description="Time from SIGTERM until the last connection is closed.",
    )


class WithPublicUrl(Section):
    """A section of a part that tells others where to reach the hub."""

    public_url: str | None = Field(
        default=None,
        pattern=r"^https://[^\s/?#]+(/[^\s?#]*)?$|^http://(localhost|127\.0\.0\.1)(:[0-9]+)?/?$",
        validation_alias="PUBLIC_URL",
        description="HTTPS URL under which the receivers of mail reach the hub, such as "
        "https://hub.example.com. Mail that can be switched off then has an unsubscribe link of the hub's, "
        "unless UNSUBSCRIBE_URL names another, and Twilio calls the hub about each SMS.",
    )


URL_ENCODING = "percent-encode special characters in user and password"


def is_url(text: str, schemes: Collection[str]) -> bool:
    """Whether the text is a URL with one of the schemes and a host (a path, for `unix`)."""
    try:
        parts = urlsplit(text)
        complete = bool(parts.path if parts.scheme == "unix" else parts.hostname)
        return parts.scheme in schemes and complete and parts.port != 0
    except ValueError:  # the error's own text would show a piece of the password
        return False
