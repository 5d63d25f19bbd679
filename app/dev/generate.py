"""Writes all files that are generated from the code: `make generated`. A test fails if one is not current."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from app import __version__
from app.dev import asyncapi, client_events, events_reference, reference_pages, settings_reference

ROOT = Path(__file__).parents[2]
_VERSION = re.compile(r'^version = ".*"$', re.MULTILINE)


def files(commands: Any) -> dict[Path, str]:
    """The text of each generated file."""
    return {
        settings_reference.ENV_EXAMPLE: settings_reference.env_example(),
        settings_reference.REFERENCE: settings_reference.reference(),
        settings_reference.COMPOSE: settings_reference.compose(),
        asyncapi.PATH: asyncapi.text(),
        events_reference.PATH: events_reference.text(),
        client_events.PATH: client_events.text(),
        **reference_pages.pages(commands),
        **versions(),
    }


def versions() -> dict[Path, str]:
    """The packages, with the version that `app/__init__.py` has."""
    python = [ROOT / "pyproject.toml", ROOT / "client-python" / "pyproject.toml"]
    npm, lock = ROOT / "client" / "package.json", ROOT / "client" / "package-lock.json"
    locked = json.loads(lock.read_text("utf-8"))
    locked["version"] = locked["packages"][""]["version"] = __version__
    package = json.loads(npm.read_text("utf-8")) | {"version": __version__}
    return {
        **{path: _VERSION.sub(f'version = "{__version__}"', path.read_text("utf-8"), 1) for path in python},
        npm: f"{json.dumps(package, indent=2, ensure_ascii=False)}\n",
        lock: f"{json.dumps(locked, indent=2, ensure_ascii=False)}\n",
    }


def write(commands: Any) -> None:
    """Write the files that have changed. `commands` is as in `reference_pages.pages`."""
    for path, text in files(commands).items():
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
            print(f"Written: {path.relative_to(ROOT)}", file=sys.stderr)
