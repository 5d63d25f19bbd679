"""The names and defaults of the environment variables, compared with the list in `settings_names.json`.

A deployment depends on both. Change the list only together with an entry in the changelog. A new setting is
added to the list when it is released: a new channel or source needs no edit here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from app.settings import load
from tests.support.settings import by_name

PINNED: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("settings_names.json").read_text())
REQUIRED = {
    "DATABASE_URL": "postgresql://postgres/hub",
    "REDIS_URL": "redis://redis/0",
    "USER_SERVICE_URL": "http://users",
    "KAFKA_BOOTSTRAP_SERVERS": "kafka:9092",
    "JWT_ALGORITHM": "HS256",
}
SECRET = "a secret for tests, long enough to be accepted"
OTHER_VALUES = {
    "DATABASE_URL": "postgresql://other/hub",
    "REDIS_URL": "redis://other/0",
    "REDIS_EVENTS_URL": "redis://events/0",
    "REDIS_CLUSTER": "true",
    "RABBITMQ_URL": "amqp://rabbitmq/",
    "JWT_SECRET": f"{SECRET}, too",
    "METRICS_TOKEN": "0123456789abcdef0123456789abcdef",
    "LOG_LEVEL": "debug",
    "SMTP_SECURITY": "tls",
    "BRAND_COLOR": "#123456",
    "BRAND_LOGO_URL": "https://example.com/logo.png",
    "UNSUBSCRIBE_URL": "https://example.com/unsubscribe",
    "DELIVERY_KEYS": Fernet.generate_key().decode(),
    "PREFERENCES_OFF": "food.email",
    "ALLOWED_ORIGINS": "https://app.example.com",
    "DEFAULT_LOCALE": "en",
}
"""Accepted values for the settings whose default plus one, or plus a letter, isn't accepted."""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """The required settings and a signing secret; no other setting, no `.env` file."""
    monkeypatch.chdir(tmp_path)
    for name in PINNED:
        monkeypatch.delenv(name, raising=False)
    for name, value in {**REQUIRED, "JWT_SECRET": SECRET}.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def shown(value: object) -> object:
    """The value as JSON has it."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return [shown(each) for each in value] if isinstance(value, tuple) else value


def values() -> dict[str, object]:
    return {name: shown(value) for name, value in by_name(load()).items()}


def other_value(name: str) -> str:
    """A value that the setting accepts and that isn't its default."""
    if name in OTHER_VALUES:
        return OTHER_VALUES[name]
    default = PINNED[name].get("default", REQUIRED.get(name))
    return str(default + 1) if isinstance(default, int | float) else f"{default or ''}x"


def test_no_name_and_no_default_has_changed(environment: pytest.MonkeyPatch) -> None:
    defaults = {name: pinned["default"] for name, pinned in PINNED.items() if "default" in pinned}
    released = {name: value for name, value in values().items() if name in PINNED}
    assert released == {**defaults, **REQUIRED, "JWT_SECRET": SECRET}
    assert {name for name, pinned in PINNED.items() if pinned.get("required")} == REQUIRED.keys()


@pytest.mark.parametrize("name", sorted(PINNED.keys() - {"JWT_ALGORITHM"}))
def test_the_environment_sets_this_setting_and_no_other(environment: pytest.MonkeyPatch, name: str) -> None:
    if name == "SMTP_USERNAME":  # a start with a user and no server is refused
        environment.setenv("SMTP_HOST", "mail.example.com")
    before = values()
    environment.setenv(name, other_value(name))
    after = values()
    assert {each for each in before if before[each] != after[each]} == {name}
