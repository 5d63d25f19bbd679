"""Settings for tests and benchmarks, whatever the environment says.

All names are those of the environment variables, in lower case.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from app.settings import Settings, load


def settings_on(redis_url: str, **changes: Any) -> Settings:
    """Enough to start with; nothing answers at the addresses that aren't changed."""
    _check_names(changes)
    values = {
        "database_url": "postgresql://postgres/hub",
        "redis_url": redis_url,
        "user_service_url": "http://users",
        "kafka_bootstrap_servers": "kafka:9092",
        "jwt_algorithm": "HS256",
        "jwt_secret": "a secret for tests, long enough to be accepted",
    }
    return load(_env_file="", _aliases=False, **{**values, **changes})


def changed(settings: Settings, **changes: Any) -> Settings:
    """A copy with these values, in each section that has them; they aren't validated."""
    _check_names(changes)
    by_section: dict[str, dict[str, Any]] = {}
    for variable in Settings.variables():
        if variable.name.lower() in changes:
            by_section.setdefault(variable.section, {})[variable.field] = changes[variable.name.lower()]
    sections = {name: getattr(settings, name).model_copy(update=new) for name, new in by_section.items()}
    return settings.model_copy(update=sections)


def _check_names(changes: Collection[str]) -> None:
    unknown = set(changes) - {variable.name.lower() for variable in Settings.variables()}
    assert not unknown, f"no settings: {unknown}"


def by_name(settings: Settings) -> dict[str, Any]:
    """The value of each setting by the name of its environment variable.

    Raises `AssertionError` if two sections have different values of one variable.
    """
    values: dict[str, Any] = {}
    for variable in Settings.variables():
        value = getattr(getattr(settings, variable.section), variable.field)
        assert values.setdefault(variable.name, value) == value, variable
    return values
