"""`run.py migrate`: bring the database to the newest migration."""

from __future__ import annotations

from app.cli.group import new_app
from app.settings import load_section
from app.settings.services import PostgresSettings
from app.store import migrations

app = new_app()


@app.command()
def migrate() -> None:
    """Bring the database to the newest migration, as `alembic upgrade head` does.

    It connects to DATABASE_DIRECT_URL if that is set, else to DATABASE_URL.
    """
    settings = load_section(PostgresSettings)
    migrations.upgrade(settings.session_url.get_secret_value(), say=print)
    print(f"The database is at migration {migrations.head()}.")
