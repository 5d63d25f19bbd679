"""The hub's settings: one section for each adapter, read from the environment and checked once at start
(12factor.net/config).

Only `app.server`, `app.cli` and `app.dev` import this module. All others take their own section, from
`app.settings.<module>`.

To add a setting: add a field with `validation_alias`, `description` and bounds to a section, and run
`make settings`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from app.domain.errors import ConfigurationError
from app.settings.aliases import ALIASES, Notice, Resolution, resolve
from app.settings.channels import ChannelSections
from app.settings.edge import AuthSettings, HttpSettings, ServerSettings, WebSocketSettings
from app.settings.processing import (
    BroadcastSettings,
    IngestSettings,
    OutboxSettings,
    RetentionSettings,
    WebhookSettings,
)
from app.settings.section import Section, Variable
from app.settings.section import variables as section_variables
from app.settings.services import PostgresSettings, RedisSettings, UserServiceSettings
from app.settings.sources import SourceSections
from app.settings.unknown import unknown
from app.settings.waiting import WaitSettings

REFUSED_PREFIX = "KAFKA_"
ROOT = Path(__file__).parent.parent.parent


def dotenv_file() -> Path:
    """The `.env` of the working directory, or where there is none, that beside run.py and alembic.ini."""
    here = Path(".env")
    return here if here.is_file() else ROOT / ".env"


class _Environment(BaseSettings):
    """Sections whose variables `_read` finds in the environment and in `.env`, where all names are flat."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)

    @classmethod
    def variables(cls) -> list[Variable]:
        """The environment variables of all sections. One that two sections read is listed for each."""
        return [
            variable
            for section, info in cls.model_fields.items()
            for variable in section_variables(section, _section_type(info))
        ]


class _NodeSections(BaseModel):
    """The sections of what every node has."""

    postgres: PostgresSettings
    redis: RedisSettings
    user_service: UserServiceSettings
    auth: AuthSettings
    server: ServerSettings
    http: HttpSettings
    websocket: WebSocketSettings
    ingest: IngestSettings
    outbox: OutboxSettings
    broadcasts: BroadcastSettings
    waits: WaitSettings
    webhooks: WebhookSettings
    retention: RetentionSettings


class Settings(_Environment, ChannelSections, SourceSections, _NodeSections):
    """All settings. pydantic puts the fields of the last base first."""


class EventSettings(_Environment, SourceSections):
    """The sections that say where events come in, and what is made of them."""

    ingest: IngestSettings


def _read(env_file: Any, *, aliases: bool = True) -> Resolution:
    """What the environment and `env_file` say, under our names. The environment takes precedence."""
    file, environment = DotEnvSettingsSource(Settings, env_file=env_file), EnvSettingsSource(Settings)
    found = {**file.env_vars, **environment.env_vars}  # their names are in lower case
    values = {name.upper(): value for name, value in found.items() if value}
    return resolve(values, ALIASES if aliases else ())


def _nested(settings: type[_Environment], values: Mapping[str, object]) -> dict[str, Any]:
    """The values by section and variable."""
    nested: dict[str, Any] = {section: {} for section in settings.model_fields}
    for variable in settings.variables():
        if (value := values.get(variable.name)) is not None:
            nested[variable.section][variable.name] = value
    return nested


def _section_type(info: FieldInfo) -> type[Section]:
    assert isinstance(info.annotation, type)
    assert issubclass(info.annotation, Section)
    return info.annotation


def load(**given: object) -> Settings:
    """Read all settings from the environment, under our names or those of `app.settings.aliases`.

    Args:
        given: values that override the environment, by the variable's name in lower case; None doesn't.
            `_env_file` names another file than that of `dotenv_file`. With `_aliases=False` only our own
            names count, so that a developer's environment doesn't matter.

    Raises:
        ConfigurationError: one sentence for each setting that is missing or unsafe. It repeats no secret.
    """
    return _load(Settings, given)


_SectionT = TypeVar("_SectionT", bound=Section)


def load_section(section: type[_SectionT], **given: object) -> _SectionT:
    """Read one section from the environment, whatever the others hold. See `load`."""
    alone = create_model(section.__name__, __base__=_Environment, section=(section, ...))
    values: Any = _load(alone, given)
    loaded: _SectionT = values.section
    return loaded


def load_events(**given: object) -> EventSettings:
    """Read what decides about events, where other settings may be missing. See `load`.

    No broker has to be named: nothing connects to it.
    """
    return _load(EventSettings, {"kafka_bootstrap_servers": "unset", **given})


def notices() -> list[Notice]:
    """What the operator should know about the variables of the environment and of `.env`.

    That is: names of other programs, and names that no setting has. No notice holds a value.
    """
    resolution = _read(dotenv_file())
    return [*resolution.notices, *_unknown(resolution)]


def _unknown(resolution: Resolution) -> list[Notice]:
    known = dict.fromkeys(variable.name for variable in Settings.variables())
    titles = [_section_type(info).title for info in Settings.model_fields.values()]
    return [*unknown(resolution.values, known, titles)]


_EnvironmentT = TypeVar("_EnvironmentT", bound=_Environment)


def _load(settings: type[_EnvironmentT], given: Mapping[str, object]) -> _EnvironmentT:
    resolution = _read(given.get("_env_file", dotenv_file()), aliases=given.get("_aliases") is not False)
    overriding = {name.upper(): value for name, value in given.items() if value is not None}
    try:
        loaded = settings(**_nested(settings, {**resolution.values, **overriding}))
    except ValidationError as error:
        descriptions = {variable.name: variable.info.description or "" for variable in settings.variables()}
        sentences = _sentences(error.errors(), descriptions)
        raise ConfigurationError("\n".join([*sentences, *_hints(sentences, resolution)])) from None
    if given.get("_aliases") is not False:
        _refuse_unknown(settings, resolution)
    return loaded


def _refuse_unknown(settings: type[_Environment], resolution: Resolution) -> None:
    """Raise `ConfigurationError` if a name begins as those of Kafka do and no setting has it.

    It may be meant to secure the connection, which would be plain.
    """
    refused = [notice for notice in _unknown(resolution) if notice.variable.startswith(REFUSED_PREFIX)]
    if refused and any(variable.name.startswith(REFUSED_PREFIX) for variable in settings.variables()):
        raise ConfigurationError("\n".join(f"{notice.why} Correct or remove it." for notice in refused))


def _hints(sentences: Sequence[str], resolution: Resolution) -> list[str]:
    """Which variables set what the sentences name, and which are perhaps meant to."""
    named = {word for sentence in sentences for word in re.findall(r"\w+", sentence)}
    origins = [
        f"{ours} is set by {' and '.join(names)}."
        for ours, names in resolution.origins.items()
        if ours in named
    ]
    return [*origins, *(notice.why for notice in _unknown(resolution))]


def _sentences(problems: Iterable[Any], descriptions: Mapping[str, str]) -> list[str]:
    """One for each problem; two sections that read the same variable have the same problem."""
    return list(dict.fromkeys(_sentence(problem, descriptions) for problem in problems))


def _sentence(problem: Mapping[str, Any], descriptions: Mapping[str, str]) -> str:
    _, *rest = problem["loc"]
    variable = ".".join(str(part) for part in rest)
    what = {"missing": "is not set", "string_pattern_mismatch": "has a form that isn't accepted"}
    if problem["type"] in what and variable in descriptions:
        wanted = descriptions[variable]
        return f"{variable} {what[problem['type']]}. Set it to {wanted[0].lower()}{wanted[1:]}"
    text = str(problem["msg"]).removeprefix("Value error, ")
    return f"{variable}: {text}." if variable else f"{text}."
