"""Which migration the code needs, read from the migrations themselves."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

ROOT = Path(__file__).parent.parent.parent


def _config() -> Config:
    config = Config(ROOT / "alembic.ini")
    config.set_main_option("script_location", str(ROOT / "migrations"))
    return config


def head() -> str:
    """The newest migration."""
    found = ScriptDirectory.from_config(_config()).get_current_head()
    assert found is not None
    return found


def upgrade(database_url: str, to: str = "head") -> None:
    """Bring the database to a migration; what it has already is left as it is."""
    config = _config()
    config.attributes["database_url"] = database_url
    command.upgrade(config, to)


def downgrade(database_url: str, to: str) -> None:
    """Take the database back to a migration (`base`: to nothing)."""
    config = _config()
    config.attributes["database_url"] = database_url
    command.downgrade(config, to)
