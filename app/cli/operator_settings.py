"""The settings of the commands for operators: of the environment, or of the hub that `make run` started."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import Any

from app import settings
from app.domain.errors import ConfigurationError
from app.settings import Settings


def load() -> Settings:
    """The settings of the environment. If they name no database, and `make run` runs in this folder, those of
    its hub, which is said on standard error.

    Raises:
        ConfigurationError: as `settings.load`.
    """
    try:
        return settings.load()
    except ConfigurationError:
        if os.environ.get("DATABASE_URL"):
            raise
        running = _running()
        if running is None:
            raise
    print("DATABASE_URL is not set: using the hub that `make run` started.", file=sys.stderr)
    return settings.load(_env_file=(), _aliases=False, **running["settings"])


def _running() -> dict[str, Any] | None:
    if find_spec("app.dev") is None:  # in the image
        return None
    from app.dev import home

    try:
        return home.read()
    except ConfigurationError:
        return None
