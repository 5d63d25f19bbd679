"""What the code imports is pinned in the requirements of those who run it: nothing works by chance."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.support.hub import ROOT

# Of tools that only contributors call; their targets in the Makefile install requirements-dev.txt.
CONTRIBUTORS = {"app/dev/asyncapi.py", "app/dev/gallery.py", "app/dev/settings_reference.py"}
OURS = {"app", "handlers", "tests", "bench", "faults", "fuzz", "notification_hub_client"}


@cache
def distributions() -> Mapping[str, list[str]]:
    """Read when asked for: it takes half a second, which each worker of a run would spend on the import."""
    return packages_distributions()


def pinned(name: str) -> set[str]:
    """The distributions that the file names, and those that it includes."""
    found = set()
    for line in (ROOT / name).read_text("utf-8").splitlines():
        if line.startswith("-r "):
            found |= pinned(line.removeprefix("-r ").strip())
        elif "==" in line:
            found.add(_normal(re.split(r"[=\[ ]", line, maxsplit=1)[0]))
    return found


@cache
def imported(path: Path) -> frozenset[str]:
    """The distributions of what a module imports."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            modules.add(node.module.partition(".")[0])
    foreign = modules - set(sys.stdlib_module_names) - OURS
    return frozenset(_normal(each) for module in foreign for each in distributions().get(module, [module]))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def sources(*tops: str) -> dict[str, Path]:
    found = (path for top in tops for path in sorted((ROOT / top).rglob("*.py")))
    return {path.relative_to(ROOT).as_posix(): path for path in found}


# What comes with a package that is pinned, and is part of its interface.
WITH = {
    "pydantic": "pydantic-settings",
    "annotated-types": "pydantic-settings",
    "cryptography": "pyjwt",
    "aiormq": "aio-pika",
    "pamqp": "aio-pika",
    "yarl": "aio-pika",
    "sanic-routing": "sanic",
    "markupsafe": "jinja2",
    "grimp": "import-linter",
    "hiredis": "redis",  # by its extra
    "click": "typer",
}


@pytest.mark.parametrize(
    ("requirements", "tops"),
    [
        ("requirements.txt", ("app", "handlers", "migrations")),
        ("requirements-run.txt", ("app",)),
        ("requirements-dev.txt", ("app", "handlers", "migrations", "tests", "bench", "faults", "fuzz")),
    ],
)
def test_what_is_imported_is_pinned(requirements: str, tops: tuple[str, ...]) -> None:
    known = pinned(requirements)
    known |= {name for name, through in WITH.items() if through in known}
    missing = {}
    for name, path in sources(*tops).items():
        is_tool = name in CONTRIBUTORS and "dev" not in requirements
        is_development = name.startswith(("app/dev/", "app/testing/")) and requirements == "requirements.txt"
        if not is_tool and not is_development and (found := imported(path) - known):
            missing[name] = found
    assert missing == {}
