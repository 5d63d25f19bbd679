"""Settings for tests and benchmarks, whatever the environment says."""

from __future__ import annotations

from typing import Any

from app.settings import Settings


def settings_on(redis_url: str, **changes: Any) -> Settings:
    """Enough to start with; nothing answers at the addresses that aren't changed."""
    values = {
        "_env_file": None,
        "database_url": "postgresql://postgres/hub",
        "redis_url": redis_url,
        "user_service_url": "http://users",
        "kafka_bootstrap_servers": "kafka:9092",
        "jwt_algorithm": "HS256",
        "jwt_secret": "a secret for tests, long enough to be accepted",
    }
    return Settings(**{**values, **changes})


def by_name(settings: Settings) -> dict[str, Any]:
    """The value of each setting by the name of its environment variable."""
    return {name.upper(): getattr(settings, name) for name in Settings.model_fields}
