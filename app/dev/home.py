"""Where `make run` keeps its data, and what it says of itself there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from app.domain.errors import ConfigurationError

DEV_JSON = "dev.json"


def home() -> Path:
    """Where development keeps its data: HUB_HOME."""
    return Path(os.environ.get("HUB_HOME") or ".hub").absolute()


def read() -> dict[str, Any]:
    """What the running `make run` says of itself. Raises `ConfigurationError` when none has run here."""
    try:
        found: dict[str, Any] = json.loads((home() / DEV_JSON).read_text())
    except FileNotFoundError:
        raise ConfigurationError(
            f"There is no dev.json in {home()}. Start the hub with `make run`, or set HUB_HOME to its folder."
        ) from None
    return found
