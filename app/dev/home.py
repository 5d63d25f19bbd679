"""The folder of `make run`, and the description of the running hub in it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from app.domain.errors import ConfigurationError

DEV_JSON = "dev.json"
DEMO_USER = "456e7890-e89b-12d3-a456-426614174001"


def home() -> Path:
    """The folder that HUB_HOME names, or `.hub`."""
    return Path(os.environ.get("HUB_HOME") or ".hub").absolute()


def read() -> dict[str, Any]:
    """Read the description of the running hub. Raises `ConfigurationError` if none runs in this folder."""
    try:
        found: dict[str, Any] = json.loads((home() / DEV_JSON).read_text())
    except FileNotFoundError:
        raise ConfigurationError(
            f"No dev.json in {home()}. Start the hub with `make run`, or set HUB_HOME to its directory."
        ) from None
    return found
