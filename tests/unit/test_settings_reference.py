"""`.env.example` and the settings reference are what `make settings` writes from the fields."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.dev import settings_reference as generator
from app.settings import Settings, load
from app.settings.section import Unit, Variable

VARIABLES = {variable.name: variable for variable in Settings.variables()}


def test_the_committed_files_are_up_to_date() -> None:
    assert generator.ENV_EXAMPLE.read_text("utf-8") == generator.env_example(), "run `make settings`"
    assert generator.REFERENCE.read_text("utf-8") == generator.reference(), "run `make settings`"
    assert generator.COMPOSE.read_text("utf-8") == generator.compose(), "run `make settings`"


@pytest.mark.parametrize("variable", VARIABLES.values(), ids=lambda variable: str(variable.name))
def test_each_setting_has_a_description_and_each_amount_a_unit(variable: Variable) -> None:
    info = variable.info
    assert info.description
    assert re.fullmatch(r"[A-Z/].{10,}\.", info.description, re.DOTALL)
    if info.annotation is float:
        assert any(isinstance(each, Unit) for each in info.metadata)


@pytest.mark.parametrize(
    "text", [generator.env_example(), generator.reference()], ids=["example", "reference"]
)
def test_each_setting_is_described_once(text: str) -> None:
    entries = re.findall(r"^(?:\| `|# )?([A-Z_]+)(?:` \||=)", text, re.MULTILINE)
    assert sorted(name for name in entries if name in VARIABLES) == sorted(VARIABLES)


def test_the_defaults_in_the_example_are_those_of_the_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    example = tmp_path / "uncommented.env"
    example.write_text(re.sub(r"^# ([A-Z_]+=)", r"\1", generator.env_example(), flags=re.MULTILINE))
    required = {
        "database_url": "postgresql://postgres/hub",
        "redis_url": "redis://redis",
        "user_service_url": "http://users",
        "kafka_bootstrap_servers": "kafka:9092",
        "jwt_algorithm": "HS256",
        "jwt_secret": "a secret for tests, long enough to be accepted",
    }
    assert load(_env_file=example, **required) == load(_env_file="", **required)


def test_required_settings_come_first() -> None:
    sections = generator.sections()
    required = [[each.info.is_required() for each in section.variables] for section in sections]
    assert all(flags == sorted(flags, reverse=True) for flags in required)
    assert [any(flags) for flags in required] == sorted(map(any, required), reverse=True)


@pytest.mark.parametrize(
    "name", [name for name, variable in VARIABLES.items() if variable.info.is_required()]
)
def test_the_description_of_a_required_setting_ends_the_sentence_that_asks_for_it(name: str) -> None:
    """`load` says "Set it to …" and continues with the description."""
    description = VARIABLES[name].info.description
    assert description is not None
    assert description.startswith("The ")
