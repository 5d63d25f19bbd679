"""Whose settings the commands for operators take."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from app.cli import operator_settings
from app.cli.main import main
from app.domain.errors import ConfigurationError

SETTINGS = {
    "database_url": "postgresql://postgres@127.0.0.1:5432/hub",
    "redis_url": "redis://127.0.0.1:6379/0",
    "redis_events_url": "redis://127.0.0.1:6379/1",
    "rabbitmq_url": None,
    "kafka_bootstrap_servers": "127.0.0.1:9092",
    "user_service_url": "http://127.0.0.1:8000",
    "jwt_algorithm": "HS256",
    "jwt_secret": "s" * 32,
}


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DATABASE_URL", "REDIS_URL", "KAFKA_BOOTSTRAP_SERVERS", "RABBITMQ_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HUB_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def test_without_settings_it_is_the_hub_that_make_run_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dev.json").write_text(json.dumps({"settings": SETTINGS}))
    loaded = operator_settings.load()
    assert loaded.postgres.url.get_secret_value() == SETTINGS["database_url"]
    assert loaded.redis_streams.url is not None
    assert loaded.redis_streams.url.get_secret_value() == SETTINGS["redis_events_url"]
    assert loaded.rabbitmq.url is None
    said = capsys.readouterr()
    assert "using the hub that `make run` started" in said.err
    assert not said.out
    assert "ssss" not in said.err


def test_a_database_that_is_named_is_never_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dev.json").write_text(json.dumps({"settings": SETTINGS}))
    monkeypatch.setenv("DATABASE_URL", "postgresql://production.example/hub")
    with pytest.raises(ConfigurationError, match="REDIS_URL is not set"):
        operator_settings.load()


def test_where_no_hub_runs_the_missing_settings_are_named() -> None:
    with pytest.raises(ConfigurationError, match="DATABASE_URL is not set"):
        operator_settings.load()


@pytest.mark.parametrize(
    "command", ["webhooks list", "parked list", "broadcasts list", "check counters", "dlq list"]
)
def test_each_command_for_operators_takes_them(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = {
        "database_url": "postgresql://postgres@127.0.0.1:1/hub",
        "redis_url": "redis://127.0.0.1:1/0",
        "redis_events_url": "redis://127.0.0.1:1/1",
        "kafka_bootstrap_servers": "127.0.0.1:1",
    }
    (tmp_path / "dev.json").write_text(json.dumps({"settings": SETTINGS | nobody}))
    monkeypatch.setattr(sys, "argv", ["run.py", *command.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1  # nothing answers there
    assert "using the hub that `make run` started" in capsys.readouterr().err
